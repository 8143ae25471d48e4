"""
Model calls that fail after the provider has answered, and was paid, keep the answer and the token counts.
"""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessageChunk
from langchain_core.output_parsers import PydanticOutputParser
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.tools import tool
from pydantic import BaseModel
from scripted_models import ScriptedModel

OPENAI = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 0,
    "model": "gpt-x",
    "choices": [
        {
            "index": 0,
            "finish_reason": "length",
            "message": {"role": "assistant", "content": '{"city": "Par'},
            "logprobs": None,
        }
    ],
    "usage": {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25},
}
ANTHROPIC = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-x",
    "content": [{"type": "text", "text": '{"city": "Par'}],
    "stop_reason": "max_tokens",
    "usage": {"input_tokens": 20, "output_tokens": 5},
}
GEMINI = {
    "candidates": [{"content": {"parts": [{"text": '{"city": "Par'}], "role": "model"}, "finishReason": "SAFETY"}],
    "usageMetadata": {"promptTokenCount": 20, "candidatesTokenCount": 5, "totalTokenCount": 25},
}
REFUSED = {"error": {"message": "Rate limit reached", "type": "tokens", "code": "rate_limit_exceeded"}}


class FailingModel(BaseChatModel):
    """A model whose client raises *error*; streamed, after one piece."""

    error: object

    @property
    def _llm_type(self):
        return "failing"

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        raise self.error


class FailingStream(FailingModel):
    """A model that streams one piece, and then fails."""

    def _stream(self, messages, stop=None, run_manager=None, **kwargs):
        yield ChatGenerationChunk(message=AIMessageChunk('{"city"'))
        raise self.error


class ResponseError(ValueError):
    """An error of an SDK for an answer that it cannot parse."""

    def __init__(self, body):
        super().__init__("the answer does not fit the schema")
        self.response = SimpleNamespace(json=lambda: body, headers={}, status_code=200)


def length_error():
    openai = pytest.importorskip("openai")
    chat = pytest.importorskip("openai.types.chat")
    return openai.LengthFinishReasonError(completion=chat.ChatCompletion.model_validate(OPENAI))


def fail(model, config, way):
    """Run *model*, and check that its error is raised."""

    async def read():
        return [item async for item in model.astream("Where?", config)]

    ways = {
        "invoke": lambda: model.invoke("Where?", config),
        "ainvoke": lambda: asyncio.run(model.ainvoke("Where?", config)),
        "stream": lambda: list(model.stream("Where?", config)),
        "astream": lambda: asyncio.run(read()),
    }
    with pytest.raises(type(model.error)):
        ways[way]()


def generation(captured):
    (found,) = [o for trace in captured.traces() for o in trace.observations if o.type.name == "GENERATION"]
    return found


@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream"])
@pytest.mark.parametrize(
    ("make", "reasons"),
    [
        pytest.param(length_error, ["length"], id="LengthFinishReasonError"),
        pytest.param(lambda: ResponseError(OPENAI), ["length"], id="OpenAI"),
        pytest.param(lambda: ResponseError(ANTHROPIC), ["max_tokens"], id="Anthropic"),
        pytest.param(lambda: ResponseError(GEMINI), ["SAFETY"], id="Gemini"),
    ],
)
def test_an_answer_that_the_sdk_refuses_is_recorded_with_its_usage(captured, config, make, reasons, way):
    """The error of the SDK has the answer, or the HTTP response: both are read."""
    model = FailingModel(error=make())
    fail(model, config, way)
    observation = generation(captured)

    assert (observation.status.value, observation.metadata["error_type"]) == ("error", type(model.error).__name__)
    assert '{"city": "Par' in str(observation.output)
    assert observation.usage.total_tokens == captured.traces()[0].usage.total_tokens == 25
    assert observation.finish_reasons == reasons


@pytest.mark.parametrize("way", ["stream", "astream"])
def test_a_stream_that_the_sdk_refuses_at_its_end_keeps_answer_and_usage(captured, config, way):
    """The whole answer is in the error, the pieces are in the metadata."""
    fail(FailingStream(error=length_error()), config, way)
    observation = generation(captured)

    assert '{"city": "Par' in str(observation.output)
    assert observation.metadata["stream"]["items"] == ['{"city"']
    assert observation.usage.total_tokens == 25


@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream"])
@pytest.mark.parametrize("body", [REFUSED, "Bad Gateway", None, [], {"choices": []}])
def test_a_refused_request_has_no_answer(captured, config, body, way):
    """An error message of the provider is not an answer, and costs nothing."""
    fail(FailingModel(error=ResponseError(body)), config, way)
    observation = generation(captured)

    assert (observation.status.value, observation.output, observation.usage) == ("error", None, None)
    assert observation.error == "the answer does not fit the schema"


class City(BaseModel):
    """A structured answer."""

    city: str


def test_an_answer_that_a_parser_refuses_is_the_success_of_the_model(captured, config):
    """The model has answered; the parser fails, and with it the chain."""
    chain = ScriptedModel(replies=["not JSON"]) | PydanticOutputParser(pydantic_object=City)
    with pytest.raises(ValueError, match="not JSON"):
        chain.invoke("Where?", config)
    observation = generation(captured)

    assert (observation.status.value, observation.output["content"]) == ("success", "not JSON")
    assert observation.usage.total_tokens == 25
    assert captured.traces()[0].status.value == "error"


@tool
def forecast(city: str, days: int = 1) -> str:
    """Return the forecast."""
    return "sun"


class Offering(ScriptedModel):
    """A model that passes the definitions of tools and outputs to its provider, as those of the providers do."""

    def bind_tools(self, tools, **kwargs):
        from langchain_core.utils.function_calling import convert_to_openai_tool

        return self.bind(tools=[convert_to_openai_tool(one) for one in tools], **kwargs)


def test_the_schemas_of_tools_and_output_are_recorded(captured, config):
    """Names alone do not show why a model called a tool with wrong arguments."""
    model = Offering(replies=["sun"])
    model.bind_tools([forecast]).invoke("Where?", config)
    model.with_structured_output(City, include_raw=True).invoke("Where?", config)
    first, second = (one for trace in captured.traces() for one in trace.observations if one.type.name == "GENERATION")
    (definition,) = first.metadata["tool_definitions"]

    assert first.metadata["tools"] == ["forecast"]
    assert definition["function"]["description"] == "Return the forecast."
    assert definition["function"]["parameters"]["properties"]["days"] == {"default": 1, "type": "integer"}
    assert second.metadata["output_schema"]["properties"]["city"]["type"] == "string"


def test_functions_of_older_models_are_recorded_with_their_schemas(captured, config):
    """Some models are given ``functions`` instead of ``tools``, or tools of the provider without a definition."""
    model = ScriptedModel(replies=["sun"])
    model.bind(functions=[{"name": "forecast", "parameters": {"type": "object"}}]).invoke("Where?", config)
    model.bind(tools=[{"type": "web_search"}, "code"]).invoke("Where?", config)
    first, second = (trace.observations[0].metadata for trace in captured.traces())

    assert (first["tools"], first["tool_definitions"][0]["parameters"]) == (["forecast"], {"type": "object"})
    assert second["tool_definitions"] == [{"type": "web_search"}]
    assert "tools" not in second
