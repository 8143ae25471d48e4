"""
What every store does: the contract, over real databases.
"""

from __future__ import annotations

import json
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from functools import partial
from random import Random

import orjson
import pytest
from collector.conftest import write_batches
from serving_aids import START, iso, lines_of_trace, wait_for

from fluxloop.collector.records import RowMaker
from fluxloop.collector.stores import postgres, postgres_words, sqlite_queries, sqlite_schema, sqlite_words
from fluxloop.collector.stores.contract import Deletion, StoreError, Totals, Written
from fluxloop.collector.stores.durations import percentile
from fluxloop.collector.stores.opening import open_store
from fluxloop.collector.stores.rows import HOUR_US
from fluxloop.errors import FilterError
from fluxloop.reading.assembly import traces_of
from fluxloop.reading.filters import CollectorFilter

EVERYTHING = CollectorFilter()


def ids(page):
    return [row["trace_id"] for row in page.rows]


def found(store, **conditions):
    """The ids of the traces that the conditions select, in the order of their names."""
    return sorted(ids(store.traces(CollectorFilter.of(**conditions), limit=100)))


def test_a_trace_is_returned_as_it_was_written(store, write):
    """
    The row has what the records say, and the lines come back byte for byte.
    """
    lines = lines_of_trace("a", session_id="s", user_id="anna", tags=["x"], error="broken")

    assert write(lines) == Written(4, 0)
    row = store.trace("a")
    assert row == row | {
        "name": "Bot",
        "status": "success",
        "start_time": iso(START),
        "duration_ms": 100.0,
        "session_id": "s",
        "user_id": "anna",
        "tags": ["x"],
        "models": ["gpt-4o"],
        "observations": 3,
        "errors": 1,
        "failed_tools": ["search"],
        "total_tokens": 30,
    }
    assert sorted(store.records("a")) == sorted(lines)
    assert store.trace("b") is None
    assert list(store.records("b")) == []


@pytest.mark.parametrize("has_line", [False, True])
def test_an_error_is_shown_as_it_is(store, write, has_line):
    """
    The row of a trace has the message without quotation marks, from its root or from its own line.
    """
    times = {"start_time": iso(START), "end_time": iso(START), "duration_ms": 1.5}
    record = {"trace_id": "a", "name": "Bot", **times, "status": "error", "level": "ERROR", "error": "no such city"}
    root = {"id": "o", "parent_id": None, "type": "AGENT", **record}

    write([orjson.dumps(root), *([orjson.dumps(record)] if has_line else [])])

    assert store.trace("a")["error"] == "no such city"


def test_a_batch_that_is_sent_twice_counts_once(store, write):
    """
    Writing the same lines again changes nothing, neither lists nor totals.
    """
    lines = lines_of_trace("a")
    write(lines)
    before = store.trace("a"), store.totals(Totals(by="name")), sorted(store.records("a"))

    assert write(lines) == Written(0, 4)
    assert write([*lines, *lines]) == Written(0, 8)
    assert (store.trace("a"), store.totals(Totals(by="name")), sorted(store.records("a"))) == before


@pytest.mark.parametrize("id", [7, -1.5, 2**70, True, [1, "a"], {"a": [1]}])
def test_a_record_whose_id_is_no_text_counts_once(store, write, id):
    """
    The id is its text, as the id of a trace is; a child that names it is found under it when the trace is read.
    """
    root = orjson.loads(lines_of_trace("a")[2])
    lines = [json.dumps({**root, "id": id}).encode(), json.dumps({**root, "id": "child", "parent_id": id}).encode()]

    assert write(lines) == Written(2, 0)
    assert write(lines) == Written(0, 2)
    assert write(lines[::-1], lines) == Written(0, 2)
    assert store.trace("a")["observations"] == store.counts()["observations"] == 2
    (trace,) = traces_of(map(orjson.loads, store.records("a")))
    assert [depth for depth, _ in trace.walk()] == [0, 1]


