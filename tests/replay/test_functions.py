"""
Decorated functions, answered from a recorded trace: every call shape, errors, order, scope, and what cannot be served.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pydantic
import pytest

import fluxloop
from fluxloop import ContextThreadPoolExecutor
from fluxloop.errors import FluxLoopWarning, ReplayedError, ReplayError
from fluxloop.models import ObservationType
from fluxloop.replay.live import is_live
from fluxloop.testing import Captured, capture
from fluxloop.tracing.calls import interceptors

ran: list[Any] = []
"""The arguments of calls that ran for real."""


@pytest.fixture(autouse=True)
def _forget() -> None:
    ran.clear()


@dataclasses.dataclass
class Point:
    x: int
    labels: tuple[str, ...] = ()


class City(pydantic.BaseModel):
    name: str
    at: Point


class Unlucky(Exception):
    """A class that can be imported."""


@fluxloop.tool
def plain(n: int) -> dict[str, int]:
    ran.append(n)
    return {"n": n, "call": len(ran)}


@fluxloop.prompt
async def awaited(text: str) -> str:
    ran.append(text)
    await asyncio.sleep(0)
    return f"answer {len(ran)}"


@fluxloop.prompt
def generated(text: str) -> Iterator[str]:
    ran.append(text)
    yield from ("a", "b", "c")


@fluxloop.prompt
async def streamed(text: str) -> AsyncIterator[str]:
    ran.append(text)
    for item in ("a", "b", "c"):
        yield item


@fluxloop.tool
def city(name: str) -> City:
    ran.append(name)
    return City(name=name, at=Point(1, ("x",)))


@fluxloop.tool
def cities(name: str) -> Iterator[City]:
    ran.append(name)
    yield City(name=name, at=Point(1))


@fluxloop.tool
def unlucky(n: int) -> int:
    ran.append(n)
    raise Unlucky(f"number {n}")


async def read(stream: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in stream]


SHAPES: dict[str, Callable[[], Any]] = {
    "plain": lambda: plain(1),
    "async": lambda: asyncio.run(awaited("q")),
    "generator": lambda: list(generated("q")),
    "async generator": lambda: asyncio.run(read(streamed("q"))),
    "object": lambda: city("Rome"),
    "objects": lambda: list(cities("Rome")),
}


def record(call: Callable[[], Any], **settings: Any) -> tuple[Any, Captured]:
    """Return the result of *call* inside an agent, and its records; forget what ran."""
    with capture(**settings) as captured, fluxloop.instrument("run"):
        result = call()
    ran.clear()
    return result, captured


@pytest.mark.parametrize("match", ["strict", "fifo", "loose"])
@pytest.mark.parametrize("shape", SHAPES)
def test_each_call_shape_is_answered_with_an_equal_value(shape, match):
    """
    The function does not run; objects are equal and of the same class.
    """
    expected, captured = record(SHAPES[shape], replayable=True)

    with capture() as again, fluxloop.replay(captured.traces(), match=match) as replay, fluxloop.instrument("run"):
        assert SHAPES[shape]() == expected

    assert ran == []
    assert again.outline() == captured.outline()
    assert replay.report().is_same
    assert replay.report().hits == 1


def test_an_annotated_class_is_built_from_an_ordinary_record():
    """
    Without ``replayable``, the annotation of the function says which class its answer has.
    """
    expected, captured = record(lambda: city("Rome"))
    with capture(), fluxloop.replay(captured.traces()), fluxloop.instrument("run"):
        assert city("Rome") == expected


def test_a_recorded_error_is_raised_at_the_very_call_that_failed():
    """
    Among concurrent calls each has its own answer or error, of the class of the recorded one.
    """

    @fluxloop.tool
    async def flaky(n: int) -> int:
        ran.append(n)
        await asyncio.sleep(0)
        if n % 2:
            raise Unlucky(f"number {n}")
        return n

    async def run() -> list[Any]:
        return await asyncio.gather(*(flaky(n) for n in range(6)), return_exceptions=True)

    expected, captured = record(lambda: asyncio.run(run()))
    with capture(), fluxloop.replay(captured.traces()), fluxloop.instrument("run"):
        replayed = asyncio.run(run())

    assert [(type(one), str(one)) for one in replayed] == [(type(one), str(one)) for one in expected]
    assert ran == []


def test_an_error_whose_class_is_gone_is_a_replayed_error():
    """
    The error has the name and the text of the recorded one.
    """

    class Local(Exception):
        pass

    @fluxloop.tool
    def fails() -> None:
        raise Local("gone")

    def call() -> str:
        with pytest.raises(Exception) as raised:
            fails()
        return type(raised.value).__name__

    _, captured = record(call)
    with capture(), fluxloop.replay(captured.traces()), fluxloop.instrument("run"):
        with pytest.raises(ReplayedError, match="Local: gone"):
            fails()


def test_identical_concurrent_calls_get_the_answers_in_the_order_of_their_start():
    """
    A thousand calls with one input and different recorded answers: each gets its own.
    """
    numbers = iter(range(1_000))

    @fluxloop.prompt
    async def numbered(text: str) -> str:
        await asyncio.sleep(0)
        return str(next(numbers))

    async def run() -> list[str]:
        return await asyncio.gather(*(numbered("same") for _ in range(1_000)))

    expected, captured = record(lambda: asyncio.run(run()))
    with capture(), fluxloop.replay(captured.traces()), fluxloop.instrument("run"):
        assert asyncio.run(run()) == expected == [str(n) for n in range(1_000)]


def test_calls_in_threads_are_answered_if_the_context_is_carried():
    """
    The jobs of a ContextThreadPoolExecutor are inside the block.
    """

    def run() -> list[Any]:
        with ContextThreadPoolExecutor(4) as pool:
            return list(pool.map(plain, range(4)))

    expected, captured = record(run)
    with capture(), fluxloop.replay(captured.traces()), fluxloop.instrument("run"):
        assert run() == expected
    assert ran == []


def test_another_thread_is_not_affected():
    """
    A run beside the block, in a context of its own, runs for real.
    """
    _, captured = record(lambda: plain(1))
    found: list[Any] = []

    def beside() -> None:
        with fluxloop.instrument("run"):
            found.append(plain(1))

    with capture(), fluxloop.replay(captured.traces(), match="fifo"):
        thread = threading.Thread(target=beside)
        thread.start()
        thread.join()

    assert ran == [1]
    assert found == [{"n": 1, "call": 1}]
    assert interceptors == [each for each in interceptors if each.__name__ != "answer"]


def test_strict_keeps_the_order_of_sequential_calls():
    """
    Two calls of one parent that were recorded one after the other, and are made in the other order, are a miss.
    """
    _, captured = record(lambda: (plain(1), plain(2)))

    with capture(), pytest.raises(fluxloop.ReplayMismatch, match="out of order"):
        with fluxloop.replay(captured.traces()), fluxloop.instrument("run"):
            plain(2), plain(1)
    with capture(), fluxloop.replay(captured.traces(), match="loose"), fluxloop.instrument("run"):
        assert (plain(2)["n"], plain(1)["n"]) == (2, 1)
    assert ran == []


def test_fifo_ignores_inputs_and_loose_takes_the_nearest():
    """
    ``fifo`` answers calls of one name in order; ``loose`` by the most similar input.
    """

    @fluxloop.tool
    def say(text: str) -> str:
        return text

    _, captured = record(lambda: (say("the weather in Rome"), say("tomorrow in Oslo")))
    with capture(), fluxloop.replay(captured.traces(), match="fifo"), fluxloop.instrument("run"):
        assert [say("?"), say("!")] == ["the weather in Rome", "tomorrow in Oslo"]
    with capture(), fluxloop.replay(captured.traces(), match="loose"), fluxloop.instrument("run"):
        assert [say("tomorrow, Oslo"), say("weather Rome")] == ["tomorrow in Oslo", "the weather in Rome"]


def test_a_swallowed_miss_fails_the_block():
    """
    The program catches the error of the miss and goes on; the end of the block raises it.
    """
    _, captured = record(lambda: plain(1))

    with capture(), pytest.raises(fluxloop.ReplayMismatch, match=r"nearest recorded call[\s\S]*-  \"n\": 1"):
        with fluxloop.replay(captured.traces()) as replay, fluxloop.instrument("run"):
            with contextlib.suppress(Exception):
                plain(7)
    assert len(replay.misses) == 1
    assert replay.report().first_divergence
    assert ran == []


def test_recorded_calls_that_are_not_made_fail_a_strict_block():
    """
    They are listed in ``unused``, and allowed by the other modes.
    """
    _, captured = record(lambda: (plain(1), plain(2)))

    with capture(), pytest.raises(fluxloop.ReplayMismatch, match="1 recorded calls were not made"):
        with fluxloop.replay(captured.traces()), fluxloop.instrument("run"):
            plain(1)
    with capture(), fluxloop.replay(captured.traces(), match="fifo") as replay, fluxloop.instrument("run"):
        plain(1)
    assert [one.input for one in replay.unused] == [{"n": 2}]


def test_the_digest_is_the_same_for_equal_replays():
    """
    Two replays of one recording have the same digest; another recording has another one.
    """
    digests = []
    for call in (lambda: plain(1), lambda: plain(1), lambda: plain(2)):
        _, captured = record(call)
        with capture(), fluxloop.replay(captured.traces()) as replay, fluxloop.instrument("run"):
            call()
        digests.append(replay.report().digest)
    assert digests[0] == digests[1] != digests[2]


def test_ids_and_times_in_inputs_do_not_matter():
    """
    Inputs that differ only in a UUID and a time match.
    """

    @fluxloop.tool
    def note(text: str) -> str:
        return "noted"

    _, captured = record(lambda: note("run 3f2504e0-4f89-41d3-9a0c-0305e82c3301 at 2026-01-17T14:30:00Z"))
    with capture(), fluxloop.replay(captured.traces()), fluxloop.instrument("run"):
        assert note("run 9a0c04e0-4f89-41d3-9a0c-0305e82c3301 at 2027-02-18T15:31:00Z") == "noted"


def test_a_cut_answer_is_not_served():
    """
    The error says how to record completely; with that, the answer is whole.
    """

    @fluxloop.tool
    def long(n: int) -> str:
        return "x" * n

    _, captured = record(lambda: long(5_000), max_leaf_bytes=1_000)
    with capture(), pytest.raises(fluxloop.ReplayMismatch, match="replayable=True"):
        with fluxloop.replay(captured.traces()), fluxloop.instrument("run"):
            long(5_000)

    _, captured = record(lambda: long(5_000), max_leaf_bytes=1_000, replayable=True)
    with capture(), fluxloop.replay(captured.traces()), fluxloop.instrument("run"):
        assert long(5_000) == "x" * 5_000


def test_masked_secrets_match_and_masked_answers_are_announced():
    """
    An input with a secret is masked in the record and in the call alike; a masked answer warns before it is served.
    """
    secret = "sk-abcdefghijklmnopqrstuvwxyz0123456789"

    @fluxloop.tool
    def login(api_key: str) -> dict[str, str]:
        return {"api_key": secret, "state": "in"}

    _, captured = record(lambda: login(secret))
    with capture(), pytest.warns(fluxloop.errors.FluxLoopWarning, match="masked"):
        with fluxloop.replay(captured.traces()) as replay, fluxloop.instrument("run"):
            assert login(secret)["state"] == "in"
    assert replay.report().masked == ("TOOL 'login'",)


def test_a_call_that_is_not_data_is_reported_when_it_is_recorded():
    """
    An answer that cannot be recorded whole is named in the record, and refused by the replay.
    """

    @fluxloop.tool
    def handle() -> Any:
        return threading.Lock()

    _, captured = record(handle, replayable=True)
    assert "cannot be replayed" in " ".join(fluxloop.report().problems)
    with capture(), pytest.raises(fluxloop.ReplayMismatch, match="is not data"):
        with fluxloop.replay(captured.traces()), fluxloop.instrument("run"):
            handle()


def test_live_calls_run_for_real():
    """
    By name or by group; they are counted, and the recorded ones are not missed.
    """
    _, captured = record(lambda: (plain(1), asyncio.run(awaited("q"))))
    for live in ("plain", "tools"):
        ran.clear()
        with capture(), fluxloop.replay(captured.traces(), live=live) as replay, fluxloop.instrument("run"):
            plain(1), asyncio.run(awaited("q"))
        assert ran == [1]
        assert (replay.report().hits, replay.report().live) == (1, 1)


@pytest.mark.parametrize(
    ("group", "types"),
    [("models", "GENERATION EMBEDDING"), ("tools", "TOOL RETRIEVAL"), ("all", "GENERATION EMBEDDING TOOL RETRIEVAL")],
)
def test_a_group_of_live_calls_has_all_their_types(group, types):
    """
    What is answered is in a group, and in ``all``; other observations are in none.
    """
    assert {kind.name for kind in ObservationType if is_live((group,), kind, "any")} == {*types.split()}


def test_a_live_name_that_no_call_has_is_reported():
    """
    The call is answered, and the warning has the names of the recording; a new tool that runs is not reported.
    """
    _, captured = record(lambda: plain(1))

    with (
        capture(),
        pytest.warns(FluxLoopWarning, match=r"no call is named 'plane'.*The recording has plain"),
        fluxloop.replay(captured.traces(), live="plane"),
        fluxloop.instrument("run"),
    ):
        plain(1)
    with capture(), fluxloop.replay(captured.traces(), live="unlucky"), fluxloop.instrument("run"):
        plain(1)
        with pytest.raises(Unlucky):
            unlucky(7)
    assert ran == [7]


def test_a_decorator_opens_a_block_per_call():
    """
    A function of any shape, called twice, is replayed twice.
    """
    _, captured = record(lambda: plain(1))

    @fluxloop.replay(captured.traces())
    def again() -> Any:
        with fluxloop.instrument("run"):
            return plain(1)

    @fluxloop.replay(captured.traces())
    async def again_async() -> Any:
        with fluxloop.instrument("run"):
            return plain(1)

    with capture():
        assert again() == again() == asyncio.run(again_async()) == {"n": 1, "call": 1}
    assert ran == []


@pytest.mark.parametrize("is_same", [False, True], ids=["distinct", "identical"])
@pytest.mark.parametrize(
    "match", ["strict", *(pytest.param(each, marks=pytest.mark.slow) for each in ("fifo", "loose"))]
)
def test_a_thousand_calls_at_once_get_their_own_answers(is_same, match):
    """
    Identical calls are distinguished by the order of their start, distinct ones by their input.
    """
    answers = iter(range(1_000))

    @fluxloop.tool
    async def ask(number: int) -> dict[str, int]:
        answer = next(answers)  # an error once the answers are used up: nothing runs in the replay
        await asyncio.sleep(0.001 * (number % 3))
        return {"number": number, "answer": answer}

    @fluxloop.agent
    async def program() -> list[dict[str, int]]:
        return await asyncio.gather(*(ask(7 if is_same else number) for number in range(1_000)))

    with capture() as captured:
        expected = asyncio.run(program())
    with capture() as again, fluxloop.replay(captured.traces(), match=match):
        assert asyncio.run(program()) == expected

    assert [each["answer"] for each in expected] == [*range(1_000)]
    assert len(again.trace.observations) == 1_001


def test_a_hundred_replays_at_once_have_their_own_answers():
    """
    Each block in one process answers its own calls, once.
    """
    _, captured = record(lambda: [plain(n) for n in range(5)])

    async def one() -> list[int]:
        async with fluxloop.replay(captured.traces()):
            with fluxloop.instrument("run"):
                found = []
                for n in range(5):
                    await asyncio.sleep(0)
                    found.append(plain(n)["n"])
                return found

    async def all_() -> list[list[int]]:
        return await asyncio.gather(*(one() for _ in range(100)))

    with capture():
        assert asyncio.run(all_()) == [[0, 1, 2, 3, 4]] * 100
    assert ran == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"match": "exact"}, "match must be one of strict, fifo, loose"),
        ({"pace": "slow"}, "pace must be"),
        ({"trace_id": "nope"}, "expected a trace whose id begins or ends with 'nope'"),
    ],
)
def test_options_are_checked(options, message):
    """
    The error names the option, the value and what is accepted.
    """
    _, captured = record(lambda: plain(1))
    with pytest.raises(ReplayError, match=message):
        fluxloop.replay(captured.traces(), **options)


def test_a_trace_is_selected_by_either_end_of_its_id():
    """
    The commands print the end of an id; a part that two traces share is an error.
    """
    with capture() as captured:
        for n in (1, 2):
            with fluxloop.instrument("run", trace_id=f"{n}-middle-{n}"):
                plain(n)
    traces = captured.traces()

    for part in ("1-middle-1", "1-", "-1", "…-1"):
        with capture(), fluxloop.replay(traces, trace_id=part) as replay:
            with fluxloop.instrument("run"):
                plain(1)
        assert replay.report().hits == 1
    with pytest.raises(ReplayError, match=r"expected one trace .* found 2\. Give more of the id"):
        fluxloop.replay(traces, trace_id="")


def test_an_unfinished_call_is_not_served():
    """
    The record of a crashed call has no answer.
    """
    _, captured = record(lambda: plain(1))
    [trace] = captured.traces()
    trace.observations[1].status = fluxloop.Status.CRASHED

    with capture(), pytest.raises(fluxloop.ReplayMismatch, match="not recorded to its end"):
        with fluxloop.replay(trace), fluxloop.instrument("run"):
            plain(1)


def test_pace_reproduces_the_recorded_times():
    """
    The items of a stream come at the recorded offsets, times the factor.
    """
    import time

    _, captured = record(lambda: list(generated("q")))
    [trace] = captured.traces()
    trace.observations[1].metadata["stream"]["offsets_ms"] = [0.0, 20.0, 40.0]

    started = time.perf_counter()
    with capture(), fluxloop.replay(trace, pace=2), fluxloop.instrument("run"):
        assert list(generated("q")) == ["a", "b", "c"]
    assert time.perf_counter() - started >= 0.08


def test_a_number_matches_whatever_its_type():
    """
    A framework may convert an argument: 70 and 70.0 are the same number.
    """
    _, captured = record(lambda: plain(70))
    with capture(), fluxloop.replay(captured.traces()), fluxloop.instrument("run"):
        assert plain(70.0) == {"n": 70, "call": 1}  # type: ignore[arg-type]
    assert ran == []


def test_a_call_that_was_cancelled_by_a_timeout_is_cancelled_again():
    """
    The answer does not come before the timeout of the program, which handles it as it did.
    """

    @fluxloop.tool
    async def slow() -> None:
        ran.append("slow")
        await asyncio.sleep(30)

    async def run() -> str:
        try:
            await asyncio.wait_for(slow(), 0.05)
        except TimeoutError:
            return "too slow"
        return "in time"

    expected, captured = record(lambda: asyncio.run(run()))
    with capture() as again, fluxloop.replay(captured.traces()), fluxloop.instrument("run"):
        assert asyncio.run(run()) == expected == "too slow"
    assert again.outline() == captured.outline()
    assert ran == []


def test_what_the_program_records_by_hand_is_made_again():
    """
    A block of `observe` has no call to answer; a recording with it replays strictly.
    """

    def run() -> None:
        with fluxloop.observe("search", "retrieval", input={"query": "cats"}) as observation:
            observation.output = ["a page"]
        plain(1)

    _, captured = record(run)
    with capture() as again, fluxloop.replay(captured.traces()) as replay, fluxloop.instrument("run"):
        run()
    assert again.outline() == captured.outline()
    assert replay.unused == []


def test_a_replay_that_sees_no_call_says_so():
    """
    In the modes that allow answers to be left, a warning: the calls may have run for real.
    """
    _, captured = record(lambda: plain(1))
    with capture(), pytest.warns(FluxLoopWarning, match="no call was seen"):
        with fluxloop.replay(captured.traces(), match="loose"):
            plain(1)  # outside a trace
