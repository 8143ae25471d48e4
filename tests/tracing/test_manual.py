"""Pattern A: observations pushed and popped by hand, in any order and from anywhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import fluxloop
from fluxloop import get_current_context
from fluxloop.enums import Status
from fluxloop.models import ObservationData, ObservationType, Usage
from fluxloop.testing import capture


async def my_tool(param: str, work: Any = str.upper) -> dict[str, str]:
    """The second seed's Pattern A, letter for letter but for the body."""
    fl_ctx = get_current_context()
    obs = None
    if fl_ctx and fl_ctx.is_enabled():
        obs = ObservationData(
            type=ObservationType.TOOL,
            name="tool.my_tool",
            input={"args": {"param": param}},
        )
        fl_ctx.push_observation(obs)
    try:
        await asyncio.sleep(0)
        result = {"result": work(param)}
        if obs:
            obs.output = result
        return result
    except Exception as e:
        if obs:
            obs.error = str(e)
        raise
    finally:
        if fl_ctx and obs:
            fl_ctx.pop_observation()


def test_pattern_a_records_a_tool_verbatim():
    """Name and input as given, output and times set."""

    @fluxloop.agent
    async def agent() -> Any:
        return await my_tool("x")

    with capture() as captured:
        assert asyncio.run(agent()) == {"result": "X"}

    root, tool = captured.traces()[0].observations
    assert (tool.name, tool.input, tool.output) == ("tool.my_tool", {"args": {"param": "x"}}, {"result": "X"})
    assert tool.parent_id == root.id
    assert tool.end_time > tool.start_time


def test_pattern_a_outside_a_trace_just_runs():
    """No context, no record, no error."""
    with capture() as captured:
        assert asyncio.run(my_tool("x")) == {"result": "X"}

    assert list(captured.storage.read()) == []


def test_pattern_a_records_errors_and_lets_them_through():
    """`obs.error` is stored, with class and traceback found out for it."""

    def fails(param: str) -> str:
        raise ValueError(f"no {param}")

    @fluxloop.agent
    async def agent() -> Any:
        try:
            await my_tool("x", fails)
        except ValueError:
            return "handled"

    with capture() as captured:
        asyncio.run(agent())

    assert captured.outline() == "AGENT agent -> 'handled'\n  TOOL tool.my_tool [error: no x]"
    tool = captured.traces()[0].observations[1]
    assert tool.metadata["error_type"] == "ValueError"
    assert "no {param}" in tool.metadata["traceback"]


def test_two_tools_in_parallel_are_siblings():
    """Each pops its own."""

    @fluxloop.agent
    async def agent() -> None:
        await asyncio.gather(my_tool("a"), my_tool("b"))

    with capture() as captured:
        asyncio.run(agent())

    assert captured.outline() == (
        "AGENT agent\n  TOOL tool.my_tool -> {'result': 'A'}\n  TOOL tool.my_tool -> {'result': 'B'}"
    )


def test_a_cancelled_tool_is_cancelled_though_nobody_said_so():
    """`finally: pop_observation()` sees what is under way (the snippet catches Exception only)."""

    def cancelled(param: str) -> str:
        raise asyncio.CancelledError

    async def main() -> None:
        with fluxloop.instrument("run"), pytest.raises(asyncio.CancelledError):
            await my_tool("x", cancelled)

    with capture() as captured:
        asyncio.run(main())

    assert captured.outline() == "SPAN run\n  TOOL tool.my_tool [cancelled]"


def test_a_tool_that_runs_while_an_error_is_handled_succeeds():
    """An exception that was there before is not the tool's."""

    async def main() -> None:
        with fluxloop.instrument("run"):
            try:
                raise ValueError("before")
            except ValueError:
                await my_tool("x")

    with capture() as captured:
        asyncio.run(main())

    assert captured.outline() == "SPAN run\n  TOOL tool.my_tool -> {'result': 'X'}"


def test_a_forgotten_pop_is_closed_with_its_scope():
    """Nothing stays open for ever, and nothing claims to have succeeded."""

    @fluxloop.tool
    def forgets() -> None:
        get_current_context().push_observation(ObservationData(type="span", name="forgotten"))

    with capture() as captured, fluxloop.instrument("run") as ctx:
        forgets()
        fluxloop.event("after")
        ctx.push_observation(ObservationData(type="span", name="open at the end"))

    assert captured.outline() == (
        "SPAN run\n  TOOL forgets\n    SPAN forgotten [abandoned]\n  EVENT after\n  SPAN open at the end [abandoned]"
    )


