"""
Streams of clients that a program reads half, in turn, or until they break, answered from a recorded trace.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import fluxloop
from fluxloop.testing import capture

from . import provider as api
from .provider import Reply
from .test_replaying import ASK, CLAUDE, GEMINI, comparable, instrumented

__all__ = ["instrumented"]


def openai_chat(clients: Any) -> Any:
    return clients.openai().chat.completions.create(**ASK, stream=True)


def anthropic_messages(clients: Any) -> Any:
    return clients.anthropic().messages.create(**CLAUDE, stream=True)


def google_content(clients: Any) -> Any:
    return clients.google().models.generate_content_stream(**GEMINI)


STREAMS: dict[Callable[[Any], Any], Callable[[], list[Any]]] = {
    openai_chat: lambda: api.chunks("Par", "is", "!"),
    anthropic_messages: lambda: api.message_events("Par", "is", "!"),
    google_content: lambda: [*(api.content({"text": each}, finish=None) for each in ("Par", "is")), api.content()],
}

each_stream = pytest.mark.parametrize("make", STREAMS, ids=lambda make: make.__name__)


@each_stream
def test_a_stream_that_was_closed_early_has_no_more_than_was_recorded(make, provider, clients):
    """
    A program that closes it at the same item runs as before; one that reads on gets an error, not a shorter answer.
    """

    def half() -> list[Any]:
        stream = make(clients)
        items = iter(stream)
        found = [comparable(next(items)) for _ in range(2)]
        stream.close()
        return found

    provider.answers(Reply(events=STREAMS[make]()))
    with capture(replayable=True) as captured:
        expected = half()
    sent = len(provider.requests)

    with capture(), fluxloop.replay(captured.traces()):
        assert half() == expected
    is_short = pytest.raises(fluxloop.ReplayMismatch, match="was closed by the program after 2 items")
    with capture(), is_short, fluxloop.replay(captured.traces()):
        list(make(clients))
    assert len(provider.requests) == sent


@each_stream
def test_streams_that_are_read_in_turn_have_their_own_items(make, provider, clients):
    """
    The requests are the same; the order in which they were made decides.
    """

    def program() -> list[Any]:
        streams = [iter(make(clients)) for _ in range(2)]
        pairs = [[comparable(item) for item in pair] for pair in zip(*streams, strict=False)]
        return [pairs, [comparable(item) for item in streams[1]]]

    events = STREAMS[make]()
    provider.answers(Reply(events=events), Reply(events=[*events[:1], *events]))
    with capture(replayable=True) as captured, fluxloop.instrument("program"):
        expected = program()
    with capture(), fluxloop.replay(captured.traces()), fluxloop.instrument("program"):
        assert program() == expected
    assert expected[1] != []


@pytest.mark.parametrize("pace", [None, 1.0])
@pytest.mark.parametrize("is_async", [False, True])
def test_a_stream_that_broke_breaks_again_after_the_same_items(is_async, pace, provider, clients):
    """
    With the same exception; sync and async, with and without the recorded times.
    """
    seen: list[Any] = []

    async def read() -> None:
        async with clients.openai("AsyncOpenAI") as client:
            async for item in await client.chat.completions.create(**ASK, stream=True):
                seen.append(item)  # noqa: PERF401 - the items before the exception

    def read_sync() -> None:
        for item in openai_chat(clients):
            seen.append(item)  # noqa: PERF402 - the items before the exception

    def program() -> list[Any]:
        seen.clear()
        with pytest.raises(Exception, match=r"incomplete|closed|Connection") as raised:
            asyncio.run(read()) if is_async else read_sync()
        return [*map(comparable, seen), type(raised.value), str(raised.value)]

    events = [*api.chunks("Par", "is")[:2], ConnectionError()]
    provider.answers(Reply(events=events, headers={"content-length": "99999"}))
    with capture(replayable=True) as captured:
        expected = program()
    sent = len(provider.requests)
    with capture(), fluxloop.replay(captured.traces(), pace=pace):
        assert program() == expected

    assert len(provider.requests) == sent
    assert len(expected) == 4
