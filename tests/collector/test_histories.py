"""
Random histories of a store: batches, deletions, retention and restarts, compared with a scan of what is left.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import orjson
import pytest
from collector.conftest import empty_store

from fluxloop.collector.record_rows import Observation, TraceLine, is_open, is_provisional
from fluxloop.collector.records import RowMaker
from fluxloop.collector.retention import Clock, Retention
from fluxloop.collector.stores.contract import Deletion, Store, Totals, Written
from fluxloop.collector.stores.durations import bucket_of
from fluxloop.collector.stores.opening import open_store
from fluxloop.collector.stores.rows import HOUR_US
from fluxloop.reading.filters import CollectorFilter

TODAY = datetime.now(UTC).replace(hour=1, minute=0, second=0, microsecond=0)
"""Of the newest records: stores have a partition for each of the last days."""

TRACES, OBSERVATIONS, STEPS = 12, 6, 40


def time_of(random: Random) -> str:
    """A time of one of the last days, or one that is far away, or none."""
    far = ("", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "2019-05-05T12:00:00+14:00")
    if random.random() < 0.08:
        return random.choice(far)
    time = TODAY - timedelta(hours=random.choice((0, 1, 30, 60, 90)), seconds=random.randrange(100))
    return f"{time:%Y-%m-%dT%H:%M:%S.%fZ}"


def random_line(random: Random) -> bytes:
    """One of the records that a few traces have: a start, an end, the state of a dead process, or a trace's line."""
    trace = random.randrange(TRACES)
    trace_id = random.choice((f"t{trace}", f"t{trace}", f"T{trace}"))
    status = random.choice(("success", "error", "cancelled", "crashed", None))
    record: dict[str, Any] = {
        "trace_id": trace_id,
        "name": random.choice(("plan", "Plan", "größe", "x\0y", "tab\t\\N", "")),
        "start_time": time_of(random),
        "status": status,
        "duration_ms": random.choice((None, 0.0, 0.001, 1.5, 900.25, 1e14)) if status else None,
        "usage": random.choice((None, {"input_tokens": random.randrange(50), "output_tokens": 3})),
    }
    if random.random() < 0.2:
        ended = {"status": status or "success", "schema": 1, "duration_ms": record["duration_ms"] or 0.0}
        who = {"session_id": random.choice((None, "s1", "s2")), "user_id": random.choice((None, "u1"))}
        return orjson.dumps(record | ended | who)
    n = random.randrange(OBSERVATIONS)
    return orjson.dumps(
        {
            "id": random.choice((f"o{n}", f"O{n}", n + 1, [n])),
            "parent_id": random.choice((None, "o0")),
            "type": random.choice(("AGENT", "TOOL", "GENERATION")),
            "level": random.choice(("INFO", "WARNING", "ERROR")),
            "model": random.choice((None, "gpt-4o")),
            **record,
        }
    )


