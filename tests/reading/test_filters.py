"""
Filters: how times and durations are read, what a filter accepts, and `fluxloop.read_traces` with filters.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from reading_aids import observation, trace_line, written

import fluxloop
from fluxloop.errors import FilterError
from fluxloop.reading import read_traces
from fluxloop.reading.filters import TraceFilter
from fluxloop.reading.moments import duration_of, moment_of

NOW = datetime(2026, 11, 29, 5, 30, tzinfo=UTC)
EAST = timezone(timedelta(hours=9))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", NOW),
        ("2h", NOW - timedelta(hours=2)),
        ("1d12h", NOW - timedelta(days=1.5)),
        ("1w", NOW - timedelta(weeks=1)),
        ("today", datetime(2026, 11, 29, tzinfo=EAST)),
        ("Yesterday", datetime(2026, 11, 28, tzinfo=EAST)),
        ("2026-11-28", datetime(2026, 11, 28, tzinfo=EAST)),
        ("2026-11-28 14:30", datetime(2026, 11, 28, 14, 30, tzinfo=EAST)),
        ("2026-11-28T14:30:05.5", datetime(2026, 11, 28, 14, 30, 5, 500_000, tzinfo=EAST)),
        ("2026-11-28T14:30Z", datetime(2026, 11, 28, 14, 30, tzinfo=UTC)),
        ("2026-11-28T14:30+02:00", datetime(2026, 11, 28, 12, 30, tzinfo=UTC)),
    ],
)
def test_a_time_is_read_as_people_type_it(text, expected):
    """
    Spans before now, words, days and times of the zone asked for, and ISO 8601 with a zone of its own.
    """
    assert moment_of(text, zone=EAST, now=NOW) == expected


def test_a_day_counts_up_to_its_end():
    """
    "Until yesterday" includes yesterday; a time is exact.
    """
    assert moment_of("yesterday", zone=UTC, is_end=True, now=NOW) == datetime(2026, 11, 29, tzinfo=UTC)
    assert moment_of("2026-11-28T10:00", zone=UTC, is_end=True, now=NOW).hour == 10


@pytest.mark.parametrize("text", ["", "soon", "2h ago", "2026-02-30", "99999999999d", "25:00", "-2h"])
def test_what_is_no_time_is_refused(text):
    """
    The message is what would have been accepted.
    """
    with pytest.raises(ValueError, match="a span before now"):
        moment_of(text, now=NOW)


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("2s", 2), ("1m30s", 90), ("1.5h", 5_400), ("3", 3), (" 2 s ", 2)]
)
def test_a_duration_is_read(text, seconds):
    """
    Units of milliseconds to weeks; a bare number counts seconds.
    """
    assert duration_of(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "fast", "2 parsecs", "-1s", "nan", "9" * 400])
def test_what_is_no_duration_is_refused(text):
    """
    The message is what would have been accepted.
    """
    with pytest.raises(ValueError, match="a duration such as"):
        duration_of(text)


def test_a_filter_takes_python_values():
    """
    Times, spans, days, durations, numbers and lists of texts, beside their spellings as text.
    """
    wanted = TraceFilter.of(
        status=["error", "crashed"],
        name="a",
        since=NOW,
        until=date(2026, 11, 28),
        min_duration=timedelta(seconds=2),
        min_tokens=10,
        has_error=False,
        zone=UTC,
    )

    assert wanted == TraceFilter(
        status=("error", "crashed"),
        name=("a",),
        since=NOW,
        until=datetime(2026, 11, 29, tzinfo=UTC),
        min_duration=timedelta(seconds=2),
        min_tokens=10,
        has_error=False,
    )
    assert TraceFilter.of(since=timedelta(hours=1)).since is not None
    assert not TraceFilter.of(name=None, status=[])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"stauts": "error"}, "unknown filter 'stauts', did you mean 'status'?"),
        ({"status": "failed"}, "status must be one of success, error, cancelled"),
        ({"name": 5}, "name must be a text that is not empty, or a list of them, got '5'"),
        ({"since": 5}, "since must be a span before now"),
        ({"min_duration": None, "min_tokens": -1}, "min_tokens must be a whole number from 0 up, got '-1'"),
        ({"has_error": "yes"}, "has_error must be True or False"),
        ({"text": ["a"]}, "text must be a text that is not empty"),
    ],
)
def test_a_filter_that_is_not_accepted_is_named(values, message):
    """
    The message names the filter, the value and what is accepted; the error is a ValueError, too.
    """
    with pytest.raises(FilterError) as error:
        TraceFilter.of(**values)

    assert message in str(error.value)
    assert isinstance(error.value, ValueError)


def test_read_traces_takes_filters(tmp_path):
    """
    Keyword arguments, a filter, both, and a function: only the traces that match are built.
    """
    for number in range(4):
        status = "error" if number % 2 else "success"
        written(
            tmp_path,
            observation(f"o{number}", trace=f"t{number}", status=status, input=f"question {number}"),
            trace_line(f"t{number}", status=status, start_time=f"2026-01-17T14:3{number}:00.000000Z"),
        )

    def found(**options: object) -> list[str]:
        return [trace.trace_id for trace in read_traces(tmp_path, **options)]

    assert found(status="error") == ["t1", "t3"]
    assert found(text="QUESTION 2") == ["t2"]
    assert found(where=TraceFilter.of(status="error"), since="2026-01-17T14:32Z") == ["t3"]
    assert found(where=lambda trace: trace.trace_id > "t1") == ["t2", "t3"]
    assert found(status="error", trace_id="t3") == ["t3"]
    assert found(status="cancelled") == []
    with pytest.raises(FilterError, match="did you mean 'session'"):
        found(sesion="s1")


def test_records_in_memory_are_read_without_a_path():
    """
    `read_traces` without a path reads what this program is configured to write, with the same filters.
    """
    fluxloop.configure(storage="memory")

    @fluxloop.agent
    def half(number: int) -> int:
        if number % 2:
            raise ValueError("odd")
        return number // 2

    half(4)
    with pytest.raises(ValueError, match="odd"):
        half(3)

    assert [trace.output for trace in fluxloop.read_traces()] == [2, None]
    assert [trace.error for trace in fluxloop.read_traces(status="error")] == ["odd"]
    assert [trace.output for trace in fluxloop.read_traces(text="4")] == [2]


def test_files_are_read_without_a_path(tmp_path):
    """
    With a folder configured, that folder is read.
    """
    fluxloop.configure(base_path=tmp_path / "records")
    fluxloop.agent(len)("hello")

    assert [trace.output for trace in fluxloop.read_traces()] == [5]


def test_a_trace_that_was_read_has_its_cost(tmp_path):
    """
    Each model call counts once, whatever repeats its usage; what has no price is named.
    """
    (tmp_path / "pyproject.toml").write_text("[tool.fluxloop.prices]\nmine = { input = 2, output = 0 }\n")
    usage = {"input_tokens": 1_000_000, "output_tokens": 0}
    written(
        tmp_path / "traces",
        observation("m", "w", type="GENERATION", model="mine", usage=usage),
        observation("w", "r", type="GENERATION", model="mine", usage=usage),
        observation("u", "r", type="GENERATION", model="unheard-of", usage=usage),
        observation("n", "r", type="GENERATION", model="mine"),
        observation("r"),
        trace_line(),
    )
    (trace,) = read_traces(tmp_path / "traces")

    assert trace.cost is not None
    assert (trace.cost.dollars, trace.cost.calls, trace.cost.unknown) == (2.0, 1, ("unheard-of", "mine"))
