"""
What holds for every call shape, every block and every framework, see recorded_units.py.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from contracts.recorded_units import UNITS, Unit

import fluxloop
from fluxloop.models import ObservationData, Trace
from fluxloop.testing import Captured, capture
from fluxloop.tracing.propagation import current
from fluxloop_custom import openai_agents

SECRET = "sk-proj-aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY3zA5bC7dE9"


@pytest.fixture(params=UNITS, autouse=True)
def unit(request: pytest.FixtureRequest) -> Iterator[Unit]:
    from agents import set_trace_processors

    set_trace_processors([])
    openai_agents.install()
    yield UNITS[request.param]
    openai_agents.uninstall()


@fluxloop.tool
def helper(value: str) -> str:
    return value


def shout(value: str) -> str:
    return helper(value).upper()


class WorkError(Exception):
    """An error of the user's code."""


def fail(value: str) -> str:
    helper(value)
    raise WorkError(f"no {value}")


def cancel(value: str) -> str:
    raise asyncio.CancelledError("enough")


def run(unit: Unit, body: Any, value: str = "hi") -> str:
    """Run *body* in *unit*, inside an agent."""

    @fluxloop.agent
    def outer() -> str:
        return unit.run(body, value)

    return outer()


def only_trace(captured: Captured) -> Trace:
    (trace,) = captured.traces()
    return trace


def observation_around(trace: Trace, observation: ObservationData) -> ObservationData:
    return next(one for one in trace.observations if one.id == observation.parent_id)


def unit_in(trace: Trace) -> ObservationData:
    """Return the observation in which the body has run: it, or the one around what it called."""
    helpers = [one for one in trace.observations if one.name == "helper"]
    return observation_around(trace, helpers[0])


def test_the_result_is_that_of_the_body(unit: Unit) -> None:
    with capture():
        assert run(unit, shout) == "HI"


def test_it_is_one_observation_with_the_calls_of_the_body_under_it(unit: Unit) -> None:
    with capture() as captured:
        run(unit, shout)

    trace = only_trace(captured)
    found = unit_in(trace)
    assert found.type.name == unit.type
    assert [one.name for one in trace.observations if one.name == found.name].count(found.name) == 1
    assert found.status is fluxloop.Status.SUCCESS
    assert [one.name for one in trace.roots] == ["outer"]


def test_input_and_output_are_captured(unit: Unit) -> None:
    with capture() as captured:
        run(unit, shout)

    found = unit_in(only_trace(captured))
    if unit.has_arguments:
        assert "hi" in str(found.input)
    if unit.has_output:
        assert "HI" in str(found.output)


def test_what_is_not_to_be_captured_is_not(unit: Unit) -> None:
    with capture(capture_input=False, capture_output=False) as captured:
        run(unit, shout, "needle")

    records = str(list(captured.storage.read()))
    assert "needle" not in records
    assert "NEEDLE" not in records


def test_secrets_are_masked(unit: Unit) -> None:
    with capture() as captured:
        run(unit, helper, f"the key is {SECRET}")

    assert captured.traces()
    assert SECRET not in str(list(captured.storage.read()))


def test_an_error_reaches_the_caller_and_is_recorded(unit: Unit) -> None:
    with capture() as captured, pytest.raises(Exception, match="no hi") as caught:
        run(unit, fail)

    assert (type(caught.value) is WorkError) == unit.passes_errors
    trace = only_trace(captured)
    found = unit_in(trace)
    assert found.status is fluxloop.Status.ERROR
    assert "no hi" in str(found.error)
    assert trace.status is fluxloop.Status.ERROR
    assert all(one.status for one in trace.observations)


def test_a_cancellation_is_not_an_error(unit: Unit) -> None:
    with capture() as captured, suppress(asyncio.CancelledError, *[Exception] * unit.handles_cancellation):
        run(unit, cancel)

    trace = only_trace(captured)
    statuses = {one.status for one in trace.observations}
    if not unit.handles_cancellation:
        assert fluxloop.Status.CANCELLED in statuses
        assert fluxloop.Status.ERROR not in statuses
    assert None not in statuses


def test_nothing_stays_current_and_nothing_stays_open(unit: Unit) -> None:
    with capture() as captured:
        for body in (shout, fail, cancel):
            with suppress(Exception, asyncio.CancelledError):
                run(unit, body)

    assert current() is None
    assert all(one.end_time for trace in captured.traces() for one in trace.observations)


def test_times_of_children_lie_within_their_parents(unit: Unit) -> None:
    with capture() as captured:
        run(unit, shout)

    trace = only_trace(captured)
    found = unit_in(trace)
    for child in trace.children(found):
        assert found.start_time <= child.start_time
        assert child.end_time is not None
        assert found.end_time is not None
        assert child.end_time <= found.end_time


@pytest.mark.parametrize("settings", [{"enabled": False}, {"sample_rate": 0.0}], ids=["disabled", "unsampled"])
def test_without_recording_the_body_runs_the_same_and_nothing_is_recorded(unit: Unit, settings: dict[str, Any]) -> None:
    with capture(**settings) as captured:
        assert run(unit, shout) == "HI"
        with pytest.raises(Exception, match="no hi") as caught:
            run(unit, fail)

    assert (type(caught.value) is WorkError) == unit.passes_errors
    assert captured.traces() == []


def test_a_storage_that_fails_does_not_reach_the_program(unit: Unit) -> None:
    class Broken:
        def write(self, records: Any) -> None:
            raise OSError("disk full")

        def close(self) -> None: ...

    fluxloop.configure(storage=Broken())

    assert run(unit, shout) == "HI"
    assert fluxloop.report().failed


def test_units_in_threads_do_not_mix(unit: Unit) -> None:
    barrier = threading.Barrier(4)

    def body(value: str) -> str:
        barrier.wait(10)
        return shout(value)

    with capture() as captured:
        threads = [threading.Thread(target=run, args=(unit, body, f"v{n}")) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    traces = captured.traces()
    assert len(traces) == 4
    for trace in traces:
        (called,) = (one for one in trace.observations if one.name == "helper")
        if unit.has_output:
            assert called.input["value"].upper() in str(observation_around(trace, called).output)


def test_one_in_another_is_nested(unit: Unit) -> None:
    with capture() as captured:
        run(unit, lambda value: _in_thread(lambda: unit.run(shout, value)) if _runs_loop() else unit.run(shout, value))

    trace = only_trace(captured)
    inner = unit_in(trace)
    above = []
    while inner.parent_id is not None:
        inner = observation_around(trace, inner)
        above.append(inner.name)
    assert above[-1] == "outer"
    assert len(above) >= 2


def _runs_loop() -> bool:
    with suppress(RuntimeError):
        asyncio.get_running_loop()
        return True
    return False


def _in_thread(call: Any) -> Any:
    """Return what *call* returns, called in a thread in the same context."""
    results: list[Any] = []
    thread = threading.Thread(target=fluxloop.copy_context(lambda: results.append(call())))
    thread.start()
    thread.join()
    return results[0]
