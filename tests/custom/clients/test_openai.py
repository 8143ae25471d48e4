"""
The clients of OpenAI: each model call is one observation, and the client works as before.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest
from pydantic import BaseModel, ValidationError

import fluxloop
import fluxloop_custom
from fluxloop import FluxLoopClient, Status
from fluxloop.models import ObservationData
from fluxloop.testing import Captured, capture

from .conftest import SECRET
from .provider import QUESTION, Reply, chunks, completion, embeddings, response, response_events

ASK: dict[str, Any] = {"model": "gpt-5", "messages": QUESTION}


class City(BaseModel):
    name: str


def only(captured: Captured) -> ObservationData:
    """Return the only observation of the only trace."""
    [trace] = captured.traces()
    [observation] = trace.observations
    return observation


def outcomes(captured: Captured) -> list[tuple[str, Any]]:
    """Return status and output of every observation."""
    return [(each.status.value, each.output) for trace in captured.traces() for each in trace.observations]


def test_a_chat_completion_is_a_generation_with_everything_it_reports(provider, clients, captured):
    """
    Messages, answer, model, provider, parameters, usage and finish reason; outside a trace, the call opens one.
    """
    provider.answers(Reply(completion()))

    answer = clients.openai().chat.completions.create(**ASK, temperature=0.5, seed=None)

    assert type(answer).__name__ == "ChatCompletion"
    seen = only(captured)
    assert captured.traces()[0].name == seen.name == "openai.chat.completions"
    assert (seen.type.name, seen.status, seen.input, seen.output) == ("GENERATION", Status.SUCCESS, QUESTION, "Paris")
    assert (seen.model, seen.provider, seen.model_parameters) == ("gpt-5-2025-08-07", "openai", {"temperature": 0.5})
    assert (seen.usage.input_tokens, seen.usage.output_tokens, seen.finish_reasons) == (12, 3, ["stop"])
    assert seen.metadata["response_id"] == "chatcmpl-1"


def test_a_call_inside_a_trace_is_part_of_it(provider, clients, captured):
    """
    The observation that is current is the parent, and the trace has the usage of the call.
    """
    provider.answers(Reply(completion()))
    client = clients.openai()

    @fluxloop.agent
    def capital() -> str:
        return client.chat.completions.create(**ASK).choices[0].message.content

    assert capital() == "Paris"
    assert captured.outline() == "AGENT capital -> 'Paris'\n  GENERATION openai.chat.completions -> 'Paris'"
    assert captured.traces()[0].usage.total_tokens == 15


def test_tools_offered_and_called_are_recorded_without_credentials(provider, clients, captured):
    """
    The metadata has the tools by name and definition; of a tool that calls a server, no header and no token.
    """
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}
    provider.answers(Reply(completion(None, calls=[call], finish="tool_calls")), Reply(response()))
    function = {"name": "weather", "description": "The weather.", "parameters": {"type": "object", "properties": {}}}
    mcp = {"type": "mcp", "server_label": "shop", "server_url": "https://u:p@shop", "headers": {"X": SECRET}}

    client = clients.openai()
    client.chat.completions.create(**ASK, tools=[{"type": "function", "function": function}])
    client.responses.create(model="gpt-5", input="?", tools=[mcp], extra_headers={"X-Other": SECRET})

    chat, answer = (trace.observations[0] for trace in captured.traces())
    assert chat.metadata["tools"] == ["weather"]
    assert chat.metadata["tool_definitions"][0]["function"] == function
    assert chat.output["tool_calls"] == [{"id": "call_1", "name": "weather", "arguments": {"city": "Rome"}}]
    assert chat.finish_reasons == ["tool_calls"]
    assert answer.metadata["tool_definitions"] == [{"type": "mcp", "server_label": "shop"}]
    assert SECRET not in repr(captured.storage.read())
    assert "u:p" not in json.dumps(answer.metadata)


def test_several_choices_are_recorded_all(provider, clients, captured):
    """
    An answer that is more than one message is recorded as the provider gives it.
    """
    provider.answers(Reply(completion(choices=2)))

    clients.openai().chat.completions.create(**ASK, n=2)

    assert [each["message"]["content"] for each in only(captured).output] == ["Paris", "Paris"]


def test_responses_have_instructions_as_a_message(provider, clients, captured):
    """
    The Responses API is recorded as chat completions are.
    """
    provider.answers(Reply(response()))

    clients.openai().responses.create(model="gpt-5", instructions="Be brief.", input="Capital?", max_output_tokens=9)

    seen = only(captured)
    assert seen.name == "openai.responses"
    assert seen.input == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Capital?"}]
    assert (seen.output, seen.model_parameters) == ("Paris", {"max_output_tokens": 9})
    assert (seen.usage.total_tokens, seen.finish_reasons) == (15, ["completed"])


def test_reasoning_and_calls_in_a_response_are_one_message(provider, clients, captured):
    """
    Output items that a message can express become one; others are recorded as they are.
    """
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}]}
    call = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "weather", "arguments": '{"a": 1}'}
    search = {
        "type": "web_search_call",
        "id": "ws_1",
        "status": "completed",
        "action": {"type": "search", "query": "q"},
    }
    provider.answers(Reply(response(output=[reasoning, call])), Reply(response(output=[search])))

    client = clients.openai()
    client.responses.create(model="gpt-5", input="?")
    client.responses.create(model="gpt-5", input="?")

    first, second = (output for _, output in outcomes(captured))
    assert first["reasoning"] == "Hm."
    assert first["tool_calls"] == [{"id": "call_1", "name": "weather", "arguments": {"a": 1}}]
    assert second[0]["type"] == "web_search_call"


@pytest.mark.parametrize("form", ["create", "helper", "raw"])
def test_a_streamed_chat_completion_ends_with_its_stream(provider, clients, captured, form):
    """
    ``create(stream=True)``, the helper ``stream()`` and a raw response that is parsed: one generation each.
    """
    provider.answers(Reply(events=chunks("Pa", "ris")))
    completions = clients.openai().chat.completions

    if form == "create":
        stream = completions.create(**ASK, stream=True)
        assert isinstance(stream, openai.Stream)
        assert [trace.status for trace in captured.traces()] == [None]  # it is still open
        items = list(stream)
    elif form == "helper":
        with completions.stream(**ASK) as events:
            items = list(events)
    else:
        items = list(completions.with_raw_response.create(**ASK, stream=True).parse())

    seen = only(captured)
    assert (seen.status, seen.output, seen.usage.total_tokens) == (Status.SUCCESS, "Paris", 15)
    assert seen.finish_reasons == ["stop"]
    assert seen.time_to_first_token_ms is not None
    assert len(items) >= seen.metadata["stream"]["count"] == 5


@pytest.mark.parametrize("form", ["create", "helper"])
def test_a_streamed_response_ends_with_its_stream(provider, clients, captured, form):
    """
    The same for the Responses API.
    """
    provider.answers(Reply(events=response_events("Pa", "ris")))
    responses = clients.openai().responses

    if form == "create":
        list(responses.create(model="gpt-5", input="?", stream=True))
    else:
        with responses.stream(model="gpt-5", input="?") as events:
            assert events.get_final_response().output_text == "Paris"

    seen = only(captured)
    assert (seen.status, seen.output, seen.usage.total_tokens) == (Status.SUCCESS, "Paris", 15)


@pytest.mark.parametrize("form", ["create", "helper"])
def test_a_stream_that_is_closed_early_is_abandoned_at_once(provider, clients, captured, form):
    """
    Leaving the ``with`` block ends the observation, although the program keeps the stream.
    """
    provider.answers(Reply(events=chunks("Pa", "ris")))
    completions = clients.openai().chat.completions

    with completions.create(**ASK, stream=True) if form == "create" else completions.stream(**ASK) as stream:
        for item in stream:
            if "'Pa'" in str(item):
                break

    assert outcomes(captured) == [("abandoned", "Pa")]
    del stream


def test_a_stream_that_is_dropped_is_abandoned(provider, clients, captured):
    """
    So is a stream that the program neither reads to its end nor closes.
    """
    provider.answers(Reply(events=chunks("Pa", "ris")))

    stream = clients.openai().chat.completions.create(**ASK, stream=True)
    next(stream)
    stream.response.close()
    del stream
    gc.collect()

    assert [status for status, _ in outcomes(captured)] == ["abandoned"]


def test_a_stream_that_breaks_off_is_an_error_with_the_text_so_far(provider, clients, captured):
    """
    An error of the provider within the stream leaves what was streamed before.
    """
    provider.answers(Reply(events=[*chunks("Pa")[:2], {"error": {"message": "overloaded"}}]))

    with pytest.raises(openai.APIError, match="overloaded"):
        list(clients.openai().chat.completions.create(**ASK, stream=True))

    assert outcomes(captured) == [("error", "Pa")]
    assert only(captured).metadata["error_type"] == "APIError"


def test_a_structured_answer_is_parsed_and_recorded(provider, clients, captured):
    """
    The user gets the object, the record has the text and the schema.
    """
    provider.answers(Reply(completion('{"name": "Paris"}')))

    answer = clients.openai().chat.completions.parse(**ASK, response_format=City)

    assert answer.choices[0].message.parsed == City(name="Paris")
    seen = only(captured)
    assert seen.output == '{"name": "Paris"}'
    assert seen.model_parameters["response_format"]["json_schema"]["name"] == "City"


@pytest.mark.parametrize("finish", ["stop", "length"])
def test_a_paid_answer_that_cannot_be_parsed_is_kept(provider, clients, captured, finish):
    """
    The observation is an error, and has the answer and the usage; the SDK's exception reaches the program.
    """
    provider.answers(Reply(completion('{"town": "Paris"}', finish=finish)))

    with pytest.raises((ValidationError, openai.LengthFinishReasonError)) as raised:
        clients.openai().chat.completions.parse(**ASK, response_format=City)

    seen = only(captured)
    assert (seen.status, seen.output, seen.usage.total_tokens) == (Status.ERROR, '{"town": "Paris"}', 15)
    assert seen.metadata["error_type"] == type(raised.value).__name__
    assert seen.finish_reasons == [finish]


def test_embeddings_are_an_embedding(provider, clients, captured):
    """
    The texts are the input, the vectors the output.
    """
    provider.answers(Reply(embeddings([0.5, 0.25], [1.0, 0.0])))

    clients.openai().embeddings.create(model="text-embedding-3-small", input=["a", "b"], encoding_format="float")

    seen = only(captured)
    assert (seen.type.name, seen.name) == ("EMBEDDING", "openai.embeddings")
    assert (seen.input, seen.output) == (["a", "b"], [[0.5, 0.25], [1.0, 0.0]])
    assert (seen.model, seen.usage.input_tokens) == ("text-embedding-3-small", 4)


def test_a_raw_response_stays_raw_and_its_answer_is_recorded(provider, clients, captured):
    """
    ``with_raw_response`` returns headers and body as before.
    """
    provider.answers(Reply(completion(), headers={"x-ratelimit-remaining": "7"}))

    raw = clients.openai().chat.completions.with_raw_response.create(**ASK)

    assert outcomes(captured) == [("success", "Paris")]
    assert raw.headers["x-ratelimit-remaining"] == "7"
    assert raw.parse().choices[0].message.content == "Paris"
    assert only(captured).usage.total_tokens == 15


@pytest.mark.parametrize(
    ("read", "outcome"),
    [
        (lambda raw: raw.parse(), ("success", "Paris")),
        (lambda raw: raw.json(), ("success", "Paris")),
        (lambda raw: list(raw.iter_lines()), ("success", "Paris")),
        (lambda raw: next(raw.iter_bytes(4)), ("abandoned", None)),
        (lambda raw: None, ("abandoned", None)),
    ],
    ids=["parse", "json", "lines", "beginning", "nothing"],
)
def test_a_streaming_response_ends_when_it_is_parsed_or_closed(provider, clients, captured, read, outcome):
    """
    ``with_streaming_response``: the answer is known if the program reads the body to its end.
    """
    provider.answers(Reply(completion()))

    with clients.openai().chat.completions.with_streaming_response.create(**ASK) as raw:
        assert isinstance(raw, openai.APIResponse)
        read(raw)

    assert outcomes(captured) == [outcome]
    clients.openai().chat.completions.create(**ASK)
    assert len(captured.traces()) == 2


def test_an_error_response_has_its_status(provider, clients, captured):
    """
    The SDK's exception is raised unchanged.
    """
    provider.answers(Reply({"error": {"message": "no such model"}}, status=404))

    with pytest.raises(openai.NotFoundError) as raised:
        clients.openai().chat.completions.create(**ASK)

    seen = only(captured)
    assert (seen.status, seen.metadata["status_code"], seen.model) == (Status.ERROR, 404, "gpt-5")
    assert seen.error == str(raised.value)


def test_retries_of_the_client_are_one_observation(provider, clients, captured):
    """
    The client repeats a request that was refused; the call is one, and succeeds.
    """
    refused = Reply({"error": {"message": "slow down"}}, status=429, headers={"retry-after-ms": "1"})
    provider.answers(refused, refused, Reply(completion()))

    clients.openai(max_retries=2).chat.completions.create(**ASK)

    assert len(provider.requests) == 3
    assert outcomes(captured) == [("success", "Paris")]


def test_a_timeout_is_an_error(provider, clients, captured):
    """
    So is a request that gets no answer in time.
    """
    held_back = threading.Event()
    provider.answers(Reply(completion(), held_back=held_back))

    with pytest.raises(openai.APITimeoutError):
        clients.openai(timeout=0.05).chat.completions.create(**ASK)
    held_back.set()

    assert only(captured).metadata["error_type"] == "APITimeoutError"


async def test_async_calls_beside_each_other_keep_to_themselves(provider, clients, captured):
    """
    Calls of concurrent tasks, streamed and not, are children of the agents that made them.
    """
    provider.answers(Reply(events=chunks("Pa", "ris")))

    @fluxloop.agent
    async def capital(client: Any, number: int) -> str:
        stream = await client.chat.completions.create(**ASK, stream=True, seed=number)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])

    async with clients.openai("AsyncOpenAI") as client:
        answers = await asyncio.gather(*(capital(client, number) for number in range(8)))

    assert answers == ["Paris"] * 8
    assert len(captured.traces()) == 8
    for trace in captured.traces():
        agent, generation = trace.observations
        assert (generation.parent_id, generation.output) == (agent.id, "Paris")
        assert generation.model_parameters == {"seed": agent.input["number"]}


async def test_the_async_helper_and_raw_responses_work(provider, clients, captured):
    """
    ``stream()``, ``with_raw_response`` and ``with_streaming_response`` of the async client.
    """
    async with clients.openai("AsyncOpenAI") as client:
        completions = client.chat.completions
        provider.answers(Reply(events=chunks("Pa", "ris")))
        async with completions.stream(**ASK) as events:
            final = await events.get_final_completion()
        async with completions.stream(**ASK) as events:
            await anext(aiter(events))
        raw = await completions.with_raw_response.create(**ASK, stream=True)
        assert [item async for item in raw.parse()]
        provider.answers(Reply(completion()))
        async with completions.with_streaming_response.create(**ASK) as streaming:
            assert isinstance(streaming, openai.AsyncAPIResponse)
            assert (await streaming.parse()).id == "chatcmpl-1"

    assert final.choices[0].message.content == "Paris"
    assert outcomes(captured) == [("success", "Paris"), ("abandoned", ""), ("success", "Paris"), ("success", "Paris")]


async def test_a_cancelled_call_is_cancelled(provider, clients, captured):
    """
    Cancelling the task ends the observation as cancelled.
    """
    held_back = threading.Event()
    provider.answers(Reply(completion(), held_back=held_back))
    async with clients.openai("AsyncOpenAI") as client:
        task = asyncio.create_task(client.chat.completions.create(**ASK))
        await asyncio.to_thread(provider.arrived.wait, 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    held_back.set()

    assert only(captured).status is Status.CANCELLED


def test_threads_record_their_own_calls(provider, clients, captured):
    """
    One client in many threads: each call opens its trace.
    """
    provider.answers(Reply(completion()))
    client = clients.openai()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: client.chat.completions.create(**ASK), range(16)))

    assert outcomes(captured) == [("success", "Paris")] * 16
    assert len(captured.traces()) == 16


def test_azure_is_named_as_the_provider(provider, captured):
    """
    The request of Azure's client has another path, and the same record.
    """
    provider.answers(Reply(completion()))
    options: dict[str, Any] = {"azure_endpoint": provider.url, "api_key": SECRET, "api_version": "2024-10-21"}

    with openai.AzureOpenAI(**options) as client:
        client.chat.completions.create(**ASK)

    assert "/openai/deployments/gpt-5/" in provider.paths[0]
    assert (only(captured).provider, only(captured).output) == ("azure.ai.openai", "Paris")


def test_the_key_and_the_headers_are_never_recorded(provider, clients, captured):
    """
    No record has the key of the client, a header, or a parameter that is not the model's.
    """
    provider.answers(Reply(completion(), headers={"set-cookie": SECRET}), Reply({"error": {}}, status=401))
    client = clients.openai(default_headers={"X-Mine": SECRET})

    client.chat.completions.create(**ASK, extra_headers={"X-Call": SECRET}, extra_body={"api_key": SECRET})
    with pytest.raises(openai.AuthenticationError):
        client.chat.completions.create(**ASK)

    assert SECRET not in repr(captured.storage.read())


def test_other_requests_are_not_recorded(provider, clients, captured):
    """
    Requests other than model calls pass through.
    """
    provider.answers(Reply({"id": "x", "object": "thing", "model": "m", "results": []}))

    clients.openai().moderations.create(input="?")

    assert captured.traces() == []


def test_with_tracing_off_nothing_is_recorded(provider, clients):
    """
    ``enabled=False`` applies to clients, too; so does ``capture_output=False``.
    """
    provider.answers(Reply(completion()))
    fluxloop_custom.instrument_openai()
    try:
        with capture(enabled=False) as off:
            clients.openai().chat.completions.create(**ASK)
        with capture(capture_input=False, capture_output=False) as quiet:
            clients.openai().chat.completions.create(**ASK)
    finally:
        fluxloop_custom.uninstrument_openai()

    assert off.traces() == []
    assert (only(quiet).input, only(quiet).output, only(quiet).usage.total_tokens) == (None, None, 15)


@pytest.mark.parametrize("form", ["whole", "stream", "raw stream"])
def test_a_trace_that_sampling_leaves_out_is_not_recorded(provider, clients, form):
    """
    The client works as before, and what follows is not affected.
    """
    is_stream = form != "whole"
    provider.answers(Reply(events=chunks("Pa", "ris")) if is_stream else Reply(completion()))
    fluxloop_custom.instrument_openai()
    completions = clients.openai().chat.completions
    try:
        with capture(sample_rate=0) as captured:
            if form == "raw stream":
                answer = completions.with_raw_response.create(**ASK, stream=True).parse()
            else:
                answer = completions.create(**ASK, stream=is_stream)
            assert not is_stream or len(list(answer)) == 5
            assert fluxloop.get_current_context() is None
    finally:
        fluxloop_custom.uninstrument_openai()

    assert captured.traces() == []


def test_instrumenting_twice_records_once_and_is_undone_exactly(provider, clients):
    """
    The methods are the SDK's own objects again; a client made in between is not recorded any more.
    """
    provider.answers(Reply(completion()))
    owners = {
        next(base for base in kind.__mro__ if "request" in vars(base)) for kind in (openai.OpenAI, openai.AsyncOpenAI)
    }
    before = {owner: vars(owner)["request"] for owner in owners}

    with capture() as captured:
        client = clients.openai()
        fluxloop_custom.instrument_openai()
        fluxloop_custom.instrument_openai()
        client.chat.completions.create(**ASK)
        assert inspect.signature(openai.OpenAI.request) == inspect.signature(before[openai.OpenAI.__mro__[1]])
        fluxloop_custom.uninstrument_openai()
        fluxloop_custom.uninstrument_openai()
        client.chat.completions.create(**ASK)

    assert outcomes(captured) == [("success", "Paris")]
    assert {owner: vars(owner)["request"] for owner in owners} == before


def test_a_method_that_another_library_has_wrapped_is_switched_off(provider, clients, monkeypatch):
    """
    It cannot be restored without undoing the other library's work, so it records nothing any more.
    """
    provider.answers(Reply(completion()))
    owner = next(base for base in openai.OpenAI.__mro__ if "request" in vars(base))
    fluxloop_custom.instrument_openai()
    wrapped = owner.request
    monkeypatch.setattr(owner, "request", lambda self, *args, **kwargs: wrapped(self, *args, **kwargs))
    fluxloop_custom.uninstrument_openai()

    with capture() as captured:
        clients.openai().chat.completions.create(**ASK)
    monkeypatch.undo()
    owner.request = inspect.unwrap(wrapped)

    assert captured.traces() == []


def test_another_client_records_into_its_own_traces(provider, clients):
    """
    ``client=`` changes where the calls go.
    """
    provider.answers(Reply(completion()))
    mine = FluxLoopClient()

    with capture() as default, capture(mine) as own:
        fluxloop_custom.instrument_openai()
        fluxloop_custom.instrument_openai(client=mine)
        with fluxloop.instrument("outer"):
            clients.openai().chat.completions.create(**ASK)
        fluxloop_custom.uninstrument_openai()

    assert default.outline() == "SPAN outer"
    assert own.outline() == "GENERATION openai.chat.completions -> 'Paris'"


def test_a_response_that_cannot_be_read_is_returned_all_the_same(provider, clients, monkeypatch):
    """
    A failure of FluxLoop's own is counted, and the program gets the answer.
    """
    provider.answers(Reply(completion()))
    monkeypatch.setattr("fluxloop_custom.clients.calls.read_facts", lambda value: 1 / 0)
    mine = FluxLoopClient()

    with capture(mine) as captured:
        fluxloop_custom.instrument_openai(client=mine)
        answer = clients.openai().chat.completions.create(**ASK)
        fluxloop_custom.uninstrument_openai()

    assert answer.choices[0].message.content == "Paris"
    assert outcomes(captured) == [("success", None)]
    assert mine.report().dropped == 1
