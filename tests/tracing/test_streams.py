"""Streams: every item in order, how it ended, and nothing changed for the consumer."""

from __future__ import annotations

import asyncio
import csv
import gc
import io
import sqlite3
import types
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import fluxloop
from fluxloop.enums import Status
from fluxloop.llm import sdk_streams
from fluxloop.llm.sdk_streams import register_stream_class
from fluxloop.testing import capture


@fluxloop.tool
def look_up(n: int) -> int:
    return n


@fluxloop.prompt(model="gpt-4o")
async def chunks(n: int = 3) -> AsyncIterator[str]:
    for i in range(n):
        look_up(i)
        yield f"c{i} "


@fluxloop.prompt(model="gpt-4o")
def sync_chunks(n: int = 3) -> Iterator[str]:
    for i in range(n):
        look_up(i)
        yield f"c{i} "


def generation(captured: Any) -> Any:
    return next(o for t in captured.traces() for o in t.observations if o.type is fluxloop.ObservationType.GENERATION)


async def consume(stop_after: int | None = None) -> list[str]:
    seen = []
    with fluxloop.instrument("run"):
        stream = chunks()
        async for chunk in stream:
            look_up(99)
            seen.append(chunk)
            if len(seen) == stop_after:
                await stream.aclose()
                break
    return seen


def test_a_stream_is_one_generation_with_every_chunk():
    """Chunks in order with offsets, joined text, time to first token, nested tools inside."""
    with capture() as captured:
        seen = asyncio.run(consume())

    assert seen == ["c0 ", "c1 ", "c2 "]
    assert captured.outline() == (
        "SPAN run\n"
        "  GENERATION chunks -> 'c0 c1 c2 '\n"
        "    TOOL look_up -> 0\n"
        "    TOOL look_up -> 1\n"
        "    TOOL look_up -> 2\n"
        "  TOOL look_up -> 99\n"
        "  TOOL look_up -> 99\n"
        "  TOOL look_up -> 99"
    )
    stream = generation(captured).metadata["stream"]
    assert (stream["count"], stream["ended"], stream["items"]) == (3, "exhausted", ["c0 ", "c1 ", "c2 "])
    assert sorted(stream["offsets_ms"]) == stream["offsets_ms"]
    assert generation(captured).time_to_first_token_ms == stream["offsets_ms"][0]


def test_a_consumer_that_stops_early_abandons_the_stream():
    """The items so far are kept, the status is that of the ending, and the context is clean."""
    with capture() as captured:
        asyncio.run(consume(stop_after=1))

    observation = generation(captured)
    assert (observation.status, observation.output) == (Status.ABANDONED, "c0 ")
    assert observation.metadata["stream"]["ended"] == "closed"
    assert fluxloop.get_current_context() is None


def test_a_sync_stream_is_treated_alike():
    """`for c in f()` gets the same record."""
    with capture() as captured, fluxloop.instrument("run"):
        seen = list(sync_chunks(2))

    assert seen == ["c0 ", "c1 "]
    assert generation(captured).output == "c0 c1 "


def test_an_error_in_mid_stream_is_recorded_and_raised():
    """The error ends the observation, with what came before it."""

    @fluxloop.agent
    def breaks() -> Iterator[str]:
        yield "Hel"
        raise ValueError("line cut")

    with capture() as captured, pytest.raises(ValueError, match="line cut"):
        list(breaks())

    assert captured.outline() == "AGENT breaks [error: line cut] -> 'Hel'"


def test_a_half_read_generator_that_is_dropped_is_abandoned():
    """A generator that is collected ends its observation."""

    @fluxloop.agent
    def talks() -> Iterator[str]:
        yield "a"
        yield "b"

    with capture() as captured:
        next(talks())
        gc.collect()

    assert captured.outline() == "AGENT talks [abandoned] -> 'a'"


def test_items_that_are_no_text_are_the_output():
    """Anything may be streamed; the output is then the list of items."""

    @fluxloop.agent
    def counts() -> Iterator[int]:
        yield from range(3)

    with capture() as captured:
        list(counts())

    assert captured.outline() == "AGENT counts -> [0, 1, 2]"


