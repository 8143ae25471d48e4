"""
Write batches into ClickHouse: the records, then the rows of their traces, computed from all records that are there.

A record has a version that grows with each new line of it. The row of a trace has the sum of the versions from which it
was computed as its own. So a row that was computed from more replaces one that was computed from less, whichever
collector is faster, and whatever their clocks say.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from hashlib import blake2b
from typing import Any, NamedTuple, Protocol

import orjson

from ..record_rows import Observation, Row, Score, TraceLine, is_provisional
from .clickhouse_queries import Values, in_parts
from .contract import Written
from .durations import bucket_of
from .postgres_schema import day_of
from .rows import MAX_FACETS, TraceState, facets_of

ENDED = 1 << 63
"""The bit of a version by which an end replaces a start, or what the journal of a dead process says, in any order."""

_MANY = 100
"""From so many records on, those of new traces are not looked up one by one."""

Query = Callable[[str, Values], list[tuple[Any, ...]]]


class Insert(Protocol):
    """Inserts rows into a table; they are durable when it returns."""

    def __call__(self, table: str, columns: dict[str, str], rows: Sequence[Sequence[Any]]) -> None: ...


class Known(NamedTuple):
    """What the store has of a record."""

    hash: int
    version: int
    is_open: bool
    day: date


def _columns(text: str) -> dict[str, str]:
    """Return the types of columns by name, in their order."""
    return dict(column.split(" ", 1) for column in text.split(", "))


_COMMON = _columns("day Date, received DateTime, hash UInt64, version UInt64, deleted UInt8")

OBSERVATION = _columns(
    "trace_id String, id String, parent_id Nullable(String), type LowCardinality(String), name LowCardinality(String), "
    "status LowCardinality(Nullable(String)), level LowCardinality(String), start_us Int64, "
    "duration_ms Nullable(Float64), model LowCardinality(Nullable(String)), input_tokens Int64, output_tokens Int64, "
    "tokens Int64, cost Nullable(Float64), line String, bucket Int32, session_id Nullable(String), "
    "user_id Nullable(String), input Nullable(String), output Nullable(String), error Nullable(String)"
)
OBSERVATION |= _COMMON
"""The columns of the table, in the order of `Observation`, then those of roots and those that all records have."""

LINE = _columns(
    "trace_id String, name String, session_id Nullable(String), user_id Nullable(String), "
    "status LowCardinality(String), start_us Int64, duration_ms Nullable(Float64), error Nullable(String), "
    "input Nullable(String), output Nullable(String), tags Array(String), metadata Array(String), "
    "counts Array(Int64), line String"
)
LINE |= _COMMON
"""The same for a `TraceLine`, whose counts may be missing."""

SCORE = _columns("trace_id String, id String, name String, time_us Int64, line String") | _COMMON

TRACE = _columns(
    "trace_id String, name LowCardinality(String), session_id Nullable(String), user_id Nullable(String), "
    "status LowCardinality(Nullable(String)), start_us Int64, duration_ms Nullable(Float64), observations Int64, "
    "errors Int64, warnings Int64, input_tokens Nullable(Int64), output_tokens Nullable(Int64), "
    "tokens Nullable(Int64), cost Nullable(Float64), input Nullable(String), output Nullable(String), "
    "error Nullable(String), tags String, models String, failed_tools String, facets Array(String), number Int64, "
    "day Date, received DateTime, version UInt128"
)
"""The columns `COLUMNS` of a trace without its state, then those of the table."""

_ROOT = ("name", "status", "duration_ms", "session_id", "user_id", "input", "output", "error")

_SUMMARY = f"""
SELECT trace_id, sum(toUInt128(version)), count(), countIf(status = 'error'),
       countIf(level = 'WARNING' OR (level = 'ERROR' AND ifNull(status, '') != 'error')),
       sumIf(input_tokens, type IN ('GENERATION', 'EMBEDDING')),
       sumIf(output_tokens, type IN ('GENERATION', 'EMBEDDING')), sumIf(tokens, type IN ('GENERATION', 'EMBEDDING')),
       sum(cost), minIf(start_us, start_us != 0),
       arraySlice(arraySort(groupUniqArrayIf(assumeNotNull(toString(model)), ifNull(model, '') != '')), 1, 100),
       arraySlice(arraySort(groupUniqArrayIf(toString(name), type = 'TOOL' AND status = 'error')), 1, 100),
       groupUniqArray({MAX_FACETS})((toString(type), toString(name), toString(ifNull(model, '')))),
       countIf(isNull(parent_id)), argMinIf(({", ".join(_ROOT)}), (start_us, id), isNull(parent_id))
