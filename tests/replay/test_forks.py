"""
Forks: one recorded step is changed, what was recorded before it is served, and the run continues from there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

import fluxloop
from fluxloop.answering import Change, change_next, take_change
from fluxloop.errors import ReplayError
from fluxloop.testing import Captured, capture

ran: list[str] = []
"""The calls that ran for real."""


@pytest.fixture(autouse=True)
def _forget() -> None:
    ran.clear()


@fluxloop.tool
def weather(city: str, unit: str = "C") -> str:
    ran.append(f"weather {city}")
    return f"sunny in {city}, {unit}"


@fluxloop.prompt
def ask(text: str, model: str = "small") -> str:
    ran.append(f"ask {model}")
    return f"{model}: {text}"


@fluxloop.prompt
def stream(text: str) -> Iterator[str]:
    ran.append("stream")
    yield from ("one", "two")


@fluxloop.agent
def agent(city: str) -> str:
    return ask(ask(weather(city)))


@pytest.fixture
def recorded() -> Captured:
    """A run of the agent: a tool and two model calls."""
    with capture() as captured:
        agent("Rome")
    ran.clear()
    return captured


def step(captured: Captured, number: int) -> str:
    """Return the id of the call *number* of the agent."""
    return captured.trace.observations[number].id


def fork(captured: Captured, number: int, **options: Any) -> tuple[Any, Captured]:
    """Return the result of the forked run and its records."""
    with capture() as forked, fluxloop.replay(captured.traces(), fork_at=step(captured, number), **options):
        return agent("Rome"), forked


def test_a_given_output_replaces_the_recorded_one_and_the_rest_runs(recorded):
    """
    The tool does not run; both models do, because they are after it.
    """
    result, forked = fork(recorded, 1, output="rain")

    assert result == "small: small: rain"
    assert ran == ["ask small", "ask small"]
    assert forked.outline().splitlines()[1] == "  TOOL weather -> 'rain'"


def test_the_trace_records_what_it_was_forked_from(recorded):
    """
    The trace has the trace and the step of the recording; the changed step is marked too.
    """
    _, forked = fork(recorded, 2, output="hello")

    assert forked.trace.metadata["forked_from"] == {
        "trace_id": recorded.trace.trace_id,
        "observation_id": step(recorded, 2),
        "step": "GENERATION ask",
        "changed": "output",
    }
    assert forked.trace.observations[2].metadata["fork"] == {"of": step(recorded, 2), "changed": "output"}


def test_an_exception_as_output_is_raised_at_the_step(recorded):
    """
    What the program does when the tool fails can be tried out.
    """
    with pytest.raises(TimeoutError, match="too slow"):
        fork(recorded, 1, output=TimeoutError("too slow"))
    assert ran == []


def test_another_input_is_given_to_the_step_and_recorded(recorded):
    """
    A mapping changes the named arguments; the others are as the program gives them.
    """
    result, forked = fork(recorded, 1, input={"unit": "F"})

    assert result == "small: small: sunny in Rome, F"
    assert forked.trace.observations[1].input == {"city": "Rome", "unit": "F"}


def test_another_model_runs_at_the_step_only(recorded):
    """
    A name is given as the parameter ``model``; a function is called in place of the recorded one.
    """
    assert fork(recorded, 2, model="large")[0] == "small: large: sunny in Rome, C"
    assert fork(recorded, 3, model=lambda text: f"<{text}>")[0] == "<small: sunny in Rome, C>"
    assert ran == ["ask large", "ask small"]


def test_without_a_change_the_step_runs_again(recorded):
    """
    What was recorded before it is served.
    """
    result, forked = fork(recorded, 3)

    assert result == "small: small: sunny in Rome, C"
    assert ran == ["ask small"]
    assert forked.trace.metadata["forked_from"]["changed"] == "nothing"


def test_the_rest_can_come_from_the_recording(recorded):
    """
    ``recorded`` serves what the recording has with the same input and runs the others; ``offline`` runs no others.
    """
    fork(recorded, 1, rest="recorded")
    assert ran == ["weather Rome"]

    ran.clear()
    fork(recorded, 1, output="rain", rest="recorded")
    assert ran == ["ask small", "ask small"]

    ran.clear()
    with pytest.raises(fluxloop.ReplayMismatch, match="no recorded answer for GENERATION ask"):
        fork(recorded, 1, output="rain", rest="offline")
    assert ran == []


def test_parallel_calls_recorded_before_the_step_are_served():
    """
    A sibling that was recorded before the fork is answered, also if it is asked for after the fork.
    """

    @fluxloop.tool
    async def look(city: str) -> str:
        ran.append(city)
        await asyncio.sleep(0)
        return city

    @fluxloop.agent
    async def both(cities: str) -> list[str]:
        return await asyncio.gather(*(look(city) for city in cities))

    with capture() as captured:
        asyncio.run(both("ab"))
    ran.clear()

    with capture(), fluxloop.replay(captured.traces(), fork_at=step(captured, 2), output="B") as replay:
        assert asyncio.run(both("ab")) == ["a", "B"]

    assert ran == []
    assert replay.report().forked_at == "TOOL look"


def test_a_stream_can_be_given():
    """
    A list has the items of a stream.
    """
    with capture() as captured, fluxloop.instrument("run"):
        list(stream("q"))

    with capture(), fluxloop.replay(captured.traces(), fork_at=step(captured, 1), output=["a", "b", "c"]):
        with fluxloop.instrument("run"):
            assert list(stream("q")) == ["a", "b", "c"]


def test_a_step_inside_a_call_is_reached():
    """
    A tool with a model call in it runs, if the fork is that model call.
    """

    @fluxloop.tool
    def helper(text: str) -> str:
        ran.append("helper")
        return ask(text)

    with capture() as captured, fluxloop.instrument("run"):
        helper("hi")
    ran.clear()

    with capture(), fluxloop.replay(captured.traces(), fork_at=step(captured, 2), output="deep"):
        with fluxloop.instrument("run"):
            assert helper("hi") == "deep"
    assert ran == ["helper"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fork_at": "nowhere"}, "no recorded step has the id 'nowhere'"),
        ({"fork_at": "0"}, "4 recorded steps have an id that begins or ends with '0'"),
        ({"output": 1}, "name the step with fork_at="),
        ({"fork_at": "x", "output": 1, "model": "m"}, "a fork changes one thing, got output and model"),
        ({"fork_at": "x", "rest": "later"}, "rest must be one of live, recorded, offline"),
    ],
)
def test_a_fork_that_is_not_possible_is_an_error(recorded, options, message):
    """
    The message says what was expected, and lists the steps.
    """
    with pytest.raises(ReplayError, match=message), capture(), fluxloop.replay(recorded.traces(), **options):
        agent("Rome")
    assert ran == []


def test_a_step_of_the_program_itself_is_not_forked(recorded):
    """
    An agent's own code runs, so it has no recorded answer to change; the steps that have one are listed.
    """
    with pytest.raises(ReplayError, match="AGENT 'agent' cannot be forked") as error:
        fork(recorded, 0, output="x")
    assert step(recorded, 2) in str(error.value)


def test_an_input_that_the_function_does_not_take_is_an_error(recorded):
    """
    The message has the parameters of the function.
    """
    with pytest.raises(fluxloop.ReplayMismatch, match="has no parameter 'town', it has city, unit"):
        fork(recorded, 1, input={"town": "Oslo"})


def test_a_fork_that_is_not_reached_fails_the_block(recorded):
    """
    The program no longer makes the call.
    """
    with pytest.raises(fluxloop.ReplayMismatch, match="did not reach the step of the fork"):
        with capture(), fluxloop.replay(recorded.traces(), fork_at=step(recorded, 3), output="x", match="loose"):
            with fluxloop.instrument("run"):
                weather("Rome")


def test_a_change_has_no_effect_outside_of_its_replay():
    """
    A change that no adapter took, because the call failed before, is dropped when the block ends.
    """
    with capture() as captured, fluxloop.instrument("run"):
        pass
    with capture(), fluxloop.replay(captured.traces()), fluxloop.instrument("run"):
        change_next(Change(model="other"))
        assert take_change() == Change(model="other")
        change_next(Change(model="other"))

    assert take_change() is None
