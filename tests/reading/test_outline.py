"""
The outline of a trace agrees with its observations, and builds none of them.
"""

from __future__ import annotations

import tracemalloc
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from reading_aids import head, line, observation, trace_line, written

from fluxloop.enums import ObservationLevel, ObservationType, Status
from fluxloop.models import ObservationData, Trace
from fluxloop.reading import Assembly, read_traces
from fluxloop.reading.outline import FAILED, FAILURES, TRIPPED, UNKNOWN, WARNED, Outline

NOW = datetime(2026, 1, 17, 14, 31, tzinfo=UTC)

records = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.sampled_from("abcdef"),
            "parent_id": st.none() | st.sampled_from("abcdefx"),
            "type": st.sampled_from(["TOOL", "AGENT", "llm", "unheard-of", 7]),
            "name": st.text(st.characters(codec="utf-8"), max_size=3) | st.just(5),
            "status": st.sampled_from([*map(str, Status), "failed", "odd", None]),
            "level": st.sampled_from(["INFO", "WARNING", "ERROR", "warn", None]),
            "start_time": st.sampled_from(["2026-01-17T14:30:22.123456Z", "2026-99-17T14:30:22.123456Z", "now"]),
            "duration_ms": st.none() | st.floats() | st.just("long"),
            "output": st.sampled_from([None, {"triggered": True}, "x"]),
        }
    ),
    max_size=8,
)


@given(records)
def test_an_outline_has_what_the_observations_have(several):
    """
    For any records, the order, depth, type, name, status and times are those of `Trace.walk`.
    """
    assembly = Assembly("t1")
    for number, record in enumerate(several):
        record = {"trace_id": "t1", "seq": number, **record}
        assembly.add_line(line(record)[:-1], record)
    trace = assembly.trace()
    outline = Outline(trace)
    walked = list(trace.walk())

    assert [*outline.depths] == [depth for depth, _ in walked]
    assert [*outline.kinds] == [(o.type, o.name) for _, o in walked]
    assert outline.statuses == [o.status for _, o in walked]
    for position, (depth, o) in enumerate(walked):
        after = [deeper for deeper, _ in walked[position + 1 :]]
        size = next((n for n, deeper in enumerate(after, 1) if deeper <= depth), len(after) + 1)
        subtree = [inner for _, inner in walked[position : position + size]]
        is_failed = [inner.status in FAILURES or inner.level is ObservationLevel.ERROR for inner in subtree]
        assert outline.sizes[position] == size
        assert outline.failures[position] == sum(is_failed)
        assert bool(outline.flags[position] & FAILED) == is_failed[0]
        assert bool(outline.flags[position] & WARNED) == (o.level is ObservationLevel.WARNING)
        assert outline.observation(position) == o


def test_a_running_observation_ends_now():
    """
    The end of an open observation is the time given, or unknown.
    """
    assembly = Assembly("t1")
    assembly.set_open([(True, head("root"))])
    outline = Outline(assembly.trace(), NOW)

    assert (outline.ends[0] - outline.starts[0]) / 1e6 == 37.876544
    assert Outline(assembly.trace()).ends[0] == UNKNOWN


def test_a_tripped_guardrail_is_noted():
    """
    An EVALUATION whose output says that it was triggered is a tripped guardrail; a TOOL is not.
    """
    several = [
        ObservationData(type=kind, name="g", output={"triggered": True})
        for kind in (ObservationType.EVALUATION, ObservationType.TOOL)
    ]

    assert [*Outline(Trace(trace_id="t", observations=several)).flags] == [TRIPPED, 0]


def test_the_outline_of_a_large_trace_is_small(tmp_path):
    """
    Observations stay lines, and the outline takes about a hundred bytes for each.
    """
    count = 5_000
    several = [observation(f"o{n}", None if n == 0 else "o0", seq=n, output="x" * 50) for n in range(count)]
    (trace,) = read_traces(written(tmp_path, *several, trace_line()))
    trace.children(trace.roots[0])[:0]  # the index of parents belongs to the trace
    Outline(trace)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    outline = Outline(trace)
    size = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()

    assert len(outline) == count
    assert size < 150 * count
