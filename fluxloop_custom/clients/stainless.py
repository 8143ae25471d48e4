"""
The requests of the clients of OpenAI and Anthropic, which one generator has made.

Every call of such a client, parsed or raw, sync or async, of any resource, sends its request by the client's method
``request(cast_to, options, *, stream, stream_cls)``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from fluxloop import ObservationType

from .requests import Body, Endpoint, Request, answer, picked, vectors, with_system


def _responses_question(body: Body) -> object:
    return with_system(body.get("instructions"), body.get("input"))


def _messages_question(body: Body) -> object:
    return with_system(body.get("system"), body.get("messages"))


def _member(name: str) -> Callable[[Body], object]:
    return lambda body: body.get(name)


_GENERATION, _EMBEDDING = ObservationType.GENERATION, ObservationType.EMBEDDING

_OPENAI = {
    "/chat/completions": Endpoint("openai.chat.completions", _GENERATION, _member("messages"), answer),
    "/responses": Endpoint("openai.responses", _GENERATION, _responses_question, answer),
    "/completions": Endpoint("openai.completions", _GENERATION, _member("prompt"), answer),
    "/embeddings": Endpoint("openai.embeddings", _EMBEDDING, _member("input"), vectors),
}
_ANTHROPIC = {
    "/messages": Endpoint("anthropic.messages", _GENERATION, _messages_question, answer),
    "/complete": Endpoint("anthropic.completions", _GENERATION, _member("prompt"), answer),
}
"""The operations that are model calls, by path without version and query."""

_OPENAI_PARAMETERS = (
    *("temperature", "top_p", "n", "seed", "stop", "max_tokens", "max_completion_tokens", "max_output_tokens"),
    *("presence_penalty", "frequency_penalty", "logit_bias", "logprobs", "top_logprobs", "reasoning_effort"),
    *("reasoning", "verbosity", "text", "response_format", "tool_choice", "parallel_tool_calls", "max_tool_calls"),
    *("modalities", "service_tier", "truncation", "previous_response_id", "background", "dimensions", "top_k"),
    *("encoding_format",),
)
_ANTHROPIC_PARAMETERS = (
    *("max_tokens", "max_tokens_to_sample", "temperature", "top_p", "top_k", "stop_sequences", "thinking"),
    *("tool_choice", "service_tier", "output_config", "output_format"),
)
"""The members of a body that are recorded as parameters of the model."""

_NOT_GIVEN = frozenset({"Omit", "NotGiven"})
"""The SDKs' classes of values that are not sent."""

_PROVIDERS = {
    "AzureOpenAI": "azure.ai.openai",
    "AsyncAzureOpenAI": "azure.ai.openai",
    "BedrockOpenAI": "aws.bedrock",
    "AsyncBedrockOpenAI": "aws.bedrock",
    "BaseBedrockClient": "aws.bedrock",
    "BaseMantleClient": "aws.bedrock",
    "BaseVertexClient": "gcp.vertex_ai",
    "BaseFoundryClient": "azure.ai.inference",
}
"""The provider behind a client's class, in the words of OpenTelemetry's GenAI conventions."""


@lru_cache(maxsize=256)
def _provider_behind(kind: Any, provider: str) -> str:
    return next((_PROVIDERS[base.__name__] for base in kind.__mro__ if base.__name__ in _PROVIDERS), provider)


def _reader(endpoints: Mapping[str, Endpoint], parameters: tuple[str, ...], provider: str) -> Callable[..., Any]:
    def read(
        client: Any, cast_to: Any, options: Any, *more: Any, stream: bool = False, **kwargs: Any
    ) -> Request | None:
        endpoint = endpoints.get(options.url.partition("?")[0].removeprefix("/v1"))
        if endpoint is None or options.method.lower() != "post" or not isinstance(options.json_data, Mapping):
            return None
        kind: Any = type(client)
        given = {**options.json_data, **(options.extra_json or {})}
        body = {name: value for name, value in given.items() if type(value).__name__ not in _NOT_GIVEN}
        request = Request(
            endpoint=endpoint,
            body=body,
            model=body.get("model"),
            provider=_provider_behind(kind, provider),
            parameters=picked(body, parameters),
            is_streamed=stream,
            args=(),
            kwargs={**kwargs, "stream": stream},
        )
        request.args = (client, cast_to, _watched(options, request.seen), *more)
        return request

    return read


def _watched(options: Any, seen: list[Any]) -> Any:
    """Return *options* with a parser that first puts the response into *seen*; without one, *options* itself."""
    parse = options.post_parser
    if not callable(parse):
        return options

    def watching(response: Any) -> Any:
        seen.append(response)
        return parse(response)

    options = copy.copy(options)  # the caller may send it again
    options.post_parser = watching
    return options


openai_request = _reader(_OPENAI, _OPENAI_PARAMETERS, "openai")
anthropic_request = _reader(_ANTHROPIC, _ANTHROPIC_PARAMETERS, "anthropic")
