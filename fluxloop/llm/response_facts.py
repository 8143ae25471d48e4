"""
Read the result of a model call: token counts, model, provider and finish reasons.

A result is recognised by the names of its fields; any other value is dismissed within a microsecond.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from ..encoding.http_responses import received
from ..interruptions import was_raised_from_outside
from .fields import ATOMS, Fields, fields, get, listed, name_of
from .token_counts import USAGE_NAMES, add_usage, read_usage


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """The facts in the result of a model call; None for what the result does not contain."""

    usage: dict[str, int] | None = None
    """Token counts by the names of `fluxloop.models.Usage`, without unknown ones."""
    model: str | None = None
    """The model that answered, as named by the provider."""
    provider: str | None = None
    """The provider whose client library made the object, as named by OpenTelemetry: ``openai``, ``gcp.gen_ai``."""
    finish_reasons: list[str] | None = None
    """The finish reason of each choice, as named by the provider."""
    response_id: str | None = None
    """The provider's id of the response."""

    def or_from(self, other: ModelFacts) -> ModelFacts:
        """Return these facts, with those of *other* where these are None."""
        return ModelFacts(
            self.usage or other.usage,
            self.model or other.model,
            self.provider or other.provider,
            self.finish_reasons or other.finish_reasons,
            self.response_id or other.response_id,
        )


def read_facts(value: object) -> ModelFacts | None:
    """
    Return the facts in *value*, the result of a model call; None if it is any other value.

    Args:
        value: A response object or dict of any provider, a LangChain message or result; a tuple of parts of one
            result; or a list. If all items of a list have usage, it is a batch, and the sum is returned. Any other list
            is a history, and the facts of its last answer are returned.
    """
    kind: Any = type(value)
    try:
        if kind in ATOMS:
            return None
        if kind is list:
            return _facts_of_list(value)  # type: ignore[arg-type]
        if kind is tuple:
            return _facts_of_parts(listed(value), _DEPTH)
        return _facts(value, _DEPTH)
    except Exception as exc:  # of code in the object's class
        if was_raised_from_outside(exc):
            raise
        return None


_INNER = ("generations", "message", "raw", "_raw_response", "response")
"""Fields with the provider's result: of LangChain (results, generations, include_raw), LlamaIndex, Instructor."""

_UNPARSED = "http_response"
"""The field of the responses that the SDKs of OpenAI and Anthropic return unparsed, with the HTTP response."""

_MODELS = ("model", "model_name", "model_version", "modelVersion", "model_id")

_REASONS = ("finish_reason", "finishReason", "stop_reason", "stopReason", "done_reason")

_IDS = ("id", "response_id", "responseId")

_RESULT_NAMES = USAGE_NAMES.union(_INNER, _REASONS, ("choices", "candidates", "incomplete_details", "generation_info"))
"""A result of a model call has at least one of these fields."""

_WITH_MODEL = frozenset({"usage", "response_metadata", "choices", "candidates"})
"""``model`` alone is a common name; beside one of these fields it is the model that answered."""

_ENDED = frozenset({"completed", "incomplete", "failed", "cancelled"})
"""The final states in OpenAI's Responses API, which has no finish reason."""

_DEPTH = 3
"""Wrappers around the facts that are read at most: a result, its generations, their message."""

_MAX_RESULTS = 1000
"""Results that are added up at most, of a LangChain result or a batch; ``generations`` may be another field."""

_LOOK_BACK = 8
"""Items at the end of a history that are searched for its last answer, as tool results may follow it."""


def _facts(value: object, depth: int) -> ModelFacts | None:
    held = fields(value)
    names = dict.keys(held)
    if names.isdisjoint(_RESULT_NAMES):
        return _facts(received(held[_UNPARSED]), depth - 1) if _UNPARSED in held and depth else None
    inner: ModelFacts | None = None
    for name in _INNER if depth else ():
        if (wrapped := get(held, name)) is not None and (found := _inner_facts(wrapped, depth - 1)):
            inner = inner.or_from(found) if inner else found
    if inner and inner.usage and inner.model and inner.finish_reasons:
        return inner
    facts = _own_facts(held, value)
    facts = inner.or_from(facts) if inner else facts
    named = facts.model and (facts.provider or not names.isdisjoint(_WITH_MODEL))
    return facts if facts.usage or facts.finish_reasons or named else None