def test_the_records_of_a_trace_may_come_in_any_order(store, write):
    """
    Every order and every cut into batches leads to the same rows and totals.
    """
    seed = Random().randrange(10**9)
    print(f"seed {seed}")  # noqa: T201 - shown when the test fails
    random = Random(seed)
    expected = None
    for number in range(8):
        lines = lines_of_trace(f"t{number}", error="bad")
        random.shuffle(lines)
        cut = random.randrange(5)
        write(lines[:cut], lines[cut:])
        row = store.trace(f"t{number}")
        del row["trace_id"]
        expected = expected or row

        assert row == expected
    assert sum(step.count for step in store.totals(Totals())) == 24


def test_the_end_of_an_observation_replaces_its_start_and_not_the_reverse(store, write):
    """
    A start makes a running trace; its end replaces it; a start that comes late is a duplicate.
    """
    start = {"id": "o", "trace_id": "a", "parent_id": None, "type": "AGENT", "name": "Bot", "start_time": iso(START)}
    end = {**start, "end_time": iso(START), "duration_ms": 1.5, "status": "error", "level": "ERROR", "error": "bad"}
    write([orjson.dumps(start)])

    assert found(store, status="running") == ["a"]
    assert store.totals(Totals()) == []
    assert write([orjson.dumps(end)]) == Written(1, 0)
    assert write([orjson.dumps(start)]) == Written(0, 1)
    assert list(store.records("a")) == [orjson.dumps(end)]
    assert found(store, status="running") == []
    assert found(store, status="error") == found(store, has_error=True) == ["a"]
    (step,) = store.totals(Totals())
    assert (step.count, step.errors) == (1, 1)


def test_what_a_dead_process_left_open_never_replaces_a_real_end(store, write):
    """
    A journal may be older than the record of the end: in either order, the end stays.
    """
    *observations, trace = lines_of_trace("t")
    crashed = [
        orjson.dumps({**orjson.loads(line), "status": "crashed", "end_time": None, "duration_ms": None})
        for line in (*observations, trace)
    ]
    write(observations[:1], crashed[:2], [observations[1], trace], crashed, observations[2:])

    assert store.trace("t")["status"] == "success"
    assert sorted(store.records("t")) == sorted([*observations, trace])
    assert store.trace("t")["observations"] == 3


def test_a_newer_version_of_a_record_replaces_the_older_one(store, write):
    """
    The last version of an id is the one that is listed, counted and returned.
    """
    write(lines_of_trace("a", tokens=30), lines_of_trace("a", tokens=50, name="Newer"))

    assert store.trace("a")["name"] == "Newer"
    assert store.trace("a")["observations"] == 3
    assert sorted(store.records("a")) == sorted(lines_of_trace("a", tokens=50, name="Newer"))
    (step,) = store.totals(Totals(type=("generation",)))
    assert (step.count, step.tokens) == (1, 50)


