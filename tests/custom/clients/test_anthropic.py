"""
The clients of Anthropic: each model call is one observation, and the client works as before.
"""

from __future__ import annotations

from typing import Any

import anthropic
import pytest

import fluxloop_custom
from fluxloop import Status

from .conftest import SECRET
from .provider import QUESTION, Reply, message, message_events
from .test_openai import only, outcomes

ASK: dict[str, Any] = {"model": "claude-next", "max_tokens": 9, "messages": QUESTION}


def test_a_message_is_a_generation_with_everything_it_reports(provider, clients, captured):
    """
    The system prompt is a message; model, provider, parameters, usage and stop reason are recorded.
    """
    provider.answers(Reply(message()))

    clients.anthropic().messages.create(**ASK, system="Be brief.", stop_sequences=["."])

    seen = only(captured)
    assert (seen.type.name, seen.name, seen.output) == ("GENERATION", "anthropic.messages", "Paris")
    assert seen.input == [{"role": "system", "content": "Be brief."}, *QUESTION]
    assert (seen.model, seen.provider) == ("claude-next", "anthropic")
    assert seen.model_parameters == {"max_tokens": 9, "stop_sequences": ["."]}
    assert (seen.usage.input_tokens, seen.usage.output_tokens, seen.finish_reasons) == (12, 3, ["end_turn"])
    assert seen.metadata["response_id"] == "msg_1"


def test_tools_thinking_and_citations(provider, clients, captured):
    """
    Thinking and tool calls are part of the message; an answer with citations is recorded as it is.
    """
    thinking = {"type": "thinking", "thinking": "Hm.", "signature": "s"}
    call = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Rome"}}
    cited: dict[str, Any] = {"type": "char_location", "cited_text": "P", "document_index": 0, "document_title": None}
    cited |= {"start_char_index": 0, "end_char_index": 1}
    provider.answers(
        Reply(message(thinking, call, stop="tool_use")),
        Reply(message({"type": "text", "text": "Paris", "citations": [cited]})),
    )
    tool = {"name": "weather", "description": "The weather.", "input_schema": {"type": "object", "properties": {}}}
    client = clients.anthropic()

    client.messages.create(**ASK, tools=[tool])
    client.messages.create(**ASK, extra_body={"mcp_servers": [{"authorization_token": SECRET}]})

    first, second = (trace.observations[0] for trace in captured.traces())
    assert first.output["tool_calls"] == [{"id": "toolu_1", "name": "weather", "arguments": {"city": "Rome"}}]
    assert (first.output["reasoning"], first.finish_reasons) == ("Hm.", ["tool_use"])
    assert (first.metadata["tools"], first.metadata["tool_definitions"]) == (["weather"], [tool])
    assert second.output[0]["citations"][0]["cited_text"] == "P"
    assert SECRET not in repr(captured.storage.read())


@pytest.mark.parametrize("form", ["create", "helper", "raw"])
def test_a_streamed_message_ends_with_its_stream(provider, clients, captured, form):
    """
    ``create(stream=True)``, the helper ``stream()`` and a raw response that is parsed: one generation each.
    """
    provider.answers(Reply(events=message_events("Pa", "ris")))
    messages = clients.anthropic().messages

    if form == "create":
        with messages.create(**ASK, stream=True) as stream:
            assert anthropic.Stream in type(stream).__mro__
            assert list(stream)
    elif form == "helper":
        with messages.stream(**ASK) as stream:
            assert "".join(stream.text_stream) == "Paris"
            assert stream.get_final_message().content[0].text == "Paris"
    else:
        assert list(messages.with_raw_response.create(**ASK, stream=True).parse())

    seen = only(captured)
    assert (seen.status, seen.output, seen.usage.total_tokens) == (Status.SUCCESS, "Paris", 15)
    assert seen.time_to_first_token_ms is not None


def test_a_consumer_that_fails_ends_the_stream_with_its_error(provider, clients, captured):
    """
    The text so far is recorded with the exception that left the ``with`` block of the helper.
    """
    provider.answers(Reply(events=message_events("Pa", "ris")))

    def read() -> None:
        with clients.anthropic().messages.stream(**ASK) as stream:
            raise KeyError(next(iter(stream.text_stream)))

    with pytest.raises(KeyError):
        read()

    assert outcomes(captured) == [("error", "Pa")]
    assert only(captured).metadata["error_type"] == "KeyError"


async def test_the_async_client_is_recorded_too(provider, clients, captured):
    """
    Messages, streams, the helper and raw responses of the async client.
    """
    async with clients.anthropic("AsyncAnthropic") as client:
        provider.answers(Reply(message()))
        await client.messages.create(**ASK)
        raw = await client.messages.with_raw_response.create(**ASK)
        assert raw.http_response.status_code == 200
        provider.answers(Reply(events=message_events("Pa", "ris")))
        async for _ in await client.messages.create(**ASK, stream=True):
            pass
        async with client.messages.stream(**ASK) as stream:
            assert await stream.get_final_text() == "Paris"
        async with client.messages.stream(**ASK) as stream:
            async for text in stream.text_stream:
                assert text == "Pa"
                break

    success, broken_off = ("success", "Paris"), ("abandoned", "Pa")
    assert outcomes(captured) == [success, success, success, success, broken_off]


def test_errors_retries_and_other_requests(provider, clients, captured):
    """
    A retried request is one observation, an error has its status, counting tokens is not recorded.
    """
    overloaded = Reply({"type": "error", "error": {"type": "overloaded_error", "message": "later"}}, status=529)
    overloaded.headers = {"retry-after-ms": "1"}
    client = clients.anthropic(max_retries=1)
    provider.answers(overloaded, Reply(message()))
    client.messages.create(**ASK)
    provider.answers(overloaded)
    with pytest.raises(anthropic.APIStatusError):
        client.messages.create(**ASK)
    provider.answers(Reply({"input_tokens": 12}))
    client.messages.count_tokens(model="claude-next", messages=QUESTION)

    retried, failed = (trace.observations[0] for trace in captured.traces())
    assert (retried.status, failed.status, failed.metadata["status_code"]) == (Status.SUCCESS, Status.ERROR, 529)


def test_the_beta_resources_are_recorded(provider, clients, captured):
    """
    They send their requests by the same method.
    """
    provider.answers(Reply(message()))

    clients.anthropic().beta.messages.create(**ASK, betas=["some-beta"])

    assert outcomes(captured) == [("success", "Paris")]


def test_the_methods_are_restored(provider, clients, captured):
    """
    `uninstrument_anthropic` leaves nothing behind.
    """
    provider.answers(Reply(message()))
    client = clients.anthropic()

    fluxloop_custom.uninstrument_anthropic()
    client.messages.create(**ASK)

    assert captured.traces() == []
    assert not hasattr(anthropic.Anthropic.request, "__wrapped__")
