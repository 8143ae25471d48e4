"""
Requests that are meant to do harm: none of them fails the collector, and none of them reaches what it should not.
"""

from __future__ import annotations

import gzip
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import httpx
import offline
import orjson
import pytest
from serving_aids import ROOT, START, ServerProcess, body_of, free_port, lines_of_trace, wait_for

import fluxloop
from fluxloop.collector.keys import Keys
from fluxloop.collector.metrics import Metrics
from fluxloop.collector.records import RowMaker
from fluxloop.collector.retention import Clock, Retention
from fluxloop.collector.routes import PARAMETERS
from fluxloop.collector.stores.contract import Deletion, StoreError, Totals, Written
from fluxloop.errors import ConfigError, FilterError
from fluxloop.reading.filters import CollectorFilter

NDJSON = {"Content-Type": "application/x-ndjson"}
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """A client of a collector that many tests share; each uses traces of its own."""
    store = tmp_path_factory.mktemp("server") / "store.sqlite"
    with ServerProcess("--store", store, "--log-level", "error") as server:
        with httpx.Client(base_url=server.url, timeout=30) as client:
            yield client
        assert server.stop() == 0
    assert "Traceback" not in "".join(server.output)


def send(client, *traces):
    answer = client.post("/api/v1/batches", content=body_of(*traces), headers=NDJSON)
    assert answer.status_code == 200
    return answer.json()


HOSTILE = (
    "1e400",
    "9" * 40,
    "999999999d",
    "9999-12-31T23:59:59",
    "0001-01-01T00:00+23:59",
    "'; DROP TABLE traces --",
    "*a*a*a*a*",
    "\x00",
    "a" * 2_000,
)


@pytest.mark.parametrize("name", [*PARAMETERS])
def test_no_value_of_a_parameter_fails_the_collector(client, name):
    """
    Every parameter of every route, with numbers beyond every type, times beyond the calendar, SQL and patterns.
    """
    send(client, lines_of_trace(f"hostile-{name}"))
    for path in ("/api/v1/traces", "/api/v1/sessions", "/api/v1/totals", "/api/v1/traces/x"):
        for value in HOSTILE:
            assert client.get(path, params={name: value}).status_code in (200, 400, 404), (path, value)
    if name not in ("session", "user", "older_than"):
        assert client.delete("/api/v1/traces", params={name: HOSTILE[0]}).status_code == 400
    assert client.get(f"/api/v1/traces/hostile-{name}").status_code == 200


def test_a_query_of_a_megabyte_is_refused(client):
    """
    The request is not read to its end.
    """
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=10) as connection:
        connection.sendall(b"GET /api/v1/traces?" + b"name=x&" * 30_000)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 400")
    assert client.get("/api/v1/traces?" + "name=x&" * 100).status_code == 400


@pytest.mark.parametrize(
    "trace_id",
    ["with/slash", "a/b/../../c", "per%2Fcent", "../../etc/passwd", "question?", "hash#", "é", "a\x00b", "a\nb", "'"],
)
def test_any_id_is_found_and_deleted_by_its_path(client, trace_id):
    """
    An id is a text: nothing in it leads to another route, to a file or into SQL.
    """
    send(client, lines_of_trace(trace_id))
    path = f"/api/v1/traces/{quote(trace_id, safe='')}"

    assert client.get(path).json()["trace"]["trace_id"] == trace_id.replace("\x00", "�")
    assert client.post(f"{path}/scores", content=b'{"name": "n", "value": 1}', headers=JSON).status_code == 200
    assert len(client.get(f"{path}/records").content.splitlines()) == 5
    assert client.delete(path).json() == {"deleted": 1}
    assert client.get(path).status_code == 404


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-1e400", "1" * 400, "null", "[]", "{}", "-9223372036854775809"])
def test_a_score_that_no_reader_understands_is_refused(client, value):
    """
    By its own route, and in a batch.
    """
    line = f'{{"record": "score", "trace_id": "scored", "name": "n", "id": "1", "value": {value}}}\n'.encode()
    answer = client.post("/api/v1/batches", content=line, headers=NDJSON).json()
    assert (answer["accepted"], answer["rejected"][0]["line"]) == (0, 1)
    given = f'{{"name": "n", "value": {value}}}'.encode()
    assert client.post("/api/v1/traces/scored/scores", content=given, headers=JSON).status_code == 400
    assert client.get("/api/v1/traces/scored/scores").json() == {"scores": []}