@pytest.fixture(scope="module")
def three(shared_store):
    """A store with three different traces, which is only read."""
    traces = (
        lines_of_trace(
            "a", name="Weather", session_id="s1", user_id="Anna", tags=["Prod"], metadata={"plan": "pro", "n": 3}
        ),
        lines_of_trace(
            "b", name="Travel_1", start=START + timedelta(hours=1), error="no Lyon", tool="book", tokens=500
        ),
        lines_of_trace(
            "c",
            name="100%",
            start=START + timedelta(days=1),
            duration_ms=5000,
            model="claude",
            text='a "Ümlaut" % _ \\',
        ),
    )
    for lines in traces:
        shared_store.write(RowMaker().batch(lines).rows)
    return shared_store


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({"name": "weather"}, "a"),
        ({"name": "We*"}, "a"),
        ({"name": "*e*"}, "ab"),
        ({"name": ["weather", "100%"]}, "ac"),
        ({"name": "Travel%1"}, ""),
        ({"name": "Travel?1"}, ""),
        ({"name": "100_"}, ""),
        ({"session": "S1"}, "a"),
        ({"user": "anna"}, "a"),
        ({"user": "ann"}, ""),
        ({"tag": "prod"}, "a"),
        ({"tag": "pr*"}, "a"),
        ({"metadata": "plan"}, "a"),
        ({"metadata": "plan=PRO"}, "a"),
        ({"metadata": "n=3"}, "a"),
        ({"metadata": "n=4"}, ""),
        ({"model": "claude"}, "c"),
        ({"model": ["claude", "GPT-4o"]}, "abc"),
        ({"type": "tool"}, "abc"),
        ({"type": "RETRIEVAL"}, ""),
        ({"observation": "book"}, "b"),
        ({"observation": "b*"}, "b"),
        ({"status": "success"}, "abc"),
        ({"status": "error,running"}, ""),
        ({"has_error": True}, "b"),
        ({"has_error": False}, "ac"),
        ({"since": START + timedelta(minutes=30)}, "bc"),
        ({"until": START + timedelta(minutes=30)}, "a"),
        ({"since": START + timedelta(minutes=30), "until": START + timedelta(hours=2)}, "b"),
        ({"min_duration": "1s"}, "c"),
        ({"max_duration": "1s"}, "ab"),
        ({"min_tokens": 100}, "b"),
        ({"max_tokens": 100}, "ac"),
        ({"min_cost": 0.0}, ""),
        ({"text": "LYON"}, "b"),
        ({"text": "hello"}, "ab"),
        ({"text": "ümlaut"}, "c"),
        ({"text": 'a "ü'}, "c"),
        ({"text": "% _ \\"}, "c"),
        ({"text": "hello", "has_error": True}, "b"),
        ({"text": "hello", "name": "weather", "type": "TOOL"}, "a"),
        ({"text": "not there"}, ""),
        ({"text": "ye"}, ""),
        ({"name": "weather", "user": "anna", "session": "s1", "tag": "prod", "model": "gpt-4o"}, "a"),
        ({"name": "weather", "model": "claude"}, ""),
        ({}, "abc"),
    ],
)
def test_filters_select_the_same_traces_in_every_store(three, conditions, expected):
    """
    Each condition by itself, and together.
    """
    assert found(three, **conditions) == [*expected]


HOSTILE = ["'", "'; DROP TABLE traces; --", '" OR 1=1 --', "a' OR 'a'='a", "\\", "%", "_", "%s", "{x}", "$1", "?", ")("]


@pytest.mark.parametrize("name", ["name", "session", "user", "tag", "model", "type", "observation", "metadata", "text"])
def test_conditions_are_never_part_of_the_sql(three, name):
    """
    Texts with quotes and other syntax select nothing, break nothing and leave the records as they are.
    """
    for text in HOSTILE:
        selected = found(three, **{name: text})

        assert {*selected} <= ({"a", "b", "c"} if name == "text" else {"c"})
        assert {*found(three, **{name: f"{text}*"})} <= {"b", "c"}
        assert three.totals(Totals(name=(text,))) == []
        assert three.trace(text) is None
        assert three.matching(text, limit=5) == []
        assert three.delete(Deletion(session_id=text)) == 0
    assert found(three) == ["a", "b", "c"]


