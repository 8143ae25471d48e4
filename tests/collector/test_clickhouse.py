"""
The ClickHouse store beyond the contract: collectors that share it, its versions, retention, clusters and faults.
"""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import httpx
import offline
import orjson
import pytest
from clickhouse_aids import new_database, run, running_chdb
from serving_aids import ROOT, START, ServerProcess, body_of, iso, lines_of_trace, wait_for

from fluxloop.collector.records import RowMaker
from fluxloop.collector.stores import clickhouse_schema
from fluxloop.collector.stores.clickhouse_url import address_of
from fluxloop.collector.stores.contract import Deletion, StoreError, Totals, Written
from fluxloop.collector.stores.opening import open_store
from fluxloop.errors import ConfigError
from fluxloop.reading.filters import CollectorFilter

pytest.importorskip("clickhouse_connect")

CLUSTER = "one_shard"
"""The cluster of `chdb_front`."""


@pytest.fixture
def store(clickhouse_url):
    opened = open_store(clickhouse_url)
    yield opened
    opened.close()


def rows_of(lines):
    return RowMaker().batch(lines).rows


def walk(store):
    """Write, read and delete in all ways."""
    lines = lines_of_trace("a", session_id="s", user_id="Anna", text="hello")
    score = {"record": "score", "id": "x", "trace_id": "a", "name": "stars", "value": 4, "time": iso(START)}
    bad = lines_of_trace("b", start=START + timedelta(days=1), error="no Lyon", tool="book")

    assert store.write(rows_of([*lines, orjson.dumps(score)])) == Written(5, 0)
    assert store.write(rows_of([*lines, orjson.dumps(score)])) == Written(0, 5)
    assert store.write(rows_of(bad)) == Written(4, 0)
    assert found(store) == ["b", "a"]
    assert found(store, text="LYON") == found(store, has_error=True) == ["b"]
    assert found(store, user="anna", observation="se*", max_duration="1s") == ["a"]
    assert sorted(store.records("a")) == sorted([*lines, orjson.dumps(score)])
    assert store.sessions(CollectorFilter(), limit=5).rows[0]["observations"] == 3
    counts = {step.group: step.count for step in store.totals(Totals(by="type"))}
    assert counts == {"AGENT": 2, "GENERATION": 2, "TOOL": 2}
    assert store.counts()["traces"] == 2
    assert store.delete(Deletion(before=START + timedelta(hours=1))) == 1
    assert store.delete(Deletion(trace_id="b")) == 1
    assert found(store) == []
    assert store.totals(Totals()) == []
    assert store.counts() == {"traces": 0, "observations": 0, "bytes": 0}


def found(store, **conditions):
    return [row["trace_id"] for row in store.traces(CollectorFilter.of(**conditions), limit=10).rows]


def test_records_are_written_found_and_deleted(store):
    """
    The whole way of records through the store; the contract of stores has the details.
    """
    walk(store)


@pytest.mark.slow
def test_records_are_written_found_and_deleted_in_a_cluster():
    """
    The tables of a cluster, Distributed over local ones, answer as those of one server.
    """
    with running_chdb() as server, new_database(server.url) as url:
        store = open_store(f"{url}?cluster={CLUSTER}&ttl=4000d")
        try:
            sql = "SELECT name, engine FROM system.tables WHERE database = currentDatabase()"
            engines = dict(line.split("\t") for line in run(url, sql).splitlines())
            assert [engines[table.name] for table in clickhouse_schema.TABLES] == ["Distributed"] * 4
            walk(store)
            store.check()
        finally:
            store.close()


def test_the_statements_of_a_cluster_are_those_of_the_server(clickhouse):
    """
    ClickHouse parses each; they name the cluster, a path in Keeper with shard and replica, and the key of the shards.
    """
    layout = clickhouse_schema.Layout("prod-1")
    statements = [layout.schema_table(), *layout.first_version(), *layout.keep_days(30), *layout.keep_days(None)]

    for statement in statements:
        assert run(f"{clickhouse}/default", f"EXPLAIN AST {statement}")
        assert " ON CLUSTER `prod-1`" in statement
    replicated = [text for text in statements if "Replicated" in text]
    assert len(replicated) == 5
    assert all("{shard}" in text and "{replica}" in text for text in replicated)
    assert sum("cityHash64(trace_id)" in text for text in statements) == 4