@pytest.mark.parametrize("id", ['{"a": 1}', "7", '"' + "x" * 513 + '"'])
def test_the_id_of_a_score_is_a_text(client, id):
    """
    A longer one would be cut, and could be that of another score.
    """
    given = f'{{"name": "n", "value": 1, "id": {id}}}'.encode()
    answer = client.post("/api/v1/traces/scored/scores", content=given, headers=JSON)
    assert (answer.status_code, "id of a score" in answer.json()["error"]) == (400, True)


@pytest.mark.parametrize(
    "texts",
    [
        ["schlüssel-geheim"],
        ["a:write:short"],
        [":write:long-enough"],
        ["spaces in the key"],
        ["tab\tin-the-key"],
        ["a:read:the-same-key", "b:all:the-same-key"],
    ],
)
def test_a_key_that_cannot_work_is_refused_at_the_start(texts):
    """
    A header has ASCII only; one secret with two rights would have one of them.
    """
    with pytest.raises(ConfigError) as caught:
        Keys.of(texts)
    assert not any(secret in str(caught.value) for secret in ("geheim", "long-enough", "the-same"))


def test_a_file_without_keys_does_not_open_the_collector_to_everybody(tmp_path):
    """
    A file of keys without a key is a mistake, not a collector for everybody.
    """
    keys = tmp_path / "keys"
    keys.write_text("# the keys come later\n\n")
    with pytest.raises(ConfigError, match="has no key"):
        Keys.of([], keys)


LIMITED = """
import sys
from pathlib import Path
from fluxloop.collector import limits, server
from fluxloop.collector.app import Options
from fluxloop.collector.stores.sqlite import SqliteStore
given = limits.Limits(**eval(sys.argv[3]))
server.run(SqliteStore(Path(sys.argv[1])), Options(limits=given), host="127.0.0.1", port=int(sys.argv[2]))
"""


@pytest.fixture
def limited(tmp_path):
    """A function that starts a collector with other limits, and returns its port."""
    processes = []

    def start(**limits):
        port = free_port()
        command = [sys.executable, "-c", LIMITED, str(tmp_path / "s.sqlite"), str(port), repr(limits)]
        environment = offline.environment(PYTHONPATH=str(ROOT))
        processes.append(subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL))
        wait_for(lambda: _answers(port))
        return port

    yield start
    for process in processes:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def _answers(port):
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=2).text == "ok"
    except httpx.HTTPError:
        return False


def _head(length, *headers):
    lines = ["POST /api/v1/batches HTTP/1.1", "Host: localhost", "Content-Type: application/x-ndjson"]
    return "\r\n".join([*lines, f"Content-Length: {length}", *headers, "", ""]).encode()


def test_bodies_that_are_received_at_the_same_time_share_a_limit(limited):
    """
    Each is within the limit of one body, all together would fill the memory: the last ones are answered with 503.
    """
    port = limited(waiting_bytes=1 << 20, body_s=20)
    url = f"http://127.0.0.1:{port}"
    held = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(4)]
    try:
        for connection in held:
            connection.sendall(_head(1 << 20) + b"x" * 250_000)
        wait_for(lambda: "fluxloop_waiting_bytes 1000000" in httpx.get(f"{url}/metrics", timeout=30).text)

        late = httpx.post(f"{url}/api/v1/batches", content=b"x" * 100_000, headers=NDJSON, timeout=30)
        bomb = httpx.post(
            f"{url}/api/v1/batches",
            content=gzip.compress(b" " * 8_000_000),
            headers={**NDJSON, "Content-Encoding": "gzip"},
            timeout=30,
        )
        assert (late.status_code, bomb.status_code) == (503, 503)
        assert httpx.post(f"{url}/api/v1/batches", content=b"{}", headers=NDJSON, timeout=30).status_code == 200
    finally:
        for connection in held:
            connection.close()
    wait_for(lambda: "fluxloop_waiting_bytes 0" in httpx.get(f"{url}/metrics", timeout=30).text)


def test_a_body_without_end_is_cut_off(limited):
    """
    Chunks that go on and on end at the limit of size.
    """
    port = limited(body_bytes=100_000)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        head = b"POST /api/v1/batches HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n"
        connection.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
        sent = 0
        try:
            while sent < 50_000_000:
                connection.sendall(b"1000\r\n" + b"x" * 4_096 + b"\r\n")
                sent += 4_096
        except OSError:
            pass
        assert sent < 50_000_000
    assert _answers(port)