@pytest.mark.parametrize("oldest_first", [True, False])
@pytest.mark.parametrize(
    "conditions", [{}, {"model": "gpt-4o"}, {"model": ["gpt-4o", "b"], "type": ["TOOL", "AGENT"]}, {"text": "hello"}]
)
def test_pages_have_every_trace_once_in_the_order_of_their_starts(store, write, oldest_first, conditions):
    """
    Following the cursors lists everything, also where starts are the same, and where traces are added meanwhile.
    """
    write([line for n in range(20) for line in lines_of_trace(f"{n:02}", start=START + timedelta(seconds=n // 3))])
    seen, cursor, starts = [], None, []
    while True:
        page = store.traces(CollectorFilter.of(**conditions), limit=3, cursor=cursor, oldest_first=oldest_first)
        seen += ids(page)
        starts += [row["start_time"] for row in page.rows]
        write(lines_of_trace(f"new{len(seen)}", start=START + timedelta(hours=-1 if oldest_first else 1)))
        if (cursor := page.next) is None:
            break

    assert sorted(seen) == [f"{n:02}" for n in range(20)]
    assert starts == sorted(starts, reverse=not oldest_first)


@pytest.mark.parametrize("cursor", ["x", "1", "1.x", "9" * 50, "99999999999999999999.1", "' OR 1=1", "1.2.3", ""])
def test_a_cursor_that_is_none_is_refused(store, cursor):
    """
    The message says what a cursor is.
    """
    with pytest.raises(FilterError, match="cursor must be"):
        store.traces(EVERYTHING, limit=1, cursor=cursor)


def test_observations_come_in_pieces_in_start_order(store, write):
    """
    A trace of any size can be read in parts; records returns the same.
    """
    observations = [
        {"id": f"o{n}", "trace_id": "a", "parent_id": None, "type": "SPAN", "name": "step", "status": "success"}
        | {"start_time": iso(START + timedelta(seconds=n)), "duration_ms": 1.0}
        for n in range(25)
    ]
    lines = [*map(orjson.dumps, observations)]
    write(lines[10:], lines[:10])
    pieces, after = [], None
    while True:
        piece, after = store.piece("a", limit=10, after=after)
        pieces.append(piece)
        if after is None:
            break

    assert [len(piece) for piece in pieces] == [10, 10, 5]
    assert [line for piece in pieces for line in piece] == lines == list(store.records("a"))


def test_sessions_sum_up_their_traces(store, write):
    """
    One row per session, the most recent first, in pages.
    """
    for number in range(6):
        session = f"s{number % 3}"
        write(lines_of_trace(f"t{number}", session_id=session, start=START + timedelta(minutes=number), error="x"))
    first = store.sessions(EVERYTHING, limit=2)
    second = store.sessions(EVERYTHING, limit=2, cursor=first.next)

    assert [row["session_id"] for row in [*first.rows, *second.rows]] == ["s2", "s1", "s0"]
    assert second.next is None
    assert first.rows[0] == first.rows[0] | {
        "traces": 2,
        "observations": 6,
        "total_tokens": 60,
        "traces_with_errors": 2,
        "first_start_time": iso(START + timedelta(minutes=2)),
        "last_start_time": iso(START + timedelta(minutes=5)),
    }
    for conditions in ({"type": "RETRIEVAL"}, {"observation": "none"}, {"metadata": "none"}, {"max_duration": "1ms"}):
        assert store.sessions(CollectorFilter.of(**conditions), limit=5).rows == []
    assert len(store.sessions(CollectorFilter.of(observation="search", has_error=True), limit=5).rows) == 3


def test_totals_count_observations_by_time_and_group(store, write):
    """
    Counts, errors and tokens are exact; percentiles are within 1 %.
    """
    write(
        *(lines_of_trace(f"t{n}", start=START + timedelta(hours=n), duration_ms=10.0 * (n + 1)) for n in range(10)),
        lines_of_trace("bad", start=START, tool="book", error="bad", model="claude"),
    )
    (whole,) = store.totals(Totals())
    by_model = {step.group: step for step in store.totals(Totals(by="model", type=("GENERATION",)))}
    by_hour = store.totals(Totals(step_us=HOUR_US, name=("book", "SEARCH")))

    assert (whole.count, whole.errors, whole.tokens) == (33, 1, 330)
    assert {name: step.count for name, step in by_model.items()} == {"gpt-4o": 10, "claude": 1}
    assert [step.count for step in by_hour] == [2, *[1] * 9]
    assert [step.errors for step in by_hour] == [1, *[0] * 9]
    tools = store.totals(Totals(name=("search",)))[0].durations
    assert percentile(tools, 0.5) == pytest.approx(50, rel=0.011)
    assert percentile(tools, 0.99) == pytest.approx(100, rel=0.011)


@pytest.mark.parametrize(
    ("which", "left"),
    [
        (Deletion(trace_id="a"), "bcd"),
        (Deletion(session_id="s1"), "cd"),
        (Deletion(user_id="Bob"), "ab"),
        (Deletion(before=START + timedelta(days=2)), "cd"),
        (Deletion(trace_id="none"), "abcd"),
    ],
)
def test_a_deletion_leaves_nothing_of_a_trace(store, write, which, left):
    """
    Rows, lines, totals, sessions, scores and what searches find: all without the deleted traces.
    """
    lines = []
    for number, trace_id in enumerate("abcd"):
        session, user = ("s1", "Anna") if number < 2 else ("s2", "Bob")
        start = START + timedelta(days=number)
        lines += lines_of_trace(trace_id, session_id=session, user_id=user, start=start, text=f"word{trace_id}")
        lines.append(score_line(trace_id))
    write(lines)
    gone = [trace_id for trace_id in "abcd" if trace_id not in left]

    assert store.delete(which) == len(gone)
    assert found(store) == [*left]
    assert found(store, text="word") == [*left]
    assert sum(step.count for step in store.totals(Totals())) == 3 * len(left)
    for trace_id in gone:
        assert store.trace(trace_id) is None
        assert list(store.records(trace_id)) == store.scores(trace_id) == []
        assert found(store, text=f"word{trace_id}") == []
    assert store.delete(which) == 0
    assert store.counts()["observations"] == 3 * len(left)


def score_line(trace_id, value=1, id="x"):
    score = {"record": "score", "id": id, "trace_id": trace_id, "name": "stars", "value": value, "comment": None}
    return orjson.dumps({**score, "time": iso(START)})


def test_a_deletion_is_not_stopped_by_the_time_limit_of_an_earlier_query(tmp_path):
    """
    SQLite stops a query of a thread when its time is over; a deletion by the same thread has no limit.
    """
    with closing(open_store(f"sqlite:///{tmp_path / 's.sqlite'}")) as store:
        for number in range(20):
            store.write(RowMaker().batch(lines_of_trace(f"t{number}", user_id="u")).rows)
        store.counts()
        store._readers.end = 0.0
        store._read().set_progress_handler(store._is_late, 1)

        assert store.delete(Deletion(user_id="u")) == 20


def test_scores_are_kept_beside_their_trace(store, write):
    """
    A score may come before its trace; sent twice it counts once; a newer one of the same id replaces it.
    """
    assert write([score_line("a", 3)]) == Written(1, 0)
    assert write([score_line("a", 3)]) == Written(0, 1)
    assert write([score_line("a", 5)]) == Written(1, 0)
    write(lines_of_trace("a"))

    assert store.scores("a") == [score_line("a", 5)]
    assert score_line("a", 5) in [*store.records("a")]
    assert store.trace("a")["observations"] == 3


def test_a_store_that_is_opened_again_has_everything(store, store_url, write):
    """
    What was written is durable, and found by the same filters.
    """
    write(lines_of_trace("a", text="lasting"))
    again = open_store(store_url)
    try:
        assert found(again, text="lasting") == ["a"]
        assert again.write(RowMaker().batch(lines_of_trace("a", text="lasting")).rows) == Written(0, 4)
        again.check()
    finally:
        again.close()


def test_batches_that_wait_for_a_lock_of_sqlite_are_refused_together(tmp_path, monkeypatch):
    """
    The lock is waited for once, not once per batch; the batches that are sent after it are kept.
    """
    monkeypatch.setattr(sqlite_schema, "BUSY_S", 1.0)
    path = tmp_path / "store.sqlite"
    with closing(open_store(str(path))) as store, ThreadPoolExecutor(20) as threads:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            start = time.monotonic()
            batches = [lines_of_trace(f"t{number}") for number in range(20)]
            waiting = [threads.submit(write_batches, store, lines) for lines in batches]
            assert {type(written.exception()) for written in waiting} == {StoreError}
            assert time.monotonic() - start < 6
            assert store.traces(EVERYTHING, limit=100).rows == []
        assert write_batches(store, *batches) == Written(4, 0)
        assert store.counts()["observations"] == 60


def test_an_sqlite_store_of_a_newer_version_is_refused_and_not_changed(tmp_path):
    """
    The message names the file, both versions and the next step; the newer version opens its file as before.
    """
    path = tmp_path / "store.sqlite"
    open_store(f"sqlite:///{path}").close()
    with closing(sqlite3.connect(path)) as newer:
        newer.execute(f"PRAGMA user_version = {sqlite_schema.VERSION + 1}")
    before = path.read_bytes()

    with pytest.raises(StoreError, match=r"store\.sqlite was written by a newer FluxLoop \(schema .*--upgrade"):
        open_store(f"sqlite:///{path}")
    assert path.read_bytes() == before
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize("is_idle", [True, False])
def test_totals_of_postgresql_are_the_same_before_and_after_changes_are_added(postgres_url, monkeypatch, is_idle):
    """
    A batch appends its changes, which are added to the totals while nothing is received, or when they are many.
    """
    import psycopg

    monkeypatch.setattr(postgres, "_IDLE_S", 1e9)
    store = open_store(postgres_url)
    try:
        write_batches(store, lines_of_trace("a", tokens=30), lines_of_trace("a", tokens=50), lines_of_trace("b"))
        before = store.totals(Totals(by="name"))
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            assert connection.execute("SELECT count(*) FROM totals").fetchone() == (0,)
            if is_idle:
                monkeypatch.setattr(postgres, "_IDLE_S", 0.0)
            else:
                monkeypatch.setattr(postgres, "_MOST_NEW_TOTALS", 1)
            store.write([])
            wait_for(lambda: connection.execute("SELECT count(*) FROM new_totals").fetchone() == (0,))

            assert connection.execute("SELECT count(*) FROM totals").fetchone() == (3,)
        assert store.totals(Totals(by="name")) == before
        assert [(step.count, step.tokens) for step in store.totals(Totals())] == [(6, 80)]
        store.delete(Deletion(trace_id="a"))
        assert [(step.count, step.tokens) for step in store.totals(Totals())] == [(3, 30)]
    finally:
        store.close()


def test_the_line_of_a_trace_after_its_root_in_one_batch_is_what_counts(store, write):
    """
    A trace that began and ended within a batch is as one whose line came later, although its root is not read.
    """
    lines = lines_of_trace("whole", session_id="s", user_id="anna", error="broken")
    write(lines)
    for line in lines_of_trace("apart", session_id="s", user_id="anna", error="broken"):
        write([line])

    whole, apart = store.trace("whole"), store.trace("apart")
    assert whole | {"trace_id": ""} == apart | {"trace_id": ""}
    assert whole["session_id"] == "s"


def test_a_start_and_its_end_in_one_batch_count_once(store, write):
    """
    With the same id, in a batch of other observations; the end counts, in whatever order they come.
    """
    *observations, _ = lines_of_trace("t", tokens=30)
    record = orjson.loads(observations[0])
    start = orjson.dumps({name: record[name] for name in ("id", "trace_id", "parent_id", "type", "name", "start_time")})

    assert write([start, *observations, start, observations[0]]) == Written(4, 2)
    (row,) = store.traces(CollectorFilter(), limit=5).rows
    assert row["observations"] == 3
    assert [(step.count, step.tokens) for step in store.totals(Totals())] == [(3, 30)]


def test_a_postgresql_store_of_a_newer_version_is_refused(postgres_url):
    """
    A collector of this version does not write into tables that it does not know.
    """
    import psycopg

    open_store(postgres_url).close()
    with psycopg.connect(postgres_url) as newer:
        newer.execute("UPDATE fluxloop_schema SET version = version + 1")

    with pytest.raises(StoreError, match=r"written by a newer FluxLoop \(schema .*--upgrade"):
        open_store(postgres_url)


def test_a_postgresql_store_that_is_closed_while_in_use_keeps_no_connection(postgres_url):
    """
    A page of an export is open while the store closes; its connection ends with it.
    """
    import psycopg

    store = open_store(postgres_url)
    store.write(RowMaker().batch(lines_of_trace("a")).rows)
    with store._connection():
        store.close()

    count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'fluxloop' AND datname = current_database()"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        assert wait_for(lambda: connection.execute(count).fetchone() == (0,))


@pytest.mark.parametrize("table", ["notes", "traces"])
def test_a_database_of_another_program_is_refused_and_not_changed(tmp_path, table):
    """
    Not even its journal mode, also if it has a table of the same name.
    """
    path = tmp_path / "notes.sqlite"
    with closing(sqlite3.connect(path)) as other:
        other.execute(f"CREATE TABLE {table} (text)")
    before = path.read_bytes()

    with pytest.raises(StoreError, match=r"notes\.sqlite is an SQLite database, but not a store of FluxLoop"):
        open_store(f"sqlite:///{path}")
    assert path.read_bytes() == before
    assert [*tmp_path.iterdir()] == [path]


def test_many_threads_and_two_stores_write_at_the_same_time(store, store_url, write):
    """
    Batches of the same traces from eight threads over two collectors: every record once, exact totals, no deadlock.
    """
    other = open_store(store_url)
    batches = [
        RowMaker().batch(lines_of_trace(f"t{n % 5}", text=f"x{n % 5}")[part::2]) for n in range(40) for part in (0, 1)
    ]
    try:
        with ThreadPoolExecutor(8) as threads:
            written = list(
                threads.map(lambda pair: (store, other)[pair[0] % 2].write(pair[1].rows), enumerate(batches))
            )
    finally:
        other.close()

    assert sum(one.accepted + one.duplicates for one in written) == 160
    accepted = sum(one.accepted for one in written)
    assert accepted >= 20 if store.name == "clickhouse" else accepted == 20  # its collectors accept what comes at once
    assert [store.trace(f"t{n}")["observations"] for n in range(5)] == [3] * 5
    assert sum(step.count for step in store.totals(Totals())) == 15


def test_a_closed_store_raises_its_own_error(store):
    """
    Not that of the database library.
    """
    store.close()

    delete = partial(store.delete, Deletion(user_id="u"))
    for call in (lambda: store.write([]), store.check, lambda: store.trace("a"), store.counts, delete):
        with pytest.raises(StoreError, match="closed"):
            call()


def test_ids_of_traces_are_found_by_their_ends(store, write):
    """
    A part of an id is text, never a pattern.
    """
    write(lines_of_trace("abc-1"), lines_of_trace("abc-2"), lines_of_trace("%bc_2"))

    assert sorted(row["trace_id"] for row in store.matching("abc", limit=5)) == ["abc-1", "abc-2"]
    assert [row["trace_id"] for row in store.matching("-2", limit=5)] == ["abc-2"]
    assert [row["trace_id"] for row in store.matching("%", limit=5)] == ["%bc_2"]


def test_texts_that_databases_refuse_are_kept(store, write):
    """
    NUL in names and values, lone surrogates, huge numbers: the line comes back as JSON with the same value.
    """
    line = lines_of_trace("a", name="n\0ul", session_id="s\0", tags=["\0"], metadata={"k\0": "v\0"}, text="te\0xt")
    odd = b'{"id":"o","trace_id":"b","parent_id":null,"type":"SPAN","name":"\\ud800","start_time":"x","output":1e999}'
    huge = b'{"id":"h","trace_id":"b","parent_id":null,"type":"GENERATION","name":"m","usage":{"input_tokens":%d}}'
    assert write(line) == Written(4, 0)
    assert write([odd, huge % 10**30, b'{"trace_id":"c","start_time":"9999-12-31T23:59:59Z","name":"n"}']).accepted == 3

    assert found(store) == ["a", "b", "c"]
    assert orjson.loads([*store.records("a")][-1])["name"] == "n\0ul"


@pytest.mark.parametrize(
    ("kind", "oldest_first", "is_indexed"),
    [
        *(("sqlite", oldest, indexed) for oldest in (True, False) for indexed in (True, False)),
        ("postgresql", False, True),
    ],
)
def test_a_search_in_parts_finds_what_comparing_all_records_finds(
    tmp_path, request, monkeypatch, kind, oldest_first, is_indexed
):
    """
    Rare and frequent texts, records in any order of their starts, pages that are read one after the other.
    """
    seed = Random().randrange(10**9)
    print(f"seed {seed}")  # noqa: T201 - shown when the test fails
    random = Random(seed)
    for name, value in {"_RARE": 4, "_PART": 3, "_LARGEST_PART": 12, "_PROBED_AFTER": 9, "MAX_CANDIDATES": 8}.items():
        monkeypatch.setattr(sqlite_queries, name, value)
    for module in (sqlite_words, postgres_words):
        monkeypatch.setattr(module, "MAX_CANDIDATES", 8)
    words = ["Atlantis", "Lyon", "Atlas", "Mesa"]
    texts = {f"t{n:02}": random.choice(words) if n % 3 else "Berlin" for n in range(60)}
    lines = [
        line
        for trace_id, text in texts.items()
        for line in lines_of_trace(trace_id, text=text, start=START + timedelta(minutes=random.randrange(40)))
    ]
    random.shuffle(lines)
    url = f"sqlite:///{tmp_path / 's.sqlite'}" if kind == "sqlite" else request.getfixturevalue("postgres_url")
    with closing(open_store(url)) as store:
        if not is_indexed:
            monkeypatch.setattr(store, "_index_words", lambda: False)
        for at in range(0, len(lines), 20):
            store.write(RowMaker().batch(lines[at : at + 20]).rows)
        wait_for(lambda: store.counts()["unindexed"] == 0 or not is_indexed)
        for wanted in [*words, "atl", "sa", "Ber", "nothing"]:
            seen, cursor = [], None
            while True:
                page = store.traces(CollectorFilter.of(text=wanted), limit=5, cursor=cursor, oldest_first=oldest_first)
                seen += page.rows
                if (cursor := page.next) is None:
                    break

            expected = {id for id, text in texts.items() if wanted.lower() in text.lower()}
            assert sorted(row["trace_id"] for row in seen) == sorted(expected)
            starts = [row["start_time"] for row in seen]
            assert starts == sorted(starts, reverse=not oldest_first)


def test_a_page_of_a_frequent_text_is_among_the_newest_records(tmp_path, monkeypatch):
    """
    SQLite looks through no other traces, unless one that was inserted long ago began later than those of the page.
    """
    searched = []
    candidates_in = sqlite_queries.candidates_in
    monkeypatch.setattr(sqlite_queries, "_RARE", 20)
    monkeypatch.setattr(
        sqlite_queries, "candidates_in", lambda *args, **kw: searched.append(1) or candidates_in(*args, **kw)
    )
    with closing(open_store(f"sqlite:///{tmp_path / 's.sqlite'}")) as store:

        def add(number, minute):
            lines = lines_of_trace(f"t{number:02}", text="Lyon", start=START + timedelta(minutes=minute))
            store.write(RowMaker().batch(lines).rows)

        def page():
            wait_for(lambda: store.counts()["unindexed"] == 0)
            return [row["trace_id"] for row in store.traces(CollectorFilter.of(text="lyon"), limit=3).rows]

        add(0, minute=-1)
        for number in range(1, 30):
            add(number, number)
        assert (page(), searched) == (["t29", "t28", "t27"], [])

        add(0, minute=28.5)  # an old trace gets a later start
        assert (page(), searched != []) == (["t29", "t00", "t28"], True)

        store.run(
            lambda writer: writer.execute("UPDATE traces SET after_observation = NULL")
        )  # as migrated traces have it
        assert page() == ["t29", "t00", "t28"]


def test_a_rare_text_is_looked_up_in_the_index_of_postgresql(postgres_url):
    """
    The index names the trace that has it, one with much text, and those that are not indexed yet; no others.
    """
    with closing(open_store(postgres_url)) as store:
        texts = {f"t{n}": f"Lyon {n} 'quoted' \\ Ümlaut" for n in range(20)} | {
            "rare": "Atlantis",
            "long": "z" * 20_000,
        }
        for trace_id, text in texts.items():
            store.write(RowMaker().batch(lines_of_trace(trace_id, text=text)).rows)
        assert wait_for(lambda: store.counts()["unindexed"] == 0)
        with store._connection() as connection:
            connection.execute("INSERT INTO new_words SELECT number FROM traces WHERE trace_id = 't3'")
            numbers = postgres_words.rare_candidates(connection, "aTLANTIs")
            named = connection.execute("SELECT trace_id FROM traces WHERE number = ANY(%s)", (numbers,)).fetchall()

        assert sorted(id for (id,) in named) == ["long", "rare", "t3"]
        assert found(store, text="aTLANTIs") == ["rare"]
        assert found(store, text="'quoted' \\ üM") == sorted(id for id in texts if id.startswith("t"))
