"""
Requests of the clients of OpenAI, Anthropic and Google, answered from a recorded trace: no request is sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

import fluxloop
import fluxloop_custom
from fluxloop.testing import Captured, capture

from . import provider as api
from .provider import QUESTION, Reply

ASK: dict[str, Any] = {"model": "gpt-5", "messages": QUESTION}
CLAUDE: dict[str, Any] = {"model": "claude-next", "max_tokens": 64, "messages": QUESTION}
GEMINI: dict[str, Any] = {"model": "gemini-2.5-flash", "contents": "Capital of France?"}


class City(BaseModel):
    name: str


@pytest.fixture(autouse=True)
def instrumented() -> Any:
    """Record the clients of all SDKs."""
    fluxloop_custom.instrument_openai()
    fluxloop_custom.instrument_anthropic()
    fluxloop_custom.instrument_google_genai()
    yield
    fluxloop_custom.uninstrument_openai()
    fluxloop_custom.uninstrument_anthropic()
    fluxloop_custom.uninstrument_google_genai()


def openai_chat(clients: Any) -> Any:
    return clients.openai().chat.completions.create(**ASK)


def openai_chat_stream(clients: Any) -> Any:
    return list(clients.openai().chat.completions.create(**ASK, stream=True))


def openai_helper(clients: Any) -> Any:
    with clients.openai().chat.completions.stream(**ASK) as stream:
        return [event.type for event in stream], stream.get_final_completion()


def openai_parsed(clients: Any) -> Any:
    return clients.openai().chat.completions.parse(**ASK, response_format=City)


def openai_raw(clients: Any) -> Any:
    raw = clients.openai().chat.completions.with_raw_response.create(**ASK)
    return raw.status_code, raw.parse()


def openai_responses(clients: Any) -> Any:
    return clients.openai().responses.create(model="gpt-5", input="Capital of France?")


def openai_responses_stream(clients: Any) -> Any:
    return list(clients.openai().responses.create(model="gpt-5", input="Capital of France?", stream=True))


async def openai_async(clients: Any) -> Any:
    async with clients.openai("AsyncOpenAI") as client:
        return await asyncio.gather(*(client.chat.completions.create(**ASK) for _ in range(3)))


async def openai_async_stream(clients: Any) -> Any:
    async with clients.openai("AsyncOpenAI") as client:
        return [chunk async for chunk in await client.chat.completions.create(**ASK, stream=True)]


def openai_embeddings(clients: Any) -> Any:
    return clients.openai().embeddings.create(model="text-embedding-3-small", input=["a", "b"])


def anthropic_messages(clients: Any) -> Any:
    return clients.anthropic().messages.create(**CLAUDE)


def anthropic_stream(clients: Any) -> Any:
    return list(clients.anthropic().messages.create(**CLAUDE, stream=True))


def anthropic_helper(clients: Any) -> Any:
    with clients.anthropic().messages.stream(**CLAUDE) as stream:
        return list(stream.text_stream), stream.get_final_message()


def google_content(clients: Any) -> Any:
    return clients.google().models.generate_content(**GEMINI)


def google_stream(clients: Any) -> Any:
    return list(clients.google().models.generate_content_stream(**GEMINI))


async def google_async(clients: Any) -> Any:
    return await clients.google().aio.models.generate_content(**GEMINI)


async def google_async_stream(clients: Any) -> Any:
    return [part async for part in await clients.google().aio.models.generate_content_stream(**GEMINI)]


CALLS: dict[Callable[[Any], Any], Callable[[], Reply]] = {
    openai_chat: lambda: Reply(api.completion()),
    openai_chat_stream: lambda: Reply(events=api.chunks("Par", "is")),
    openai_helper: lambda: Reply(events=api.chunks("Par", "is")),
    openai_parsed: lambda: Reply(api.completion('{"name": "Paris"}')),
    openai_raw: lambda: Reply(api.completion()),
    openai_responses: lambda: Reply(api.response()),
    openai_responses_stream: lambda: Reply(events=api.response_events("Par", "is")),
    openai_async: lambda: Reply(api.completion()),
    openai_async_stream: lambda: Reply(events=api.chunks("Par", "is")),
    openai_embeddings: lambda: Reply(api.embeddings([0.5, 0.25], [0.125] * 40)),
    anthropic_messages: lambda: Reply(api.message()),
    anthropic_stream: lambda: Reply(events=api.message_events("Par", "is")),
    anthropic_helper: lambda: Reply(events=api.message_events("Par", "is")),
    google_content: lambda: Reply(api.content()),
    google_stream: lambda: Reply(events=[api.content({"text": "Par"}, finish=None), api.content({"text": "is"})]),
    google_async: lambda: Reply(api.content()),
    google_async_stream: lambda: Reply(events=[api.content({"text": "Par"}, finish=None), api.content({"text": "is"})]),
}


def made(call: Callable[[Any], Any], clients: Any) -> Any:
    """Return the result of *call*, a function or a coroutine function."""
    result = call(clients)
    return asyncio.run(result) if inspect.iscoroutine(result) else result


def comparable(value: Any) -> Any:
    """Return *value* with the objects of SDKs as their classes and data, without HTTP headers."""
    if isinstance(value, list | tuple):
        return [comparable(item) for item in value]
    dump = getattr(value, "model_dump", None)
    if dump is None:
        return value
    data = {name: item for name, item in dump(warnings=False).items() if name != "sdk_http_response"}
    return type(value).__name__, data


def record(call: Callable[[Any], Any], provider: Any, clients: Any, **settings: Any) -> tuple[Any, Captured]:
    """Return the result of *call*, and its records."""
    provider.answers(CALLS[call]())
    with capture(**settings) as captured:
        return made(call, clients), captured


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_an_exact_replay_returns_equal_objects_of_the_sdk(call, provider, clients):
    """
    With ``replayable=True``, a response or each chunk has the class and the data of the recorded one.
    """
    recorded, captured = record(call, provider, clients, replayable=True)
    sent = len(provider.requests)
    provider.answers(Reply({"error": "not to be asked"}, status=500))

    with capture(), fluxloop.replay(captured.traces()) as replay:
        replayed = made(call, clients)

    assert comparable(replayed) == comparable(recorded)
    assert len(provider.requests) == sent
    assert replay.report().is_same


ANSWERED_FROM_RECORDS = [each for each in CALLS if each != openai_embeddings]


@pytest.mark.parametrize("call", ANSWERED_FROM_RECORDS, ids=lambda call: call.__name__)
def test_an_ordinary_record_is_enough_for_the_answer(call, provider, clients):
    """
    Without ``replayable``, the replayed call is recorded with the same outline: text, tool calls and status.
    """
    _, captured = record(call, provider, clients)
    sent = len(provider.requests)

    with capture() as again, fluxloop.replay(captured.traces()):
        made(call, clients)

    assert again.outline() == captured.outline()
    assert len(provider.requests) == sent


def test_vectors_of_an_ordinary_record_are_not_served(provider, clients):
    """
    Embeddings are recorded in short form, so the error names the setting that records them whole.
    """
    _, captured = record(openai_embeddings, provider, clients)

    with capture(), pytest.raises(fluxloop.FluxLoopError, match="replayable=True"), fluxloop.replay(captured.traces()):
        made(openai_embeddings, clients)


@pytest.mark.parametrize("replayable", [True, False])
def test_an_error_of_the_provider_is_raised_again(provider, clients, replayable):
    """
    The exception has the class, the text and the status code of the recorded one; in an exact replay, its body too.
    """
    import openai

    provider.answers(Reply({"error": {"message": "slow down", "code": "rate"}}, status=429))
    with capture(replayable=replayable) as captured, pytest.raises(openai.RateLimitError) as first:
        openai_chat(clients)
    provider.answers(Reply(api.completion()))

    with capture(), fluxloop.replay(captured.traces()), pytest.raises(openai.RateLimitError) as again:
        openai_chat(clients)

    assert str(again.value) == str(first.value)
    assert again.value.status_code == 429
    assert not replayable or again.value.body == first.value.body


def test_five_identical_concurrent_calls_get_their_own_answers(provider, clients):
    """
    Calls with the same input under one parent are answered in the order of their start.
    """
    provider.answers(*(Reply(api.completion(str(number))) for number in range(5)))

    async def ask() -> list[str]:
        async with clients.openai("AsyncOpenAI") as client:
            answers = await asyncio.gather(*(client.chat.completions.create(**ASK) for _ in range(5)))
        return [answer.choices[0].message.content for answer in answers]

    with capture() as captured, fluxloop.instrument("five"):
        recorded = asyncio.run(ask())
    with capture(), fluxloop.replay(captured.traces()), fluxloop.instrument("five"):
        replayed = asyncio.run(ask())

    assert sorted(recorded) == list("01234")
    assert replayed == recorded


def test_a_request_that_was_not_recorded_is_not_sent(provider, clients):
    """
    The error names the nearest recorded call and what differs.
    """
    _, captured = record(openai_chat, provider, clients)
    sent = len(provider.requests)

    with capture(), pytest.raises(fluxloop.ReplayMismatch, match="Spain") as miss, fluxloop.replay(captured.traces()):
        clients.openai().chat.completions.create(model="gpt-5", messages=[{"role": "user", "content": "Spain?"}])

    assert "- " in str(miss.value)
    assert "Capital of France?" in str(miss.value)
    assert len(provider.requests) == sent


def test_nothing_stays_replaced_after_the_block(provider, clients):
    """
    After the replay, and beside it in another context, requests are sent.
    """
    import openai

    before = openai.OpenAI.request
    _, captured = record(openai_chat, provider, clients)
    with capture(), fluxloop.replay(captured.traces(), match="fifo"):
        pass

    assert openai.OpenAI.request is before
    sent = len(provider.requests)
    with capture():
        openai_chat(clients)
    assert len(provider.requests) == sent + 1


@pytest.fixture
def not_instrumented() -> Any:
    """The SDKs as they are."""
    fluxloop_custom.uninstrument_openai()
    fluxloop_custom.uninstrument_anthropic()
    fluxloop_custom.uninstrument_google_genai()


SILENT = [openai_chat, openai_async, openai_chat_stream, anthropic_messages, google_content, google_async]


@pytest.mark.parametrize("call", SILENT, ids=lambda call: call.__name__)
def test_a_client_that_is_not_instrumented_sends_nothing_in_a_replay(call, provider, clients, not_instrumented):
    """
    The error names the function that instruments it; the block fails also if the program catches it.
    """
    provider.answers(CALLS[call]())
    with capture() as captured, fluxloop.instrument("run"):
        pass

    with capture(), pytest.raises(fluxloop.ReplayMismatch, match="instrument_"), fluxloop.replay(captured.traces()):
        with contextlib.suppress(Exception):
            made(call, clients)

    assert provider.requests == []


def test_a_client_that_is_not_instrumented_sends_what_runs_live(provider, clients, not_instrumented):
    """
    In a function that runs for real, and with ``live="models"``, requests are sent.
    """

    @fluxloop.tool
    def ask() -> str:
        return str(openai_chat(clients).choices[0].message.content)

    provider.answers(Reply(api.completion()))
    with capture() as captured, fluxloop.instrument("run"):
        ask()
    for live in ("ask", "tools"):
        with capture(), fluxloop.replay(captured.traces(), live=live), fluxloop.instrument("run"):
            assert ask() == "Paris"
    with capture(), fluxloop.replay(captured.traces(), live="models", match="loose"), fluxloop.instrument("run"):
        openai_chat(clients)
    assert len(provider.requests) == 4


def test_a_client_is_as_before_after_the_block(provider, clients, not_instrumented):
    """
    Its methods are those of the SDK, also if it is instrumented inside the block.
    """
    import openai

    before = openai.OpenAI.request
    with capture() as captured, fluxloop.instrument("run"):
        pass
    with capture(), fluxloop.replay(captured.traces()):
        assert openai.OpenAI.request is not before
        fluxloop_custom.instrument_openai()
    fluxloop_custom.uninstrument_openai()
    assert openai.OpenAI.request is before
