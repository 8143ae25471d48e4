"""
The row of one trace in the index: what a list shows, what filters look at, and what a price is computed from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from ...enums import Status
from ...llm.prices import Cost
from ...storage.decoding import Json
from .facts import ERROR, RUNNING, STATUSES, Fact, TraceFacts, code_of, counted_calls, facts_of
from .kept import MOST_TOKENS, words_of
from .labels import Labels

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class TraceRow:
    """One trace, as the index has it."""

    day: str
    """Of the files it is in, ``YYYYMMDD``; ``""`` for undated files."""
    trace_id: str
    name: str
    session_id: str | None
    user_id: str | None
    status: str | None
    """None while the trace is running."""
    start_us: int | None
    """Microseconds since 1970."""
    duration_ms: float | None
    observations: int
    errors: int
    """Observations with the status ``error``."""
    warnings: int
    """Observations with the level WARNING, or ERROR without the status."""
    input_tokens: int | None
    output_tokens: int | None
    tokens: int | None
    """All tokens."""
    input: str | None
    """The first words of it; of output and error, too."""
    output: str | None
    error: str | None
    tags: list[str]
    models: list[str]
    failed_tools: list[str]
    cost: Cost | None = None
    """None where it was not asked for."""

    @property
    def start(self) -> datetime | None:
        """When the trace began, in UTC."""
        return None if self.start_us is None else _EPOCH + timedelta(microseconds=self.start_us)

    @property
    def caught_errors(self) -> int:
        """The number of failed observations in a trace that did not fail itself."""
        return 0 if self.status == Status.ERROR else self.errors


COLUMNS = tuple(TraceRow.__dataclass_fields__)[:-1]
COST_COLUMNS = ("dollars", "calls", "unknown")
LISTS = ("tags", "models", "failed_tools")


def from_columns(columns: tuple[Any, ...]) -> TraceRow:
    """Return the row of *columns*, as they are in the index, with those of `COST_COLUMNS` behind them or without."""
    row = dict(zip(COLUMNS, columns, strict=False))
    row |= {name: words_of(row[name]) for name in ("input", "output")}
    row |= {name: orjson.loads(row[name]) for name in LISTS}
    dollars, calls, unknown = columns[len(COLUMNS) :] or (None, None, None)
    cost = None if calls is None else Cost(dollars, calls, tuple(orjson.loads(unknown)))
    return TraceRow(**row, cost=cost)


def to_columns(
    day: str, trace_id: str, facts: TraceFacts, labels: Labels, open_facts: Mapping[str, Fact], begun: Json
) -> tuple[Any, ...]:
    """
    Return the columns of a trace.

    Args:
        day: Of its files.
        trace_id: Its id.
        facts: Settled facts.
        labels: The labels by their numbers.
        open_facts: The observations that journals list as open and that have not ended, by id.
        begun: The beginning of the trace's line, from a journal.
    """
    codes = [row[2] for row in facts.rows]
    if open_facts:
        codes += [code_of(label, status, is_warning=False) for _, label, status, *_ in open_facts.values()]
    head = _completed({**begun, **facts.head}, facts.root) if facts.root or begun else facts.head
    get = head.get
    totals = labels.totals(codes)
    start_us, duration_ms = _times(head, facts.start)
    return (
        day,
        trace_id,
        get("name", ""),
        get("session_id"),
        get("user_id"),
        facts.head.get("status") or _status(facts, open_facts, head),
        start_us,
        duration_ms,
        len(codes),
        totals.errors,
        totals.warnings,
        *_tokens(facts, head, labels),
        get("input"),
        get("output"),
        get("error"),
        orjson.dumps(tags).decode() if (tags := get("tags")) else "[]",
        totals.models,
        totals.failed_tools,
    )


def _completed(head: Json, root: Json) -> Json:
    """Return *head* with what it lacks and the root has, as `fluxloop.reading.assembly.Assembly` completes a trace."""
    fields: Json = {name: root[name] for name in ("name", "error", "input", "output") if name in root}
    if "end_time" not in head:
        fields |= {name: root[name] for name in ("end_time", "duration_ms") if name in root}
    return {**fields, **head}


def _status(facts: TraceFacts, open_facts: Mapping[str, Fact], head: Json) -> str | None:
    """Return the status of a trace whose line has none, by the rules of `fluxloop.reading.assembly.Assembly`."""
    everything = {**open_facts, **facts_of(facts.rows)}
    statuses = [(parent, status) for parent, _, status, *_ in everything.values()]
    root = next((status for parent, status in statuses if parent is None), None)
    if facts.has_line:
        if any(status == ERROR for parent, status in statuses if parent not in everything):
            return str(Status.ERROR)
        if root is not None and root != RUNNING:
            return STATUSES[root]
        return str(Status.ERROR if head.get("error") else Status.SUCCESS if head.get("end_time") else Status.ABANDONED)
    if any(status == RUNNING for _, status in statuses):
        return None
    return STATUSES[root] if root is not None else str(Status.CRASHED)


def _times(head: Json, earliest: str) -> tuple[int | None, float | None]:
    """Return the start in microseconds since 1970, and the duration in milliseconds."""
    start = us_of(head.get("start_time") or earliest)
    duration = head.get("duration_ms")
    if not isinstance(duration, int | float) or duration != duration:
        end = us_of(head.get("end_time"))
        duration = (end - start) / 1000 if start is not None and end is not None else None
    return start, duration


def us_of(text: object) -> int | None:
    """Return a time in UTC, as text of our format, as microseconds since 1970."""
    try:
        since = datetime.fromisoformat(text) - _EPOCH  # type: ignore[arg-type]  # others raise
    except (TypeError, ValueError):
        return None
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _tokens(facts: TraceFacts, head: Json, labels: Labels) -> tuple[int | None, int | None, int | None]:
    """Return input, output and all tokens: those of the line, or else the sum over the model calls."""
    counts = head.get("usage")
    if counts is None and any(row[4] for row in facts.rows):
        for _, of_call in counted_calls(facts_of(facts.rows), labels.__getitem__):
            if of_call is not None:
                counts = of_call if counts is None else _sum(counts, of_call)
    if counts is None:
        return None, None, None
    for count in counts:
        if count is not None and count > MOST_TOKENS:
            return None, None, None
    given_input, given_output, total = counts[:3]
    if total is None and (given_input is not None or given_output is not None):
        total = (given_input or 0) + (given_output or 0)
    return given_input, given_output, total


def _sum(one: tuple[int | None, ...], other: tuple[int | None, ...]) -> tuple[int | None, ...]:
    return tuple(b if a is None else a if b is None else a + b for a, b in zip(one, other, strict=True))