def _inner_facts(inner: object, depth: int) -> ModelFacts | None:
    """Return the facts of an inner result, or of LangChain's ``generations``, which contain one list per prompt."""
    if type(inner) is not list:
        return _facts(inner, depth)
    prompts = [_facts_of_parts(listed(prompt) or [prompt], depth) for prompt in inner[:_MAX_RESULTS]]
    return _sum_of([facts for facts in prompts if facts])


def _own_facts(held: Fields, value: object) -> ModelFacts:
    meta = fields(get(held, "response_metadata") or get(held, "llm_output") or get(held, "generation_info"))
    return ModelFacts(
        usage=read_usage(held),
        model=_name_in((held, meta), _MODELS),
        provider=provider_of(value) or named_provider(get(meta, "model_provider")),
        finish_reasons=_finish_reasons(held) or _finish_reasons(meta),
        response_id=provider_id(_name_in((meta, held), _IDS)),
    )


def _name_in(places: Sequence[Fields], names: Sequence[str]) -> str | None:
    for held in places:
        for field in names:
            if (found := get(held, field)) is not None and (name := name_of(found)):
                return name
    return None


def _finish_reasons(held: Fields) -> list[str] | None:
    choices = listed(get(held, "choices")) or listed(get(held, "candidates"))
    reasons = [reason for choice in choices if (reason := _name_in((fields(choice),), _REASONS))]
    if not reasons and (reason := _name_in((held,), _REASONS)):
        reasons = [reason]
    if not reasons and get(held, "object") == "response":
        status = name_of(get(held, "status"))
        detail = name_of(get(fields(get(held, "incomplete_details")), "reason"))
        reasons = [detail or status] if status in _ENDED and status else []
    return reasons or None


def _facts_of_parts(parts: list[object], depth: int) -> ModelFacts | None:
    """Return the facts of all parts of one result: the candidates of one prompt, ``(message, usage)``."""
    together: ModelFacts | None = None
    for part in parts:
        if found := _facts(part, depth):
            together = together.or_from(found) if together else found
    return together


def _facts_of_list(values: list[object]) -> ModelFacts | None:
    """Return the facts of the last answer of a history, or the sum over a batch."""
    last = [found for value in values[-_LOOK_BACK:] if (found := _facts(value, _DEPTH))]
    if len(last) == min(len(values), _LOOK_BACK) and all(found.usage for found in last):
        if len(values) > _MAX_RESULTS:  # the sum would take long, and that of some would be wrong
            return replace(last[-1], usage=None)
        earlier = [found for value in values[:-_LOOK_BACK] if (found := _facts(value, _DEPTH))]
        return _sum_of(earlier + last)
    return last[-1] if last else None


def _sum_of(results: list[ModelFacts]) -> ModelFacts | None:
    """Combine the facts of several model calls: counts are added up, reasons are in order."""
    if len(results) < 2:
        return results[0] if results else None
    reasons = [reason for facts in results for reason in facts.finish_reasons or ()]
    return replace(results[-1], usage=add_usage(facts.usage for facts in results), finish_reasons=reasons or None)


# --- names ------------------------------------------------------------------------------------

_PROVIDERS = {
    "openai": "openai",
    "anthropic": "anthropic",
    "google.genai": "gcp.gen_ai",
    "google_genai": "gcp.gen_ai",
    "google_vertexai": "gcp.vertex_ai",
    "bedrock": "aws.bedrock",
    "bedrock_converse": "aws.bedrock",
    "anthropic_bedrock": "aws.bedrock",
    "azure_openai": "azure.ai.openai",
    "cohere": "cohere",
    "mistralai": "mistral_ai",
    "groq": "groq",
    "ollama": "ollama",
    "xai": "x_ai",
}
"""OpenTelemetry's names of providers (GenAI conventions), by client package and by LangChain's name."""


def provider_of(value: object) -> str | None:
    """Return the provider whose client package made *value*; the server may be another provider's."""
    kind: Any = type(value)
    return _provider_of_class(kind)


@lru_cache(maxsize=256)
def _provider_of_class(kind: Any) -> str | None:
    module = str(kind.__module__).split(".")
    return _PROVIDERS.get(module[0]) or _PROVIDERS.get(".".join(module[:2]))


def named_provider(name: object) -> str | None:
    """Return OpenTelemetry's name of the provider that LangChain calls *name*, or *name* if it has none."""
    given = name_of(name)
    return _PROVIDERS.get(given, given) if given else None


def provider_id(response_id: str | None) -> str | None:
    """Return *response_id*, unless LangChain or the Agents SDK generated it."""
    return None if response_id and response_id.startswith(("run-", "lc_", "__fake_id__")) else response_id
