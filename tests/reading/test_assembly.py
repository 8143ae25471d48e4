"""
`Assembly` and `traces_of`: records become a trace, whatever is missing or unknown.
"""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from reading_aids import drawn, head, observation, trace_line

from fluxloop.enums import ObservationLevel, ObservationType, Status
from fluxloop.reading import Assembly, traces_of

FIELDS = [
    *(
        "parent_id",
        "parent_observation_id",
        "type",
        "name",
        "seq",
        "start_time",
        "end_time",
        "duration_ms",
        "status",
        "level",
    ),
    *("input", "output", "error", "metadata", "model", "usage", "prompt_tokens", "model_parameters", "llm_parameters"),
    *("time_to_first_token_ms", "finish_reasons", "redacted", "truncated", "status_message", "provider"),
    *("session_id", "user_id", "tags", "schema", "observations", "total_tokens"),
]
odd_values = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.lists(st.integers(), max_size=2)
)
odd_values |= st.dictionaries(st.text(max_size=4), st.integers(), max_size=2)
odd_fields = st.dictionaries(st.sampled_from(FIELDS), odd_values)


def test_records_in_memory_become_traces_in_order_of_appearance():
    """
    ``traces_of`` groups the records of several traces, in any order, and leaves out other JSON.
    """
    records = [
        observation("b", "a"),
        observation("x", trace="t2"),
        {"other": 1},
        trace_line(name="First"),
        observation("a"),
    ]

    assert [drawn(trace) for trace in traces_of(records)] == [
        ["First [success]", "TOOL a [success]", "  TOOL b [success]"],
        ["x [success]", "TOOL x [success]"],
    ]


@pytest.mark.parametrize(
    ("field", "recorded", "stand_in"),
    [
        ("type", "GUARDRAIL", ObservationType.SPAN),
        ("status", "postponed", Status.SUCCESS),
        ("level", "shout", ObservationLevel.INFO),
        ("metadata", ["a"], None),
        ("usage", {"input_tokens": "many"}, None),
        ("duration_ms", "long", 333.0),
        ("seq", "first", None),
    ],
)
def test_an_unknown_value_gets_a_default_and_stays_readable(field, recorded, stand_in):
    """
    An unknown word or a wrong type is replaced by a default and kept in the metadata.
    """
    (trace,) = traces_of([observation("a", **{field: recorded})])
    (found,) = trace.observations

    assert found.metadata["as_recorded"] == {field: recorded}
    if stand_in is not None:
        assert getattr(found, field) == stand_in


@given(odd_fields, odd_fields)
@example({"error": [-(2**63) - 1]}, {})
def test_a_record_with_any_values_is_read(of_observation, of_trace):
    """
    Whatever values the fields have, the observation is read, with aware times.
    """
    of_trace = {field: value for field, value in of_trace.items() if field not in ("type", "parent_id")}
    (trace,) = traces_of([{**observation("a"), **of_observation}, {**trace_line(), **of_trace}])
    (found,) = trace.observations

    assert found.id == "a"
    assert found.start_time.utcoffset() is not None
    assert found.status is not None
    assert [depth for depth, _ in trace.walk()] == [0]


def test_times_without_a_zone_are_utc_and_others_are_converted():
    """
    All times of a trace can be compared, whichever program wrote them.
    """
    naive = observation(
        "a", start_time="2026-01-17T12:00:00", end_time="2026-01-17T14:00:00.500000+02:00", duration_ms=None
    )
    (trace,) = traces_of([naive])
    (found,) = trace.observations

    assert str(found.start_time) == "2026-01-17 12:00:00+00:00"
    assert (str(found.end_time), found.duration_ms) == ("2026-01-17 12:00:00.500000+00:00", 500.0)


@pytest.mark.parametrize(
    ("times", "start"),
    [
        ({"start_time": None}, "2026-01-17 14:30:22.123456+00:00"),
        ({"start_time": None, "end_time": None}, "1970-01-01 00:00:00+00:00"),
        ({"start_time": "soon", "duration_ms": math.inf}, "1970-01-01 00:00:00+00:00"),
    ],
)
def test_a_missing_start_is_derived_where_possible(times, start):
    """
    The start is the end minus the duration, or the epoch; never the time of reading.
    """
    (trace,) = traces_of([observation("a", **times)])

    assert str(trace.observations[0].start_time) == start


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"status": None}, Status.SUCCESS),
        ({"status": None, "error": "no"}, Status.ERROR),
        ({"status": None, "level": "error"}, Status.ERROR),
        ({"status": None, "end_time": None, "duration_ms": None}, Status.ABANDONED),
        ({"status": "Cancelled"}, Status.CANCELLED),
    ],
)
def test_a_missing_status_is_derived(fields, status):
    """
    An error means error, an end without one means success, neither means abandoned.
    """
    (trace,) = traces_of([observation("a", **fields)])

    assert (trace.observations[0].status, trace.status) == (status, status)


def test_an_error_that_is_not_text_becomes_text():
    """
    An ``error`` that is an object is encoded as JSON, and the status is error.
    """
    (trace,) = traces_of([observation("a", error={"code": 5}, status=None)])

    assert (trace.observations[0].error, trace.status) == ('{"code":5}', Status.ERROR)


def test_open_observations_can_change_between_polls():
    """
    Records are added as they are written, and the open observations are replaced at each poll.
    """
    assembly = Assembly("t1")
    assembly.set_open([(True, head("root"))])
    running = drawn(assembly.trace())
    assembly.add(observation("root", output="x"))
    assembly.set_open([])
    finished = drawn(assembly.trace())
    assembly.add(trace_line(name="Agent"))

    assert (running, finished) == (
        ["Agent [running]", "TOOL root [running]"],
        ["Agent [success]", "TOOL root [success]"],
    )
    assert (assembly.ended, assembly.name, bool(Assembly("none"))) == (True, "Agent", False)
