"""Input and output of the Agents SDK's own models, with a local server as the provider."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from agents import (
    Agent,
    Model,
    ModelResponse,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    RunConfig,
    Usage,
    function_tool,
    generation_span,
    output_guardrail,
    tracing,
)
from custom.agents_aid import Says, add, agent_of, recorded, run
from openai import AsyncOpenAI
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage
from pydantic import BaseModel

from fluxloop.models import ObservationData, ObservationType, Trace

Answer = tuple[int, dict[str, Any] | list[dict[str, Any]]]

streamed_or_not = pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])

USAGE = {
    "input_tokens": 20,
    "output_tokens": 7,
    "total_tokens": 27,
    "input_tokens_details": {"cached_tokens": 12, "cache_write_tokens": 0},
    "output_tokens_details": {"reasoning_tokens": 3},
}
THOUGHT = {"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]}
SEARCHED = {
    "id": "ws_1",
    "type": "web_search_call",
    "status": "completed",
    "action": {"type": "search", "query": "Rome"},
}
CITED = {"type": "url_citation", "title": "Rome", "url": "https://rome.example", "start_index": 0, "end_index": 2}


@pytest.fixture
def serving() -> Iterator[Callable[..., AsyncOpenAI]]:
    """Return a client of a provider that answers in the order given: a list is streamed, a dict is not."""
    servers: list[ThreadingHTTPServer] = []

    def start(*answers: Answer) -> AsyncOpenAI:
        pending = iter(answers)

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                status, answer = next(pending)
                lines = [f"data: {json.dumps(item)}\n\n" for item in answer] if isinstance(answer, list) else []
                body = ("".join(lines) if lines else json.dumps(answer)).encode()
                self.send_response(status)
                self.send_header("content-type", "text/event-stream" if lines else "application/json")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                """Print nothing."""

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        url = f"http://127.0.0.1:{servers[-1].server_port}"
        return AsyncOpenAI(api_key="-", base_url=url, max_retries=0)

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def says(*texts: str, citing: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    """Return a message of the Responses API."""
    parts = [{"type": "output_text", "text": text, "annotations": list(citing)} for text in texts]
    return {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": parts}


def response(*items: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Return a response of the Responses API with *items* as its output."""
    about = {"id": "resp_1", "object": "response", "created_at": 1, "model": "gpt-served", "status": "completed"}
    settings = {"tools": [], "tool_choice": "auto", "parallel_tool_calls": True, "temperature": 0.3}
    return {**about, **settings, "output": list(items), "usage": USAGE, **fields}


def chat_choice(name: str, message: dict[str, Any], finish: str | None) -> dict[str, Any]:
    choice = {"index": 0, name: message, "finish_reason": finish}
    return {"id": "chat_1", "created": 1, "model": "gpt-served", "choices": [choice]}


def chat(message: dict[str, Any]) -> dict[str, Any]:
    """Return a chat completion with *message*."""
    usage = {"prompt_tokens": 20, "completion_tokens": 7, "total_tokens": 27}
    answer = chat_choice("message", {"role": "assistant", "content": None, **message}, "stop")
    return {**answer, "object": "chat.completion", "usage": usage}


def chat_stream(message: dict[str, Any]) -> list[dict[str, Any]]:
    """Return `chat` as the items of a stream."""
    chunks = [chat_choice("delta", {"role": "assistant", **message}, None), chat_choice("delta", {}, "stop")]
    return [{**chunk, "object": "chat.completion.chunk"} for chunk in chunks]


def generations(trace: Trace) -> list[ObservationData]:
    return [o for o in trace.observations if o.type is ObservationType.GENERATION]


@streamed_or_not
async def test_a_streamed_chat_completion_is_recorded_as_a_plain_one(serving, streamed):
    """The SDK reports a streamed completion as a response, and a plain one as messages."""
    function = {"name": "add", "arguments": '{"a": 1}'}
    calls = {"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": function}]}
    make = chat_stream if streamed else chat
    client = serving((200, make(calls)), (200, make({"content": "It is 3."})))
    agent = Agent(name="A", model=OpenAIChatCompletionsModel("gpt-4o", client), tools=[add])

    with recorded() as captured:
        await run(agent, streamed=streamed)

    (trace,) = captured.traces()
    calling, saying = generations(trace)
    assert (trace.output, trace.observations[1].output, saying.output) == ("It is 3.", "It is 3.", "It is 3.")
    (call,) = calling.output
    assert call.get("name") == "add" or call["tool_calls"][0]["function"]["name"] == "add"
    assert None not in call.values()