def test_pops_out_of_order_close_what_their_function_pushed():
    """A generator that pushed and is suspended does not lose its observation to the consumer's pop."""

    def inner() -> Iterator[int]:
        ctx = get_current_context()
        ctx.push_observation(ObservationData(type="tool", name="inner"))
        try:
            yield 1
        finally:
            ctx.pop_observation()

    with capture() as captured, fluxloop.instrument("run") as ctx:
        ctx.push_observation(outer := ObservationData(type="span", name="outer"))
        generator = inner()
        next(generator)
        assert ctx.pop_observation() is outer
        generator.close()
        fluxloop.event("after")

    assert captured.outline() == "SPAN run\n  SPAN outer\n    TOOL inner [abandoned]\n  EVENT after"


def test_a_generator_resumed_in_tasks_of_its_own_pops_its_own():
    """Pushed in one task, popped in another."""

    async def steps() -> AsyncIterator[int]:
        ctx = get_current_context()
        ctx.push_observation(obs := ObservationData(type="tool", name="stepping"))
        yield 1
        obs.output = "done"
        ctx.pop_observation()
        yield 2

    async def main() -> None:
        with fluxloop.instrument("run"):
            stream = steps()
            await asyncio.create_task(stream.__anext__())
            await asyncio.create_task(stream.__anext__())
            await stream.aclose()

    with capture() as captured:
        asyncio.run(main())

    assert captured.outline() == "SPAN run\n  TOOL stepping -> 'done'"


def test_what_is_set_by_hand_is_kept():
    """Times, level, model, tokens, status, metadata: all as given."""
    start, end = datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, 0, 0, 2, tzinfo=UTC)

    with capture() as captured, fluxloop.instrument("run") as ctx:
        observation = ObservationData(type="generation", name="g", start_time=start, metadata={"a": 1})
        ctx.push_observation(observation)
        observation.end_time = end
        observation.level = "warning"
        observation.model = "gpt-4"
        observation.usage = Usage(input_tokens=3)
        observation.completion_tokens = 4
        observation.status = Status.CANCELLED
        observation.metadata["b"] = 2
        observation.name = "renamed"
        assert ctx.pop_observation() is observation

    written = captured.traces()[0].observations
    kept = next(o for o in written if o.name == "renamed")
    assert (kept.start_time, kept.end_time, kept.duration_ms) == (start, end, 2000)
    assert (kept.level.value, kept.model, kept.status) == ("warning", "gpt-4", Status.CANCELLED)
    assert (kept.usage.input_tokens, kept.usage.output_tokens) == (3, 4)
    assert kept.metadata == {"a": 1, "b": 2}
    assert observation.trace_id == kept.trace_id


@pytest.mark.parametrize("kind", list(ObservationType))
def test_every_type_can_be_pushed(kind):
    """All nine types are accepted, by name in any case too."""
    with capture() as captured, fluxloop.instrument("run") as ctx:
        ctx.push_observation(ObservationData(type=kind.name.title(), name="x"))
        ctx.pop_observation()

    assert captured.outline() == f"SPAN run\n  {kind.name} x"


def test_an_event_is_a_point_in_time_written_at_once():
    """start == end, on disk before it is popped, and popping it is harmless."""
    with capture() as captured, fluxloop.instrument("run") as ctx:
        event = ObservationData(type="event", name="milestone")
        ctx.push_observation(event)
        (written,) = captured.storage.read()
        fluxloop.event("next to it", input={"n": 1}, output=2, metadata={"k": 3}, level="warning")
        assert ctx.pop_observation() is event

    assert written["start_time"] == written["end_time"]
    assert captured.outline() == "SPAN run\n  EVENT milestone\n  EVENT next to it -> 2"
    last = captured.traces()[0].observations[2]
    assert (last.input, last.metadata, last.level.value, last.duration_ms) == ({"n": 1}, {"k": 3}, "warning", 0)


def test_popping_what_was_never_pushed_gives_none():
    """Nor does it touch what the decorators opened."""
    with capture() as captured, fluxloop.instrument("run") as ctx:
        assert ctx.pop_observation() is None

    assert captured.outline() == "SPAN run"


def test_forgetting_the_check_fails_as_python_does():
    """`get_current_context().push…` outside a trace is the user's AttributeError."""
    with pytest.raises(AttributeError):
        get_current_context().push_observation(ObservationData(type="tool", name="x"))