def test_a_long_stream_is_kept_within_bounds():
    """The text is whole, the items are the first ones, and the cut is marked."""

    @fluxloop.agent
    def talks() -> Iterator[str]:
        for _ in range(5_000):
            yield "ab"

    with capture(max_stream_items=10) as captured:
        list(talks())

    (observation,) = captured.traces()[0].observations
    assert observation.output == "ab" * 5_000
    assert observation.metadata["stream"]["count"] == 5_000
    assert len(observation.metadata["stream"]["items"]) == 10
    assert observation.truncated == 1


def test_a_returned_generator_keeps_its_observation_open():
    """What a function returns as a stream belongs to its observation until it ends."""

    @fluxloop.prompt(name="prompt.agent", model="gpt-4")
    async def run_prompt() -> AsyncIterator[str]:
        async def tokens() -> AsyncIterator[str]:
            yield "Hel"
            look_up(1)
            yield "lo"

        return tokens()

    async def handle_request() -> AsyncIterator[str]:
        result = await run_prompt()
        async for chunk in result:
            yield chunk

    @fluxloop.agent
    async def agent() -> str:
        return "".join([c async for c in handle_request()])

    with capture() as captured:
        assert asyncio.run(agent()) == "Hello"

    assert captured.outline() == ("AGENT agent -> 'Hello'\n  GENERATION prompt.agent -> 'Hello'\n    TOOL look_up -> 1")


def test_a_returned_stream_that_nobody_reads_is_abandoned():
    """One that is dropped unread ends too, though none of its code ever ran."""

    @fluxloop.agent
    def agent() -> Iterator[str]:
        return (c for c in "abc")

    with capture() as captured:
        agent()
        gc.collect()

    assert captured.outline() == "AGENT agent [abandoned]"