@pytest.mark.parametrize(
    "items",
    [(THOUGHT, says("Go to Rome.")), (SEARCHED, says("Go to ", "Rome.")), (says("Go to Rome."),)],
    ids=["reasoning", "hosted tool, two parts", "words alone"],
)
async def test_the_output_is_the_text_of_the_last_message(serving, items):
    """Reasoning and searches in front of it are not part of the agent's output."""
    with recorded() as captured:
        await run(Agent(name="A", model=OpenAIResponsesModel("gpt-5", serving((200, response(*items))))))

    (trace,) = captured.traces()
    assert (trace.output, trace.observations[1].output) == ("Go to Rome.", "Go to Rome.")
    output = generations(trace)[0].output
    assert output == "Go to Rome." if len(items) == 1 else output[-1] == {"role": "assistant", "content": "Go to Rome."}


async def test_the_citations_of_an_answer_are_recorded(serving):
    """The text is the agent's output."""
    with recorded() as captured:
        client = serving((200, response(says("Go to Rome.", citing=(CITED,)))))
        await run(Agent(name="A", model=OpenAIResponsesModel("gpt-5", client)))

    (trace,) = captured.traces()
    (message,) = generations(trace)[0].output
    assert (message["content"], message["annotations"], trace.output) == ("Go to Rome.", [CITED], "Go to Rome.")


@streamed_or_not
@pytest.mark.parametrize("model_class", [OpenAIResponsesModel, OpenAIChatCompletionsModel])
async def test_a_model_call_that_fails_has_its_input(serving, model_class, streamed):
    """The SDK sets input and response only if there is a response."""
    client = serving((500, {"error": {"message": "down"}}))
    with recorded() as captured, pytest.raises(Exception, match="down"):
        await run(Agent(name="A", instructions="Be brief.", model=model_class("gpt-5", client)), streamed=streamed)

    (trace,) = captured.traces()
    (asked,) = generations(trace)
    assert asked.input == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]
    assert (asked.status, asked.model, trace.input) == ("error", "gpt-5", "hi")


@streamed_or_not
async def test_a_model_call_that_fails_has_no_input_without_sensitive_data(serving, streamed):
    """The input is sensitive too."""
    client = serving((500, {"error": {"message": "down"}}))
    config = RunConfig(trace_include_sensitive_data=False)
    with recorded() as captured, pytest.raises(Exception, match="down"):
        await run(Agent(name="A", model=OpenAIResponsesModel("gpt-5", client)), streamed=streamed, run_config=config)

    (trace,) = captured.traces()
    assert {o.input for o in trace.observations} == {None}


FAILED = response(status="failed", error={"code": "server_error", "message": "it broke"})


@pytest.mark.parametrize(
    "event",
    [{"type": "response.failed", "response": FAILED}, {"type": "response.in_progress", "response": response()}],
    ids=["fails", "breaks off"],
)
async def test_a_stream_without_a_final_response_is_an_error(serving, event):
    """Neither closing the stream, nor a span without an error, changes the status."""
    client = serving((200, [{"sequence_number": 0, **event}]))
    with recorded() as captured, pytest.raises(Exception, match=r"it broke|final response"):
        await run(Agent(name="A", model=OpenAIResponsesModel("gpt-5", client)), streamed=True)

    (trace,) = captured.traces()
    assert [o.status for o in trace.observations] == ["error"] * 3
    assert generations(trace)[0].input == [{"role": "user", "content": "hi"}]