def test_observe_is_pattern_a_in_one_line():
    """Output and anything else can be set in the block; errors are recorded and pass."""

    @fluxloop.agent
    async def agent() -> None:
        with fluxloop.observe("search", "tool", input={"q": 1}, metadata={"m": 1}) as obs:
            obs.output = [1, 2]
        async with fluxloop.observe("later"):
            pass
        with pytest.raises(ValueError, match="x"), fluxloop.observe("fails", observation_type="tool"):
            raise ValueError("x")

    with capture() as captured:
        asyncio.run(agent())

    assert captured.outline(inputs=True) == (
        "AGENT agent({})\n  TOOL search({'q': 1}) -> [1, 2]\n  SPAN later\n  TOOL fails [error: x]"
    )


def test_observe_outside_a_trace_takes_everything_and_keeps_nothing():
    """The stand-in is harmless."""
    with capture() as captured, fluxloop.observe("x") as obs:
        obs.output = 1
        obs.metadata["k"] = 2
        assert obs.output is None

    assert list(captured.storage.read()) == []


def test_usage_is_counted_once_whatever_reports_it():
    """A model call reported by two layers counts once in the trace."""
    with capture() as captured, fluxloop.instrument("run"):
        with fluxloop.observe("outer", "generation") as outer:
            with fluxloop.observe("inner", "generation") as inner:
                inner.usage = Usage(input_tokens=10, output_tokens=5, total_tokens=15)
            outer.usage = Usage(input_tokens=10, output_tokens=5, total_tokens=15)
        with fluxloop.observe("second", "generation") as second:
            second.usage = Usage(input_tokens=1)

    usage = captured.traces()[0].usage
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (11, 5, 15)


@pytest.mark.parametrize("name", [3, None, b"x", ["a"]])
def test_an_event_with_any_name_is_recorded(name):
    """The name is its text; metadata that is not a dict is set aside."""
    with capture() as captured, fluxloop.instrument("run"), pytest.warns(fluxloop.errors.FluxLoopWarning) as warned:
        fluxloop.event(name, metadata=[1])

    event = captured.traces()[0].observations[1]
    assert (event.name, event.metadata) == (str(name), {"rejected": {"metadata": [1]}})
    assert [(Path(warning.filename).name, str(warning.message)[:9]) for warning in warned] == [
        (Path(__file__).name, "fluxloop:")
    ]


def test_a_pushed_object_of_another_type_warns_and_costs_nothing_else():
    with capture() as captured, fluxloop.instrument("run") as context:
        with pytest.warns(
            fluxloop.errors.FluxLoopWarning, match="takes an ObservationData, got {'name': 'x'}"
        ) as warned:
            context.push_observation({"name": "x"})
        with fluxloop.observe("child"):
            pass

    assert Path(warned[0].filename).name == Path(__file__).name
    assert captured.outline().splitlines() == ["SPAN run", "  SPAN child"]


def test_a_name_that_is_no_text_warns_at_the_users_line():
    with (
        capture(),
        fluxloop.instrument("run"),
        pytest.warns(fluxloop.errors.FluxLoopWarning) as warned,
        fluxloop.observe(None),
    ):
        pass

    assert Path(warned[0].filename).name == Path(__file__).name


def test_an_end_before_the_start_is_set_aside():
    """No observation has a negative duration."""
    with capture() as captured, fluxloop.instrument("run"):
        with pytest.warns(fluxloop.errors.FluxLoopWarning, match="before"), fluxloop.observe("early") as observation:
            observation.end_time = "2020-01-01T00:00:00+00:00"
        with fluxloop.observe("moved") as observation:
            observation.start_time, observation.end_time = "2020-01-01T00:00:00+00:00", "2020-01-01T00:00:02+00:00"

    early, moved = captured.traces()[0].observations[1:]
    assert early.duration_ms >= 0
    assert early.metadata == {"rejected": {"end_time": "2020-01-01T00:00:00+00:00"}}
    assert moved.duration_ms == 2000


@pytest.mark.parametrize("usage", [{"input": 3, "output": "4"}, {"input_tokens": "3", "output_tokens": 4, "total": 7}])
def test_counts_with_short_names_and_as_texts_are_read(usage):
    with capture() as captured, fluxloop.instrument("run"), fluxloop.observe("ask", "generation") as observation:
        observation.usage = usage

    read = captured.traces()[0].observations[1].usage
    assert (read.input_tokens, read.output_tokens, read.total_tokens) == (3, 4, 7)


def test_a_scope_that_was_not_entered_can_be_exited():
    scope = fluxloop.instrument("run")
    with capture() as captured:
        scope.__exit__(None, None, None)
        with scope:
            pass
        scope.__exit__(None, None, None)

    assert captured.outline() == "SPAN run"


def test_tags_that_are_no_list_are_refused():
    with pytest.raises(
        fluxloop.errors.DecorationError, match=r"tags of fluxloop\.instrument must be a list of texts, got 3"
    ):
        fluxloop.instrument("run", tags=3)
