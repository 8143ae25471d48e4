"""
The ledger: observations that are started and finished by the ids of a framework.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

import fluxloop
from fluxloop import ObservationType, Status
from fluxloop.bridge import Ledger, OpenObservation, ToolMatcher, default
from fluxloop.testing import Captured, capture

CHAIN, TOOL = ObservationType.CHAIN, ObservationType.TOOL


@pytest.fixture
def captured() -> Iterator[Captured]:
    with capture() as recorded:
        yield recorded


@fluxloop.trace
def helper(value):
    return value


def test_runs_nest_by_the_ids_of_their_parents(captured):
    """
    The first opens a trace of its name; parents are named by id or by entry.
    """
    ledger = Ledger(default)
    ledger.start("a", CHAIN, "outer", input=1, trace={"session_id": "s", "tags": ["t"]})
    inner = ledger.start("b", TOOL, "inner", parent="a")
    inner.metadata = {"x": 1}
    inner.set_fields(model="m")
    ledger.start("c", TOOL, "innermost", parent=ledger.entries["b"])
    for key in "cba":
        ledger.finish(key, output=key)
    (trace,) = captured.traces()

    assert captured.outline() == "CHAIN outer -> 'a'\n  TOOL inner -> 'b'\n    TOOL innermost -> 'c'"
    assert (trace.name, trace.session_id, trace.tags) == ("outer", "s", ["t"])
    assert (trace.observations[1].metadata, trace.observations[1].model) == ({"x": 1}, "m")
    assert len(ledger) == 0


def test_a_run_that_is_open_already_is_not_begun_again(captured):
    """
    A second start or finish changes nothing, and returns no observation.
    """
    ledger = Ledger(default)
    first = ledger.start("a", CHAIN, "one")
    second = ledger.start("a", CHAIN, "two")
    ledger.finish("a")
    ledger.finish("a")

    assert isinstance(first, OpenObservation)
    assert second is None
    assert captured.outline() == "CHAIN one"


def test_what_is_folded_is_not_recorded_and_what_is_below_moves_up(captured):
    """
    The observations of a folded run belong to the nearest recorded parent, also if it is the first run.
    """
    ledger = Ledger(default)
    ledger.start_folded("hidden")
    ledger.start("a", CHAIN, "a", parent="hidden")
    ledger.start_folded("b", parent="a")
    ledger.start("c", CHAIN, "c", parent="b")
    inside = ledger.get("b") is ledger.get("a")
    for key in ("c", "b", "a", "hidden"):
        ledger.finish(key)

    assert inside
    assert captured.outline() == "CHAIN a\n  CHAIN c"


def test_what_is_left_open_ends_with_what_is_above(captured):
    """
    Abandoned where that ended well, cancelled where it failed, and like it otherwise.
    """
    ledger = Ledger(default)
    for ending in ({}, {"error": ValueError("no")}, {"status": Status.INTERRUPTED}, {"error": GeneratorExit()}):
        ledger.start("a", CHAIN, "above")
        ledger.start("b", CHAIN, "below", parent="a")
        ledger.finish("a", **ending)

    assert captured.outline() == (
        "CHAIN above\n  CHAIN below [abandoned]\n"
        "CHAIN above [error: no]\n  CHAIN below [cancelled]\n"
        "CHAIN above [interrupted]\n  CHAIN below [interrupted]\n"
        "CHAIN above [abandoned]\n  CHAIN below [abandoned]"
    )
    assert len(ledger) == 0


def test_a_run_that_begins_while_another_thread_ends_what_is_above_it(captured):
    """
    It is not lost between the two: its own end ends it.
    """
    ledger = Ledger(default)
    ledger.start("above", CHAIN, "above")

    def read(given):
        return given if given == 1 else ledger.finish("above")

    ledger.start("run", TOOL, "run", parent="above", input=object(), read=read)
    ledger.finish("run", output=1)

    assert captured.outline() == "CHAIN above\n  TOOL run -> 1"
    assert len(ledger) == 0


def test_what_is_ended_from_outside_may_go_on(captured):
    """
    A run that ends with its parent, or is cancelled, is passed to `on_forced_end` of an adapter while it is open.
    """

    class Forced(Ledger):
        def on_forced_end(self, entry):
            forced.append((entry.key, entry.key in self))

    forced: list[object] = []
    ledger = Forced(default)
    for key, above in ("a", None), ("b", "a"), ("c", "b"), ("d", "a"):
        ledger.start(key, CHAIN, key, parent=above)
    ledger.finish("d")
    ledger.finish("a", error=KeyboardInterrupt())

    assert forced == [("a", True), ("b", True), ("c", True)]


def test_close_all_ends_everything_innermost_first(captured):
    """
    When a framework is torn down, nothing stays open.
    """
    ledger = Ledger(default)
    ledger.start("a", CHAIN, "above")
    ledger.start("b", CHAIN, "below", parent="a")
    ledger.close_all()

    assert captured.outline() == "CHAIN above [abandoned]\n  CHAIN below [abandoned]"


def test_a_run_is_inside_what_user_code_in_its_parent_made_current(captured):
    """
    The framework knows its own runs only; a decorated function between two of them is between their observations.
    """
    ledger = Ledger(default)
    ledger.start("a", CHAIN, "step")

    @fluxloop.trace
    def between():
        ledger.start("b", CHAIN, "inner", parent="a")
        ledger.finish("b")

    with fluxloop.bridge.current_is(ledger.get("a")):
        between()
    ledger.finish("a")

    assert captured.outline() == "CHAIN step\n  SPAN between\n    CHAIN inner"


def test_a_run_beside_what_is_current_keeps_its_own_parent(captured):
    """
    What is current elsewhere, as in the thread an event happens to come from, is not where a run belongs.
    """
    ledger = Ledger(default)
    ledger.start("a", CHAIN, "first")
    ledger.start("x", CHAIN, "second")
    with fluxloop.bridge.current_is(ledger.get("x")):
        ledger.start("b", CHAIN, "inner", parent="a")
        ledger.finish("b")
    ledger.finish("a")
    ledger.finish("x")

    assert captured.outline() == "CHAIN first\n  CHAIN inner\nCHAIN second"


def test_a_run_can_turn_out_to_be_something_else(captured):
    """
    Its type and name may be known only when it is under way, its input only at its end.
    """
    ledger = Ledger(default)
    ledger.start("a", CHAIN, "graph")
    ledger.rename("a", ObservationType.AGENT, "assistant")
    ledger.finish("a", input="late", output=1)

    assert captured.outline(inputs=True) == "AGENT assistant('late') -> 1"


def test_a_run_that_has_begun_can_be_folded(captured):
    """
    An observation that turns out to be noise is discarded, and its children move to its parent.
    """
    ledger = Ledger(default)
    ledger.start("a", CHAIN, "above")
    ledger.start("b", CHAIN, "noise", parent="a")
    ledger.fold(ledger.entries["b"])
    ledger.start("c", CHAIN, "below", parent="b")
    for key in "cba":
        ledger.finish(key)

    assert captured.outline() == "CHAIN above\n  CHAIN below"


def test_a_run_that_began_earlier_says_so(captured):
    """
    What was folded and is recorded after all has its own beginning and duration.
    """
    ledger = Ledger(default)
    ledger.start("a", CHAIN, "above")
    began = fluxloop.bridge.default.recorder.tick()
    ledger.start("c", CHAIN, "meanwhile", parent="a")
    ledger.finish("c")
    ledger.start("b", CHAIN, "late", parent="a").backdate(began)
    ledger.finish("b")
    ledger.finish("a")
    _, meanwhile, late = captured.traces()[0].observations

    assert late.start_time < meanwhile.start_time
    assert late.end_time > meanwhile.end_time
    assert late.duration_ms == (late.end_time - late.start_time).total_seconds() * 1000


def test_a_stream_is_forced_item_by_item(captured):
    """
    The items are the output, with their offsets; those of a model give the time to the first token.
    """
    ledger = Ledger(default)
    ledger.start("a", ObservationType.GENERATION, "model")
    for item in ("Ti", "gers"):
        ledger.on_item("a", item)
    ledger.finish("a")
    (generation,) = captured.traces()[0].observations

    assert generation.output == "Tigers"
    assert generation.time_to_first_token_ms == generation.metadata["stream"]["offsets_ms"][0]


def test_an_event_belongs_to_the_run_it_is_forced_of(captured):
    """
    A point in time, with what it is about; outside a recorded run nothing happens.
    """
    ledger = Ledger(default)
    ledger.event("too early")
    ledger.start("a", CHAIN, "run")
    ledger.event("halfway", parent="a", input=50, metadata={"unit": "percent"})
    ledger.finish("a")
    event = captured.traces()[0].observations[1]

    assert captured.outline(inputs=True) == "CHAIN run\n  EVENT halfway(50)"
    assert event.metadata == {"unit": "percent"}


def test_a_tool_decorated_function_can_be_the_very_run(captured):
    """
    One call, one observation, with the function's name, arguments and value.
    """
    ledger = Ledger(default)

    @fluxloop.tool(name="mine")
    def add(a, b):
        return a + b

    ledger.start("a", TOOL, "add", input="1, 2").tool_matcher = ToolMatcher(lambda: {"add"})
    with fluxloop.bridge.current_is(ledger.get("a")):
        add(1, 2)
    ledger.finish("a", output="3")

    assert captured.outline(inputs=True) == "TOOL mine({'a': 1, 'b': 2}) -> 3"


def test_a_run_inside_a_trace_names_its_session_if_nobody_has(captured):
    """
    What a framework calls the conversation is the session, unless the program said which it is.
    """
    ledger = Ledger(default)
    for given in (None, "mine"):
        with fluxloop.instrument("scope", session_id=given):
            ledger.start("a", CHAIN, "run", trace={"session_id": "theirs"})
            ledger.finish("a")

    assert [trace.session_id for trace in captured.traces()] == ["theirs", "mine"]


def test_nothing_is_recorded_where_tracing_is_off():
    """
    No trace, no observation, no record; and nothing stays behind.
    """
    with capture(enabled=False) as captured:
        ledger = Ledger(default)
        assert ledger.start("a", CHAIN, "a") is None
        assert ledger.start("b", CHAIN, "b", parent="a") is None
        ledger.finish("b")
        ledger.finish("a")

    assert captured.traces() == []
    assert len(ledger) == 0


def test_a_trace_left_out_by_sampling_is_left_out_whole():
    """
    Its runs record nothing, nor does user code inside them open a trace of its own.
    """
    with capture(sample_rate=0) as captured:
        ledger = Ledger(default)
        ledger.start("a", CHAIN, "a")
        ledger.start("b", CHAIN, "b", parent="a")
        with fluxloop.bridge.current_is(ledger.get("a")):
            fluxloop.agent(helper)(1)
        ledger.finish("b")
        ledger.finish("a")

    assert captured.traces() == []


def test_events_may_come_from_many_threads(captured):
    """
    Two thousand runs begun and ended at once, each under its own parent.
    """
    ledger = Ledger(default)

    def run(number):
        ledger.start(("root", number), CHAIN, f"{number}")
        ledger.start(("child", number), CHAIN, f"{number}", parent=("root", number))
        ledger.finish(("child", number))
        ledger.finish(("root", number))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(run, range(1_000)))

    assert len(ledger) == 0
    assert all(len({o.name for o in trace.observations}) == 1 for trace in captured.traces())
    assert sum(len(trace.observations) for trace in captured.traces()) == 2_000