class ClientStream:
    """Looks as the streams of model clients do."""

    def __init__(self) -> None:
        self.response = "200 OK"
        self.closed = False
        self._items = iter(["a", "b"])

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        return next(self._items)

    def __enter__(self) -> ClientStream:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the client streams of this module."""
    monkeypatch.setattr(sdk_streams, "_KINDS", {name: dict(kinds) for name, kinds in sdk_streams._KINDS.items()})
    register_stream_class(ClientStream)
    register_stream_class(f"{AsyncClientStream.__module__}.AsyncClientStream")


def test_a_registered_client_stream_stays_the_object_it_is(registered):
    """It is followed to its end, and keeps its identity, its type, its attributes and its methods."""
    stream = ClientStream()

    with capture() as captured:
        got = fluxloop.agent(lambda: stream)()
        assert got is stream
        assert isinstance(got, ClientStream)
        assert got.response == "200 OK"
        got.response = "changed"
        with got as entered:
            assert list(entered) == ["a", "b"]

    assert stream.closed
    assert stream.response == "changed"
    assert captured.traces()[0].observations[0].output == "ab"


def test_a_client_stream_that_two_functions_return_is_recorded_for_both(registered):
    """
    Each of the two observations has every item once and ends with the stream.
    """
    ask = fluxloop.prompt(lambda: ClientStream())

    with capture() as captured:
        got = fluxloop.agent("chat")(lambda: ask())()
        assert list(got) == ["a", "b"]

    outer, inner = captured.traces()[0].observations
    assert [(each.output, each.status) for each in (outer, inner)] == [("ab", Status.SUCCESS)] * 2


def test_closing_a_client_stream_abandons_it(registered):
    """`close` before the end is an early end."""
    with capture() as captured:
        got = fluxloop.agent(lambda: ClientStream())()
        next(got)
        got.close()

    assert captured.traces()[0].observations[0].status is Status.ABANDONED


class AsyncClientStream:
    def __init__(self) -> None:
        self._left = ["a", "b"]

    def __aiter__(self) -> AsyncClientStream:
        return self

    async def __anext__(self) -> str:
        if not self._left:
            raise StopAsyncIteration
        return self._left.pop(0)


def test_an_async_client_stream_is_followed_too(registered):
    """The same for objects with `__anext__`."""

    @fluxloop.agent
    async def agent() -> AsyncClientStream:
        return AsyncClientStream()

    async def main() -> list[str]:
        stream = await agent()
        assert isinstance(stream, AsyncClientStream)
        return [item async for item in stream]

    with capture() as captured:
        assert asyncio.run(main()) == ["a", "b"]

    assert captured.outline() == "AGENT agent -> 'ab'"


@pytest.mark.parametrize(
    "make",
    [
        lambda: io.StringIO("a\nb"),
        lambda: sqlite3.connect(":memory:").execute("select 1"),
        lambda: [1, 2],
        lambda: {"a": 1}.items(),
        lambda: range(3),
    ],
)
def test_files_cursors_and_collections_come_back_as_they_are(make):
    """Iterators by accident are not streams: they are returned untouched and unread."""
    value = make()

    with capture():
        returned = fluxloop.agent(lambda: value)()
    if isinstance(value, sqlite3.Cursor):
        value.connection.close()

    assert returned is value


def test_a_map_object_is_a_stream_and_is_not_consumed():
    """Built-in iterators hand on their items, one by one, when asked."""
    pulled = []

    def note(n: int) -> int:
        pulled.append(n)
        return n

    with capture():
        stream = fluxloop.agent(lambda: map(note, [1, 2]))()
        assert pulled == []
        assert list(stream) == [1, 2]
        rows = fluxloop.agent(lambda: csv.reader(["a,b"]))()
        assert list(rows) == [["a", "b"]]


def test_a_plain_function_that_returns_a_coroutine_is_timed_until_it_is_awaited():
    """The observation ends with the awaiting, and holds its result."""

    async def work() -> str:
        return "done"

    @fluxloop.agent
    def agent() -> Any:
        return work()

    with capture() as captured:
        coroutine = agent()
        assert isinstance(coroutine, types.CoroutineType)
        assert asyncio.run(coroutine) == "done"

    assert captured.outline() == "AGENT agent -> 'done'"


def test_steps_that_run_in_tasks_of_their_own_keep_the_tree():
    """Each `__anext__` in its own task, as ChatKit does it, changes nothing."""

    async def main() -> list[str]:
        seen = []
        with fluxloop.instrument("run"):
            stream = chunks()
            while True:
                try:
                    seen.append(await asyncio.create_task(stream.__anext__()))
                except StopAsyncIteration:
                    return seen

    with capture() as captured:
        assert asyncio.run(main()) == ["c0 ", "c1 ", "c2 "]

    looked_up = "".join(f"\n    TOOL look_up -> {n}" for n in range(3))
    assert captured.outline() == f"SPAN run\n  GENERATION chunks -> 'c0 c1 c2 '{looked_up}"


def test_a_secret_split_over_chunks_is_masked_in_text_and_chunks():
    """No chunk shows a piece of it."""
    secret = "sk-" + "a1B2" * 10

    @fluxloop.agent
    def leaks() -> Iterator[str]:
        yield "key: " + secret[:9]
        yield secret[9:20]
        yield secret[20:] + " end"

    with capture() as captured:
        assert "".join(leaks()) == f"key: {secret} end"

    (line, _) = captured.storage.read()
    assert secret[9:20] not in str(line)
    assert line["output"] == "key: [redacted] end"
    assert line["redacted"] >= 1


async def test_a_returned_coroutine_is_replaced_and_a_task_is_not():
    """The end of a task can be observed; that of a coroutine only by running it in another one."""

    async def work() -> int:
        return 1

    made: list[Any] = []

    @fluxloop.tool
    def start(is_task: bool) -> Any:
        made.append(asyncio.ensure_future(work()) if is_task else work())
        return made[-1]

    with capture(), fluxloop.instrument("run"):
        task, coroutine = start(True), start(False)
        assert task is made[0]
        assert coroutine is not made[1]
        assert type(coroutine) is type(made[1])
        assert (await task, await coroutine) == (1, 1)