FROM observations FINAL WHERE trace_id IN %s GROUP BY trace_id
"""


class ClickHouseWriting:
    """
    Writes batches.

    Args:
        query: Returns the rows that a query finds.
        insert: Inserts rows.
    """

    def __init__(self, query: Query, insert: Insert) -> None:
        self._query, self._insert = query, insert

    def write(self, rows: Sequence[Row]) -> Written:
        """Keep *rows*; they are durable when this returns."""
        accepted = 0
        for kind, table, columns, values_of in _KINDS:
            if some := [row for row in rows if type(row) is kind]:
                accepted += self._keep(table, columns, some, values_of)
        # Also for records that were there already: what computes their rows may have ended before it was done.
        self.summarize({row.trace_id for row in rows if type(row) is not Score})
        return Written(accepted, len(rows) - accepted)

    def _keep(
        self, table: str, columns: dict[str, str], rows: Sequence[Any], values_of: Callable[[Any], tuple[Any, ...]]
    ) -> int:
        """Insert those of *rows* that are new, and return their number."""
        now, received = time.time_ns(), datetime.now(UTC)
        stored = self._stored(table, rows)
        known, newest = dict(stored), dict[tuple[str, str], Any]()
        accepted = 0
        for row in rows:
            key = _key(row)
            line_hash = _hash(row.line)
            may_be_late = not isinstance(row, Score) and is_provisional(row)
            old = known.get(key)
            if old is not None and (old.hash == line_hash or (may_be_late and not old.is_open)):
                continue
            accepted += 1
            version = max(now + accepted, 0 if old is None else (old.version & ~ENDED) + 2)
            version |= 0 if may_be_late else ENDED
            known[key] = Known(line_hash, version, may_be_late and row.status is None, _day(row, received))
            newest[key] = row
        inserted = list[tuple[Any, ...]]()
        for key, row in newest.items():
            record = known[key]
            values = (*values_of(row), record.day, received, record.hash, record.version)
            inserted.append((*values, 0))
            if (old := stored.get(key)) is not None and old.day != record.day:
                # The older version is in another partition, in which nothing would replace it.
                *columns_before, _, _, line_hash, version = values
                inserted.append((*columns_before, old.day, received, line_hash, version - 1, 1))
        if inserted:
            self._insert(table, columns, inserted)
        return accepted

    def _stored(self, table: str, rows: Sequence[Any]) -> dict[tuple[str, str], Known]:
        """Return what the store has of *rows*."""
        has_id = table != "trace_lines"
        found: dict[tuple[str, str], Known] = {}
        if len(rows) >= _MANY:
            known = self._known_traces(table, rows)
            rows = [row for row in rows if row.trace_id in known]
        opened = "isNull(status)" if table == "observations" else "0"
        names = f"trace_id, {'id' if has_id else 'toString(0)'}, hash, version, {opened}, day"
        for part in in_parts(dict.fromkeys(row.id if has_id else row.trace_id for row in rows)):
            chosen = {*part}
            traces = dict.fromkeys(row.trace_id for row in rows if not has_id or row.id in chosen)
            for some in in_parts(traces):
                values = Values()
                condition = f"trace_id IN {values.texts(some)}"
                if has_id:
                    condition += f" AND id IN {values.texts(part)}"
                sql = f"SELECT {names} FROM {table} FINAL WHERE {condition}"
                for trace_id, id, *columns in self._query(sql, values):
                    found[trace_id, id if has_id else ""] = Known(*columns)
        return found

    def _known_traces(self, table: str, rows: Sequence[Any]) -> set[str]:
        """Return the traces that have records in the table; most batches have new ones only."""
        known: set[str] = set()
        for part in in_parts(dict.fromkeys(row.trace_id for row in rows)):
            values = Values()
            sql = f"SELECT DISTINCT trace_id FROM {table} WHERE trace_id IN {values.texts(part)}"
            known.update(trace_id for (trace_id,) in self._query(sql, values))
        return known

    # The rows of traces.

    def summarize(self, trace_ids: Iterable[str]) -> None:
        """Compute the rows of traces from all their records, and insert them."""
        received = datetime.now(UTC)
        rows = [
            [*_trace_values(state), number_of(state.trace_id), day_of(state.start_us), received, version]
            for part in in_parts(sorted(trace_ids))
            for state, version in self._states(part)
        ]
        if rows:
            self._insert("traces", TRACE, rows)

    def _states(self, trace_ids: list[str]) -> Iterator[tuple[TraceState, int]]:
        states: dict[str, tuple[TraceState, int]] = {}
        values = Values()
        for trace_id, version, *sums in self._query(_SUMMARY % values.texts(trace_ids), values):
            states[trace_id] = _state_of(trace_id, sums), version
        names = [name for name in LINE if name not in _COMMON and name != "line"]
        values = Values()
        sql = f"SELECT version, {', '.join(names)} FROM trace_lines FINAL WHERE trace_id IN {values.texts(trace_ids)}"
        for version, *columns in self._query(sql, values):
            *own, counts = columns
            line = TraceLine._make((*own, tuple(counts) or None, b""))
            state, sum_of_versions = states.get(line.trace_id, (TraceState(line.trace_id), 0))
            state.add_line(line)
            states[line.trace_id] = state, sum_of_versions + version
        yield from states.values()


def _state_of(trace_id: str, sums: list[Any]) -> TraceState:
    """Return the state of a trace from what `_SUMMARY` finds."""
    count, errors, warnings, given, made, tokens, cost, start_us, models, failed, found_by, roots, root = sums
    state = TraceState(trace_id, observations=count, errors=errors, warnings=warnings, sums=[given, made, tokens])
    state.cost, state.start_us, state.models, state.failed_tools = cost, start_us, models, failed
    state.found_by |= facets_of(tuple((type, name, model or None) for type, name, model in found_by))[0]
    if roots:
        for field, value in zip(_ROOT, root, strict=True):
            setattr(state, field, value)
    return state


def _trace_values(state: TraceState) -> list[Any]:
    *columns, facets, _ = state.columns()
    return [*columns, orjson.loads(facets)]


def _observation_values(row: Observation) -> tuple[Any, ...]:
    root = TraceState(row.trace_id)
    if row.parent_id is None:
        root.add([row])
        root.settle()
    *columns, line = row
    at_root = (root.session_id, root.user_id, root.input, root.output, root.error)
    return (*columns, line.decode(), bucket_of(row.duration_ms), *at_root)


def _line_values(row: TraceLine) -> tuple[Any, ...]:
    return (*row[:12], [*(row.counts or ())], row.line.decode())


def _score_values(row: Score) -> tuple[Any, ...]:
    return row.trace_id, row.id, row.name, row.time_us, row.line.decode()


_KINDS: tuple[tuple[type, str, dict[str, str], Callable[[Any], tuple[Any, ...]]], ...] = (
    (Observation, "observations", OBSERVATION, _observation_values),
    (TraceLine, "trace_lines", LINE, _line_values),
    (Score, "scores", SCORE, _score_values),
)


def _key(row: Any) -> tuple[str, str]:
    return row.trace_id, "" if type(row) is TraceLine else row.id


def _day(row: Any, received: datetime) -> date:
    """Return the day of the partition; that of a score is the day of its receipt, on which its trace had begun."""
    return received.date() if type(row) is Score else day_of(row.start_us)


def _hash(line: bytes) -> int:
    return int.from_bytes(blake2b(line, digest_size=8).digest())


def number_of(trace_id: str) -> int:
    """Return the number that orders traces that began in the same microsecond."""
    return int.from_bytes(blake2b(trace_id.encode(), digest_size=8).digest(), signed=True)