class Expected:
    """What a store has after a history, by the contract of all stores."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str | None], Observation | TraceLine] = {}
        """By the ids of trace and observation; a trace's own line has no second one."""

    def write(self, rows: list[Any]) -> Written:
        """Do as a store: the end of a record replaces its start, and never the reverse."""
        accepted = 0
        observations_first = sorted(rows, key=lambda row: type(row) is TraceLine)
        for row in observations_first:
            key = row.trace_id, getattr(row, "id", None)
            old = self.rows.get(key)
            is_kept = old is not None and (
                old.line == row.line or (is_provisional(row) and (isinstance(old, TraceLine) or not is_open(old)))
            )
            if not is_kept:
                self.rows[key] = row
                accepted += 1
        return Written(accepted, len(rows) - accepted)

    def forget(self, trace_ids: set[str]) -> None:
        """Delete traces."""
        self.rows = {key: row for key, row in self.rows.items() if key[0] not in trace_ids}

    def totals(self, by: str) -> dict[Any, Any]:
        """Return count, errors, tokens and durations by hour and group, from a scan of all rows."""
        found: dict[Any, Any] = {}
        for row in self.rows.values():
            if isinstance(row, Observation) and row.status is not None:
                sums = found.setdefault((row.start_us // HOUR_US * HOUR_US, getattr(row, by) or ""), Counter())
                sums.update(
                    count=1,
                    errors=row.status == "error",
                    tokens=row.tokens,
                    input_tokens=row.input_tokens,
                    output_tokens=row.output_tokens,
                )
                sums[bucket_of(row.duration_ms)] += 1
        return {key: +sums for key, sums in found.items()}


def check(store: Store, expected: Expected) -> None:
    """Compare everything that a store answers with what it should have."""
    by_trace: dict[str, list[Observation | TraceLine]] = {}
    for (trace_id, _), row in expected.rows.items():
        by_trace.setdefault(trace_id, []).append(row)
    shown = {row["trace_id"]: row for row in store.traces(CollectorFilter(), limit=1000).rows}
    assert shown.keys() == by_trace.keys()
    for trace_id, rows in by_trace.items():
        assert sorted(store.records(trace_id)) == sorted(row.line for row in rows)
        observations = [row for row in rows if isinstance(row, Observation)]
        row = shown[trace_id]
        assert (row["observations"], row["errors"]) == (
            len(observations),
            sum(one.status == "error" for one in observations),
        )
        counted = [one for one in observations if one.type == "GENERATION"]
        own = [one for one in rows if isinstance(one, TraceLine)]
        if own:
            assert (row["status"], row["session_id"]) == (own[0].status, own[0].session_id)
        elif any(one.tokens for one in counted):
            assert row["total_tokens"] == sum(one.tokens for one in counted)
    for by in ("name", "type", "model"):
        found = {}
        for step in store.totals(Totals(by=by, step_us=HOUR_US)):
            sums = {"count": step.count, "errors": step.errors, "tokens": step.tokens}
            sums |= {"input_tokens": step.input_tokens, "output_tokens": step.output_tokens}
            found[step.time_us, step.group] = +Counter(sums | step.durations)
        assert found == expected.totals(by)
    counts = store.counts()
    assert counts["observations"] == sum(isinstance(row, Observation) for row in expected.rows.values())
    for status in ("success", "error", "running"):
        rows = store.traces(CollectorFilter.of(status=status), limit=1000).rows
        assert {row["trace_id"] for row in rows} == {
            row["trace_id"] for row in shown.values() if (row["status"] or "running") == status
        }


def delete_some(random: Random, store: Store, expected: Expected) -> None:
    """Delete by an id, a session, a user or an age, in the store and in what is expected."""
    rows = store.traces(CollectorFilter(), limit=1000).rows
    kind = random.choice(("trace", "session", "user", "before", "retention"))
    if kind == "trace":
        wanted = f"t{random.randrange(TRACES)}"
        gone, which = {row["trace_id"] for row in rows if row["trace_id"] == wanted}, Deletion(trace_id=wanted)
    elif kind == "session":
        gone, which = {row["trace_id"] for row in rows if row["session_id"] == "s1"}, Deletion(session_id="s1")
    elif kind == "user":
        gone, which = {row["trace_id"] for row in rows if row["user_id"] == "u1"}, Deletion(user_id="u1")
    else:
        age = timedelta(hours=random.choice((2, 40, 70, 24 * 5)))
        before = TODAY - age
        gone = {row["trace_id"] for row in rows if start_of(row) < before}
        which = Deletion(before=before)
        if kind == "retention":
            clock = Clock(lambda: TODAY)
            before = clock.now(store) - age
            gone = {row["trace_id"] for row in rows if start_of(row) < before}
            assert Retention(age=age).apply(store, clock) == len(gone)
            expected.forget(gone)
            return
    assert store.delete(which) == len(gone)
    expected.forget(gone)


def start_of(row: dict[str, Any]) -> datetime:
    """Return the start of a trace; one without a start is as old as the calendar of stores."""
    return datetime.fromisoformat(row["start_time"] or "1970-01-01T00:00:00Z")


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize("seed", [*range(6), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(6, 30))])
def test_a_store_answers_as_a_scan_of_what_is_left(tmp_path, request, kind, seed):
    """
    Batches with any mixture of records, in any order, again and again, and deletions between them, and restarts.
    """
    random, expected = Random(seed), Expected()
    batches: list[list[bytes]] = []
    with empty_store(kind, request, tmp_path) as url:
        store = open_store(url)
        try:
            for _ in range(STEPS):
                action = random.random()
                if action < 0.7 or not batches:
                    batches.append([random_line(random) for _ in range(random.randrange(1, 40))])
                    write(store, expected, batches[-1])
                elif action < 0.85:
                    write(store, expected, random.choice(batches))
                elif action < 0.95:
                    delete_some(random, store, expected)
                else:
                    store.close()
                    store = open_store(url)
                check(store, expected)
        finally:
            store.close()


def write(store: Store, expected: Expected, lines: list[bytes]) -> None:
    rows = RowMaker().batch(lines).rows
    assert store.write(rows) == expected.write(rows)