def test_a_row_computed_from_fewer_records_never_replaces_one_from_more(store, clickhouse_url):
    """
    A collector that is late, after another one has written: the row of the trace has what both have received.
    """
    other = open_store(clickhouse_url)
    first, second = lines_of_trace("a")[:1], lines_of_trace("a", error="bad")[1:]
    insert = store._writing._insert

    def late(table, columns, rows):
        if table == "traces":
            other.write(rows_of(second))
        insert(table, columns, rows)

    store._writing._insert = late
    try:
        store.write(rows_of(first))
        for reader in (store, other):
            row = reader.trace("a")
            assert (row["observations"], row["errors"], row["status"]) == (3, 1, "success")
        assert found(store, has_error=True) == ["a"]
        assert found(store, has_error=False) == []
    finally:
        other.close()


def test_a_batch_that_was_cut_off_before_its_rows_is_completed_when_it_is_sent_again(store):
    """
    The records were there, the row of their trace was not; nothing was acknowledged, so the client sends it again.
    """
    insert = store._writing._insert

    def cut(table, columns, rows):
        if table == "traces":
            raise StoreError("killed")
        insert(table, columns, rows)

    store._writing._insert = cut
    with pytest.raises(StoreError, match="killed"):
        store.write(rows_of(lines_of_trace("a")))
    store._writing._insert = insert

    assert found(store) == []
    assert store.write(rows_of(lines_of_trace("a"))) == Written(0, 4)
    assert store.trace("a")["observations"] == 3


def test_a_record_that_moves_to_another_day_counts_once(store):
    """
    Days are partitions, and ClickHouse merges within one; the older version is removed from its own.
    """
    for days in (0, 3, 1):
        lines = lines_of_trace("a", start=START + timedelta(days=days), tokens=10 + days)
        assert store.write(rows_of(lines)) == Written(4, 0)

    assert sum(step.count for step in store.totals(Totals())) == 3
    assert store.totals(Totals(since_us=int(START.timestamp() + 2 * 86_400) * 10**6)) == []
    assert sorted(store.records("a")) == sorted(lines)
    assert found(store, since=START + timedelta(days=2)) == []
    assert found(store) == ["a"]


def test_merging_parts_changes_nothing(store, clickhouse_url):
    """
    Older versions disappear from the disk, and no answer changes.
    """
    for tokens in (10, 20, 30):
        store.write(rows_of(lines_of_trace("a", tokens=tokens)))
    before = store.trace("a"), sorted(store.records("a")), store.totals(Totals(by="name"))
    for table in clickhouse_schema.TABLES:
        run(clickhouse_url, f"OPTIMIZE TABLE {table.name} FINAL")

    assert run(clickhouse_url, "SELECT count() FROM observations") == "3\n"
    assert run(clickhouse_url, "SELECT count() FROM traces") == "1\n"
    assert (store.trace("a"), sorted(store.records("a")), store.totals(Totals(by="name"))) == before


def test_the_server_removes_what_is_older_than_the_ttl_of_the_url(store, clickhouse_url):
    """
    Set when a collector starts, changed by another one, and removed again; without it, tables stay as they are.
    """
    now = datetime.now(UTC)
    store.write(rows_of(lines_of_trace("old", start=now - timedelta(days=40))))
    store.write(rows_of(lines_of_trace("new", start=now - timedelta(days=1))))
    open_store(f"{clickhouse_url}?ttl=300d").close()
    open_store(f"{clickhouse_url}?ttl=30d").close()
    open_store(clickhouse_url).close()
    for table in clickhouse_schema.TABLES:
        run(clickhouse_url, f"OPTIMIZE TABLE {table.name} FINAL")
    ttl = "SELECT count() FROM system.tables WHERE database = currentDatabase() AND create_table_query LIKE '%TTL%'"

    assert found(store) == ["new"]
    assert store.totals(Totals())[0].count == 3
    assert run(clickhouse_url, ttl) == "4\n"
    open_store(f"{clickhouse_url}?ttl=none").close()
    assert run(clickhouse_url, ttl) == "0\n"


def test_a_clickhouse_store_of_a_newer_version_is_refused(clickhouse_url):
    """
    A collector of this version does not write into tables that it does not know.
    """
    open_store(clickhouse_url).close()
    run(clickhouse_url, f"INSERT INTO fluxloop_schema VALUES ({clickhouse_schema.VERSION + 1}, now())")

    with pytest.raises(StoreError, match=r"written by a newer FluxLoop \(schema .*--upgrade"):
        open_store(clickhouse_url)


def test_a_database_that_does_not_exist_is_named_as_the_reason(clickhouse):
    """
    The message has the next step.
    """
    with pytest.raises(StoreError, match=r"does not exist\. Next step: CREATE DATABASE"):
        open_store(f"{clickhouse}/not_there")