class Own(Model):
    """A model of the program's, with a span on which it sets no error, or without a span."""

    def __init__(self, *answers: Any, has_span: bool = True) -> None:
        self.answers = list(answers)
        self.has_span = has_span

    async def get_response(
        self,
        system_instructions: str | None,
        input: Any,
        model_settings: Any,
        tools: Any,
        output_schema: Any,
        handoffs: Any,
        tracing: Any,
        *args: Any,
        **kwargs: Any,
    ) -> ModelResponse:
        with generation_span(model="own", disabled=not self.has_span or tracing.is_disabled()):
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return ModelResponse(output=[answer], usage=Usage(), response_id=None)

    def stream_response(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError


CALL = ResponseFunctionToolCall(call_id="c", name="add", arguments='{"a": 1}', type="function_call")


async def test_without_sensitive_data_the_error_of_a_models_own_span_is_redacted():
    """The setting is read from the arguments of the call."""
    config = RunConfig(trace_include_sensitive_data=False)
    with recorded() as captured, pytest.raises(ValueError, match="hunter2"):
        await run(Agent(name="A", model=Own(ValueError("hunter2"))), run_config=config)

    assert "hunter2" not in str(list(captured.storage.read()))
    assert {o.metadata["error_type"] for o in captured.traces()[0].observations} == {"ValueError"}


async def test_without_sensitive_data_an_exception_of_a_guardrail_after_a_model_call_is_redacted():
    """The model call showed that the setting is off."""

    @output_guardrail
    async def broken(ctx: Any, agent: Any, said: Any) -> Any:
        raise ValueError("hunter2")

    config = RunConfig(trace_include_sensitive_data=False)
    with recorded() as captured, pytest.raises(ValueError, match="hunter2"):
        await run(agent_of(Says("hunter2"), output_guardrails=[broken]), run_config=config)

    assert "hunter2" not in str(list(captured.storage.read()))


async def test_the_result_of_a_tool_is_not_the_output_if_a_model_without_a_span_answers_after_it():
    """The output of that model is unknown, and the agent has none."""
    if not hasattr(tracing, "turn_span"):
        pytest.skip("this SDK reports no turns")
    says_sum = ResponseOutputMessage.model_validate(says("It is 3."))
    with recorded() as captured:
        answer = await run(Agent(name="A", model=Own(CALL, says_sum, has_span=False), tools=[add]))

    (trace,) = captured.traces()
    assert (answer, trace.output, trace.observations[1].output) == ("It is 3.", None, None)


FILTERED = response(
    says("Half an ans"), status="incomplete", incomplete_details={"reason": "content_filter"}, model="gpt-served"
)


@pytest.mark.parametrize("includes_data", [True, False], ids=["with data", "without sensitive data"])
async def test_an_answer_that_a_content_filter_stopped_keeps_text_and_usage(serving, includes_data):
    """The stream ends with an error, and the response that was paid for is in the record."""
    client = serving((200, [{"sequence_number": 0, "type": "response.incomplete", "response": FILTERED}]))
    config = RunConfig(trace_include_sensitive_data=includes_data)
    agent = Agent(name="A", model=OpenAIResponsesModel("gpt-5", client))
    with recorded() as captured, pytest.raises(Exception, match=r"incomplete|final response"):
        await run(agent, streamed=True, run_config=config)

    (asked,) = generations(captured.traces()[0])
    assert (asked.status, asked.output) == ("error", "Half an ans" if includes_data else None)
    assert (asked.usage.input_tokens, asked.usage.output_tokens) == (20, 7)
    assert asked.finish_reasons == ["content_filter"]


async def test_a_chat_answer_without_content_keeps_its_usage(serving):
    """A completion that ran out of tokens is an error in newer releases; the tokens are counted."""
    empty = chat({"content": None})
    empty["choices"][0]["finish_reason"] = "length"
    with recorded() as captured, suppress(Exception):
        await run(Agent(name="A", model=OpenAIChatCompletionsModel("gpt-4o", serving((200, empty)))))

    (asked,) = generations(captured.traces()[0])
    assert (asked.usage.input_tokens, asked.usage.output_tokens) == (20, 7)
    if asked.status == "error":
        assert asked.finish_reasons == ["length"]


class City(BaseModel):
    name: str


@streamed_or_not
async def test_an_answer_that_is_not_of_the_output_type_keeps_text_and_usage(streamed):
    """The model call succeeded and has answer and usage; the agent failed to read it."""
    with recorded() as captured, pytest.raises(Exception, match=r"[Ii]nvalid JSON"):
        await run(agent_of(Says("no JSON"), output_type=City), streamed=streamed)

    (trace,) = captured.traces()
    (asked,) = generations(trace)
    assert (asked.status, asked.output, asked.usage.output_tokens) == ("success", "no JSON", 5)
    assert (trace.status, trace.usage.output_tokens) == ("error", 5)


@streamed_or_not
async def test_the_schemas_given_to_a_model_are_kept(streamed):
    """Those of tools, of handoffs and of the output; the parameters are the SDK's JSON schemas."""
    other = agent_of(Says("done"), name="Other")
    agent = agent_of(Says('{"name": "Rome"}'), tools=[add], handoffs=[other], output_type=City)
    with recorded() as captured:
        await run(agent, streamed=streamed)

    (asked,) = generations(captured.traces()[0])
    tool, handoff = asked.metadata["tools"]
    assert (tool["name"], tool["description"]) == ("add", "Add two numbers.")
    assert tool["parameters"]["properties"]["a"] == {"description": "The first.", "title": "A", "type": "integer"}
    assert handoff["name"] == "transfer_to_other"
    assert asked.metadata["output_schema"]["schema"]["properties"]["name"]["type"] == "string"


async def test_schemas_are_cut_to_the_size_limit():
    """A schema of any size costs a bounded record."""
    big = function_tool(lambda: None, name_override="big", description_override="x" * 100_000)
    with recorded(max_value_bytes=1_000) as captured:
        await run(agent_of(Says("ok"), tools=[big]))

    (asked,) = generations(captured.traces()[0])
    assert len(json.dumps(asked.metadata["tools"])) < 5_000


async def test_base64_data_in_a_message_is_cut():
    """Audio and files of a message have a size limit as data URLs have one."""
    sound = {"type": "input_audio", "input_audio": {"data": "UklGR" + "A" * 200_000, "format": "wav"}}
    image = {"type": "input_image", "image_url": "data:image/png;base64," + "A" * 200_000, "detail": "auto"}
    with recorded() as captured:
        await run(agent_of(Says("ok")), question=[{"role": "user", "content": [sound, image]}])

    (asked,) = generations(captured.traces()[0])
    assert len(json.dumps(asked.input)) < 2_000