def test_metrics_count_each_record_of_billions():
    """
    A counter that is rounded stands still, and then jumps.
    """
    metrics = Metrics()
    metrics.add("fluxloop_received_bytes_total", 12_345_678_901)
    metrics.add("fluxloop_records_total", 1_234_567, result="accepted")

    text = metrics.text({})
    assert "fluxloop_received_bytes_total 12345678901\n" in text
    assert 'fluxloop_records_total{result="accepted"} 1234567\n' in text


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
        b"Content-Length: 2, 3\r\n\r\n{}x",
        b"Content-Length: 0x2\r\n\r\n{}",
        b"Content-Length: +2\r\n\r\n{}",
        b"Content-Length: -2\r\n\r\n{}",
        b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n-1\r\nx\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}..0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        b"X: a\rTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n",
        b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_a_body_whose_length_is_ambiguous_ends_the_connection(client, framing):
    """
    What a proxy might take for the body and the collector for the next request is never answered as a request.
    """
    head = b"POST /api/v1/batches HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n"
    hidden = b"DELETE /api/v1/traces?older_than=1d HTTP/1.1\r\nHost: localhost\r\n\r\n"
    received = b""
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=10) as connection:
        connection.sendall(head + framing + hidden)
        with suppress(ConnectionError):
            while piece := connection.recv(65_536):
                received += piece

    assert received.startswith(b"HTTP/1.1 400")
    assert received.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    "host", ["localhost.evil.com", "127.0.0.1.nip.io", "localhost@evil.com", "0.0.0.0", "127.1", ""]
)
def test_a_name_that_only_looks_like_this_machine_is_refused(client, host):
    """
    The names that DNS rebinding uses.
    """
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=10) as connection:
        connection.sendall(f"GET /api/v1/traces HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        assert connection.recv(65_536).startswith(b"HTTP/1.1 421")


@pytest.mark.slow
def test_connections_beyond_the_limit_are_closed_and_leave_it_answering(limited):
    """
    Two hundred idle connections: those beyond twice the limit are closed at once, all others in time.
    """
    port = limited(connections=20, header_s=2)
    idle = []
    try:
        for _ in range(200):
            connection = socket.create_connection(("127.0.0.1", port), timeout=10)
            idle.append(connection)
        closed = sum(_is_closed(connection) for connection in idle)
        assert closed >= 100
        wait_for(lambda: _answers(port))
    finally:
        for connection in idle:
            connection.close()


def _is_closed(connection):
    connection.settimeout(0.005)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


@pytest.mark.slow
def test_a_client_that_takes_no_answer_is_cut_off(limited):
    """
    It asks for everything and reads nothing: its connection ends, with what it held.
    """
    port = limited(answer_s=0.5)
    url = f"http://127.0.0.1:{port}"
    for number in range(8):
        body = body_of(lines_of_trace(f"large{number}", text="x" * 1_000_000))
        assert httpx.post(f"{url}/api/v1/batches", content=body, headers=NDJSON, timeout=30).status_code == 200
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.settimeout(20)
        connection.connect(("127.0.0.1", port))
        connection.sendall(b"GET /api/v1/export HTTP/1.1\r\nHost: localhost\r\n\r\n")
        time.sleep(2)  # it reads nothing for longer than the limit
        received = 0
        try:
            while piece := connection.recv(1 << 20):
                received += len(piece)
        except OSError:
            pass
    assert received < 16_000_000
    assert _answers(port)


def test_what_is_deleted_while_it_is_read_ends_the_reading_in_order(store, write):
    """
    Four readers of lists, traces and records, and a thread that deletes: every line is whole, and in the end none is.
    """
    for number in range(120):
        write(lines_of_trace(f"t{number}", session_id=f"s{number % 10}"))
    stop = threading.Event()

    def read():
        seen = 0
        while not stop.is_set():
            for row in store.traces(CollectorFilter(), limit=50).rows:
                for line in store.records(row["trace_id"]):
                    assert orjson.loads(line)["trace_id"] == row["trace_id"]
                    seen += 1
        return seen

    with ThreadPoolExecutor(4) as threads:
        readers = [threads.submit(read) for _ in range(4)]
        try:
            deleted = sum(store.delete(Deletion(session_id=f"s{number}")) for number in range(10))
        finally:
            stop.set()
        assert all(reader.result() >= 0 for reader in readers)
    assert deleted == 120
    assert store.counts()["traces"] == 0


@pytest.mark.parametrize("age", ["30", "1.5", " 30 ", "-1d", "nan", "999999d", "1e9d", "30 days", ""])
def test_an_age_at_which_records_are_deleted_has_a_unit(client, age):
    """
    30 would count seconds, and delete almost everything; what goes back beyond the calendar is refused, too.
    """
    with pytest.raises(FilterError, match="retention must be a duration with its unit, such as 12h"):
        Retention.of(age)
    send(client, lines_of_trace(f"kept {age}"))
    answer = client.delete("/api/v1/traces", params={"older_than": age})
    assert answer.status_code == 400
    assert client.get(f"/api/v1/traces/{quote(f'kept {age}')}").status_code == 200


def test_retention_by_size_keeps_what_fits(store, write):
    """
    Also where the files of a database do not become smaller: the newest traces are left.
    """
    for first in range(0, 1_500, 300):
        traces = [
            lines_of_trace(f"t{number:04}", start=START + timedelta(seconds=number), text="some words " * 60)
            for number in range(first, first + 300)
        ]
        write([line for lines in traces for line in lines])
    full = store.counts()["bytes"]
    limit = full * 7 // 10  # a store that compresses takes little for all of them
    deleted = Retention(size_bytes=limit).apply(store, Clock())
    left = [row["trace_id"] for row in store.traces(CollectorFilter(), limit=1_000, oldest_first=True).rows]

    assert store.counts()["bytes"] <= limit
    assert deleted + len(left) == 1_500
    assert len(left) >= 500
    assert left == [f"t{number:04}" for number in range(deleted, 1_500)]
    assert Retention(size_bytes=limit).apply(store, Clock()) == 0


def test_a_clock_that_jumps_ahead_deletes_no_more_than_a_day_too_much(store, write):
    """
    Retention follows the clock to a day after the newest trace, and from there the time that the collector runs.
    """
    for days in (40, 29, 20, 0):
        write(lines_of_trace(f"{days} days", start=START - timedelta(days=days)))
    machine, running_s = START + timedelta(days=3_650), 0.0
    clock, month = Clock(lambda: machine, lambda: running_s), Retention(age=timedelta(days=30))

    def left():
        return [row["trace_id"] for row in store.traces(CollectorFilter(), limit=10).rows]

    assert (month.apply(store, clock), left()) == (1, ["0 days", "20 days", "29 days"])
    running_s = timedelta(days=10).total_seconds()
    assert (month.apply(store, clock), left()) == (2, ["0 days"])
    running_s = timedelta(days=29).total_seconds() - 1
    assert month.apply(store, clock) == 0
    write(lines_of_trace("newer", start=START + timedelta(hours=1)))
    running_s = timedelta(days=57).total_seconds()
    assert month.apply(store, clock) == 0
    machine, running_s = START + timedelta(days=30, seconds=1), timedelta(days=87).total_seconds()
    assert (month.apply(store, clock), left()) == (1, ["newer"])


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00Z", "0999-12-31T23:59:59Z", "1000-01-01T00:00:00Z"])
def test_a_trace_of_the_first_years_does_not_stop_retention_by_size(store, write, time):
    """
    Its start is answered as a time that can be parsed, and it is the first that is deleted.
    """
    line = orjson.loads(lines_of_trace("old")[-1])
    write([orjson.dumps(line | {"start_time": time})], *(lines_of_trace(f"t{number}") for number in range(20)))
    assert datetime.fromisoformat(store.trace("old")["start_time"]) == datetime.fromisoformat(time)
    smaller = store.counts()["bytes"] - 1

    assert Retention(size_bytes=smaller).apply(store, Clock()) > 0
    assert store.trace("old") is None


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", ""])
def test_retention_ends_where_all_traces_are_at_an_end_of_the_calendar(store, write, time):
    """
    No time is before the first or after the last one. By size all are deleted; by age those without a time, since the
    age is counted from the newest trace.
    """
    lines = [orjson.loads(line) for number in range(3) for line in lines_of_trace(f"t{number}")]
    batch = [orjson.dumps(line | {"start_time": time}) for line in lines]

    write(batch)
    assert Retention(size_bytes=0).apply(store, Clock()) == 3
    write(batch)
    assert Retention(age=timedelta(days=30)).apply(store, Clock()) == (0 if time else 3)
    assert store.counts()["traces"] == (3 if time else 0)


@pytest.mark.parametrize("store_url", ["sqlite", "postgresql"], indirect=True)  # ClickHouse drops days with all in them
def test_the_days_of_a_trace_that_was_resumed_are_kept_with_it(store, write):
    """
    A run that began four days ago and was resumed today under the same id is as old as its line says.
    """
    now = datetime.now(UTC)
    write(lines_of_trace("a", start=now - timedelta(days=4)), lines_of_trace("b", start=now - timedelta(days=4)))
    write(lines_of_trace("a", start=now)[-1:])

    assert store.delete(Deletion(before=now - timedelta(days=2))) == 1
    assert len(list(store.records("a"))) == 4
    assert store.trace("a")["observations"] == store.counts()["observations"] == 3
    assert sum(step.count for step in store.totals(Totals())) == 3
    assert write(lines_of_trace("a", start=now - timedelta(days=4))[:3]) == Written(0, 3)


@pytest.mark.parametrize("store_url", ["sqlite", "postgresql"], indirect=True)
def test_retention_while_four_senders_write_leaves_no_half_traces(store):
    """
    Old and young traces come in batches while the old ones are deleted again and again: the young are complete, and
    lists and totals agree.
    """
    now = datetime.now(UTC)
    old = now - timedelta(days=40)

    def batches(sender):
        for number in range(10):
            for age, start in (("old", old), ("young", now)):
                name = f"{age}{sender}-{number}"
                *observations, trace = lines_of_trace(name, start=start + timedelta(seconds=number))
                yield observations[:2]
                yield [*observations[2:], trace]

    def send(sender):
        for lines in batches(sender):
            wait_for(lambda lines=lines: _is_written(store, lines))

    stop = threading.Event()

    def delete():
        deleted = 0
        while not stop.is_set():
            deleted += Retention(age=timedelta(days=30)).apply(store, Clock())
        return deleted

    with ThreadPoolExecutor(5) as threads:
        deleting = threads.submit(delete)
        try:
            for sending in [threads.submit(send, sender) for sender in range(4)]:
                sending.result(60)
        finally:
            stop.set()
        deleting.result(60)
    Retention(age=timedelta(days=30)).apply(store, Clock())
    rows = store.traces(CollectorFilter(), limit=1_000).rows

    assert sorted(row["trace_id"] for row in rows) == sorted(f"young{s}-{n}" for s in range(4) for n in range(10))
    assert {row["observations"] for row in rows} == {3}
    assert sum(step.count for step in store.totals(Totals())) == 120
    assert store.counts()["observations"] == 120


def _is_written(store, lines):
    try:
        store.write(RowMaker().batch(lines).rows)
    except StoreError:
        return False
    return True


def test_two_collectors_follow_one_folder_each_with_its_own_folders(tmp_path):
    """
    ``serve A`` and ``serve A B`` at the same time: neither takes the index of the other.
    """
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        fluxloop.configure(storage="file", base_path=folder)
        with fluxloop.instrument(folder.name):
            pass
        fluxloop.flush()

    def names(server):
        return sorted(row["name"] for row in httpx.get(f"{server.url}/api/v1/traces", timeout=30).json()["traces"])

    with ServerProcess(folders[0]) as one, ServerProcess(*folders) as both:
        assert (names(one), names(both)) == (["a"], ["a", "b"])
        fluxloop.configure(storage="file", base_path=folders[0])
        with fluxloop.instrument("later"):
            pass
        fluxloop.flush()
        wait_for(lambda: names(one) == ["a", "later"])
        wait_for(lambda: names(both) == ["a", "b", "later"])
        assert (one.stop(), both.stop()) == (0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_two_collectors_share_a_store_while_traces_are_deleted_and_searched(tmp_path, request, kind):
    """
    Each trace comes in two parts, over both collectors and then again over one of them; what is left is exact.
    """
    url = str(tmp_path / "s.sqlite") if kind == "sqlite" else request.getfixturevalue("postgres_url")
    with (
        ServerProcess("--store", url, "--log-level", "error") as first,
        ServerProcess("--store", url, "--log-level", "error") as second,
        httpx.Client(base_url=first.url, timeout=60) as one,
        httpx.Client(base_url=second.url, timeout=60) as other,
        ThreadPoolExecutor(8) as threads,
    ):

        def write(number):
            lines = [line for n in range(5) for line in lines_of_trace(f"t{number}-{n}", session_id=f"s{number % 4}")]
            send(one, lines[::2])
            send(other, lines[1::2])
            send((one, other)[number % 2], lines)

        tasks = [threads.submit(write, number) for number in range(40)]
        for number in range(10):
            client = (one, other)[number % 2]
            tasks.append(threads.submit(client.delete, "/api/v1/traces", params={"session": "s3"}))
            tasks.append(threads.submit(client.get, "/api/v1/traces", params={"text": "hello"}))
        for task in tasks:
            assert (answer := task.result()) is None or answer.status_code == 200
        one.delete("/api/v1/traces", params={"session": "s3"})

        for client in (one, other):
            sessions = client.get("/api/v1/sessions").json()["sessions"]
            assert sorted((s["session_id"], s["traces"], s["observations"]) for s in sessions) == [
                (f"s{number}", 50, 150) for number in range(3)
            ]
            assert sum(total["count"] for total in client.get("/api/v1/totals").json()["totals"]) == 450
            assert len(client.get("/api/v1/export").content.splitlines()) == 600