def test_a_server_that_is_away_is_reported_without_the_password():
    """
    The reason, in one line.
    """
    with pytest.raises(StoreError, match="the ClickHouse store does not answer now") as caught:
        open_store("clickhouse://anna:secret@127.0.0.1:1/x")
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("clickhouse:///x", "must be clickhouse://USER"),
        ("clickhouse://host:port/x", "must be clickhouse://USER"),
        ("clickhouse://host/a/b", "must be clickhouse://USER"),
        ("clickhouse://host/x?clster=a", "no option 'clster'"),
        ("clickhouse://host/x?cluster=a`b", "the name of a ClickHouse cluster"),
        ("clickhouse://host/x?ttl=1h", "ttl must be a number of days"),
        ("clickhouse://host/x?ttl=0d", "ttl must be a number of days"),
        ("clickhouse://host/x?secure=perhaps", "secure must be"),
    ],
)
def test_a_url_that_is_wrong_says_what_is_expected(url, message):
    """
    Before anything is sent.
    """
    with pytest.raises(ConfigError, match=message):
        open_store(url)


def test_a_url_names_server_user_and_options():
    """
    The password is not shown in a representation.
    """
    address = address_of("clickhouse://anna:p%40ss@db.example.com/traces?secure=true&cluster=prod&ttl=30d")

    assert (address.host, address.port, address.user, address.password) == ("db.example.com", 8443, "anna", "p@ss")
    assert (address.database, address.cluster, address.ttl_days) == ("traces", "prod", 30)
    assert "p@ss" not in repr(address)
    assert address_of("clickhouse://h").port == 8123


SENDER = """
import sys, time, httpx
sys.path.insert(0, {tests!r})
from serving_aids import body_of, lines_of_trace
urls, name, count = sys.argv[1].split(","), sys.argv[2], int(sys.argv[3])
refused = 0
for number in range(count):
    lines = lines_of_trace(f"{{name}}-{{number}}", session_id="all")
    for index, part in enumerate((lines[:2], lines[2:])):
        while True:
            try:
                answer = httpx.post(f"{{urls[index]}}/api/v1/batches", content=body_of(part), timeout=60,
                                    headers={{"Content-Type": "application/x-ndjson"}})
                if answer.status_code == 200:
                    break
                refused += answer.status_code == 503
            except httpx.HTTPError:
                pass
            time.sleep(0.05)
print("refused" if refused else "sent", flush=True)
"""


@pytest.mark.slow
def test_two_collectors_and_a_server_that_is_killed_lose_nothing():
    """
    Each trace comes in two parts over two collectors. The server is killed and started again, then a collector:
    meanwhile collectors answer 503, afterwards exactly what was sent is there, once.
    """
    count, senders, collectors = 8, [], []
    with running_chdb() as server, new_database(server.url) as url:
        try:
            collectors += [ServerProcess("--store", url) for _ in range(2)]
            program = SENDER.format(tests=str(ROOT / "tests"))
            for name in "pq":
                urls = [collector.url for collector in collectors]
                command = [sys.executable, "-c", program, ",".join(urls), name, str(count)]
                environment = offline.environment(PYTHONPATH=str(ROOT))
                senders.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
            wait_for(lambda: len(_traces(collectors[0])) >= 4)
            server.kill()
            assert httpx.get(f"{collectors[0].url}/readyz", timeout=60).status_code == 503
            answer = httpx.post(
                f"{collectors[0].url}/api/v1/batches",
                content=body_of(lines_of_trace("late")),
                headers={"Content-Type": "application/x-ndjson"},
                timeout=60,
            )
            assert answer.status_code == 503
            server.start()
            wait_for(lambda: len(_traces(collectors[0])) >= 8, 60)
            collectors[1].kill()
            collectors[1].__exit__()
            collectors[1] = ServerProcess("--store", url, port=collectors[1].port)
            assert [sender.communicate(timeout=90)[0] for sender in senders] == ["refused\n"] * 2

            for collector in collectors:
                assert len(_traces(collector)) == 2 * count
                (session,) = httpx.get(f"{collector.url}/api/v1/sessions", timeout=60).json()["sessions"]
                assert (session["traces"], session["observations"]) == (2 * count, 2 * count * 3)
            totals = httpx.get(f"{collectors[0].url}/api/v1/totals", timeout=60).json()["totals"]
            assert sum(step["count"] for step in totals) == 2 * count * 3
            lines = httpx.get(f"{collectors[0].url}/api/v1/export", timeout=60).content.splitlines()
            assert len(lines) == len({*lines}) == 2 * count * 4
        finally:
            for sender in senders:
                sender.kill()
                sender.communicate()
            for collector in collectors:
                collector.__exit__()


def _traces(collector):
    answer = httpx.get(f"{collector.url}/api/v1/traces?limit=100", timeout=60)
    return answer.json()["traces"] if answer.status_code == 200 else []
