"""
``fluxloop serve`` as a process: what is received, what is refused, and what survives faults.
"""

from __future__ import annotations

import gzip
import json
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import httpx
import offline
import orjson
import pytest
from serving_aids import (
    ROOT,
    START,
    ServerProcess,
    body_of,
    free_port,
    iso,
    lines_of_trace,
    postgres_binaries,
    running_postgres,
    wait_for,
)

import fluxloop
from fluxloop.collector.records import RowMaker
from fluxloop.errors import FilterError, ReadError

NDJSON = {"Content-Type": "application/x-ndjson"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A collector that many tests share; each uses traces of its own."""
    folder = tmp_path_factory.mktemp("server")
    with ServerProcess("--store", folder / "store.sqlite", "--max-body", "200000") as process:
        yield process


def post(server, body, headers=NDJSON, path="/api/v1/batches", **options):
    return httpx.post(server.url + path, content=body, headers=headers, timeout=30, **options)


def get(server, path, **options):
    return httpx.get(server.url + path, timeout=30, **options)


def test_a_batch_is_kept_and_counts_once(server):
    """
    The answer has what was accepted; the same batch again, compressed, is nothing but duplicates.
    """
    body = body_of(lines_of_trace("batch", session_id="batch"))

    assert post(server, body).json() == {"accepted": 4, "duplicates": 0, "rejected": []}
    packed = post(server, gzip.compress(body), {**NDJSON, "Content-Encoding": "gzip"})
    assert packed.json() == {"accepted": 0, "duplicates": 4, "rejected": []}
    assert get(server, "/api/v1/traces?session=batch").json()["traces"][0]["observations"] == 3


def test_good_lines_are_kept_beside_bad_ones(server):
    """
    Each rejected line is named with its number and the reason.
    """
    bad = [b"", b"{", b"[1]", b'{"a":1}', b'{"record":"score","trace_id":"x"}', b"\xff\xfe", b'"text"', b"null"]
    answer = post(server, b"\n".join([*bad, *lines_of_trace("mixed")])).json()

    assert answer["accepted"] == 4
    assert [rejected["line"] for rejected in answer["rejected"]] == [2, 3, 4, 5, 6, 7, 8]
    assert all(rejected["reason"] for rejected in answer["rejected"])


@pytest.mark.parametrize("line", [b"x", b"{}", b"[1]", b'{"id":"a"}'])
def test_a_body_of_lines_that_are_not_records_is_refused_early(server, line):
    """
    Nothing after 1,000 rejected lines is read: the answer has the first reason, and nothing was kept.
    """
    answer = post(server, b"\n".join([*lines_of_trace("among-others"), *[line] * 15_000]))

    assert answer.status_code == 413
    assert "the first is line 5" in answer.json()["error"]
    assert get(server, "/api/v1/traces/among-others").status_code == 404
    few = post(server, b"\n".join([*lines_of_trace(f"few-{len(line)}"), *[line] * 1_000])).json()
    assert (few["accepted"], few["rejected_count"], len(few["rejected"])) == (4, 1_000, 100)


def test_reading_ends_with_too_many_rejected_lines():
    """
    The work does not grow with the lines that follow.
    """
    lines = iter([b"x"] * 50_000)
    batch = RowMaker().batch(lines, most_rejected=1_000)

    assert len(batch.rejected) == 1_001
    assert len([*lines]) == 48_999


DEEP = b'{"id":"d","trace_id":"deep","type":"SPAN","name":"n","input":' + b"[" * 5000 + b"]" * 5000 + b"}"


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (DEEP, {}, 200),
        (b'{"trace_id":' * 15_000, {}, 200),
        (b"[" * 190_000, {}, 200),
        (b"x" * 200_001, {}, 413),
        (b"", {"Content-Length": str(10**9)}, 413),
        (b"", {"Content-Length": "9" * 30}, 400),
        (lambda: gzip.compress(bytes(10**9)), {"Content-Encoding": "gzip"}, 413),
        (b"no gzip", {"Content-Encoding": "gzip"}, 400),
        (lambda: gzip.compress(b"x")[:-4], {"Content-Encoding": "gzip"}, 400),
        (lambda: gzip.compress(b"") * 9_000, {"Content-Encoding": "gzip"}, 400),
        (b"{}", {"Content-Encoding": "br"}, 415),
        (b"{}", {"Content-Type": "text/plain"}, 415),
        (b"{}", {"Content-Type": "application/x-www-form-urlencoded"}, 415),
        (b"\xff" * 1000, {}, 200),
        (b'{"id":1e999,"trace_id":[],"type":{},"name":null,"parent_id":{"a":[]}}', {}, 200),
        (b'{"id":"a","trace_id":"w","type":5,"name":{},"start_time":[],"duration_ms":"x","usage":7,"tags":1}', {}, 200),
    ],
)
def test_hostile_bodies_are_answered_and_change_nothing(server, body, headers, status):
    """
    Deep JSON, compression bombs, claimed sizes, wrong types, invalid UTF-8: an answer each, and the server lives.
    """
    if callable(body):  # packed now, since a packed body contains the time
        body = body()
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        head = {
            "Host": "localhost",
            "Content-Type": "application/x-ndjson",
            "Content-Length": str(len(body)),
            **headers,
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
        try:
            connection.sendall(f"POST /api/v1/batches HTTP/1.1\r\n{lines}\r\n".encode() + body)
        except (BrokenPipeError, ConnectionResetError):
            assert status == 413  # answered before it had read everything
        answer = b""
        while not answer.endswith((b"}", b"Invalid HTTP request received.")):
            answer += (part := connection.recv(65_536))
            assert part, answer

    assert answer.startswith(f"HTTP/1.1 {status}".encode()), answer
    assert get(server, "/healthz").text == "ok"
    if status == 413:
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["limit"] in (200_000, 800_000)


def test_the_paths_of_the_published_packages_are_understood(server):
    """
    One trace and one observation per request, in their spellings.
    """
    trace = {"id": "up", "name": "old", "start_time": "2026-01-17T14:30:22", "session_id": "old"}
    step = {"id": "s1", "type": "generation", "name": "llm", "parent_observation_id": None, "prompt_tokens": 3}
    step |= {"start_time": "2026-01-17T14:30:22", "end_time": "2026-01-17T14:30:23", "completion_tokens": 4}

    assert post(server, orjson.dumps(trace), {"Content-Type": "application/json"}, "/api/traces").is_success
    answer = post(server, orjson.dumps(step), {"Content-Type": "application/json"}, "/api/traces/up/observations")
    assert answer.json() == {"id": "s1", "status": "ok"}
    (read,) = fluxloop.read_traces(server.url, session="old")
    assert [(o.name, o.type.name, o.usage.input_tokens) for o in read.observations] == [("llm", "GENERATION", 3)]


def test_read_traces_returns_the_same_as_from_files(server, tmp_path):
    """
    Real records, written to files and sent as they stand: both read back equal, also through filters.
    """
    fluxloop.configure(storage="file", base_path=tmp_path / "traces")

    @fluxloop.agent
    def same(question):
        with fluxloop.observe("step", "tool"):
            return question[::-1]

    for number in range(45):
        with fluxloop.instrument("outer", session_id="same", metadata={"n": number}):
            same(f"ä \u2028 {number}")
    fluxloop.flush()
    body = b"".join(path.read_bytes() for path in (tmp_path / "traces").glob("*.jsonl"))
    assert post(server, body).json()["rejected"] == []
    from_files = [trace.model_dump_json() for trace in fluxloop.read_traces(tmp_path / "traces")]
    from_server = [trace.model_dump_json() for trace in fluxloop.read_traces(server.url, session="same")]

    assert len(from_server) == 45
    assert sorted(from_server) == sorted(from_files)
    (seventh,) = fluxloop.read_traces(server.url, session="same", metadata="n=7")
    assert seventh.metadata["n"] == 7
    assert [t.trace_id for t in fluxloop.read_traces(server.url, trace_id=seventh.trace_id)] == [seventh.trace_id]
    assert [*fluxloop.read_traces(server.url, trace_id="none")] == []
    with pytest.raises(FilterError, match="unknown filter"):
        [*fluxloop.read_traces(server.url, sesion="x")]
    with pytest.raises(ReadError, match="no answer"):
        [*fluxloop.read_traces(f"http://127.0.0.1:{free_port()}")]


def test_scores_totals_sessions_export_and_deletion(server):
    """
    The rest of the query API, by a user's requests.
    """
    post(server, body_of(*(lines_of_trace(f"api{n}", session_id="api", tool="api-tool") for n in range(3))))
    score = {"name": "stars", "value": 4, "comment": "good"}
    scored = httpx.post(f"{server.url}/api/v1/traces/api1/scores", json=score, timeout=30)

    assert scored.json() == scored.json() | score | {"record": "score", "trace_id": "api1"}
    assert get(server, "/api/v1/traces/api1").json()["scores"] == [scored.json()]
    trace = get(server, "/api/v1/traces/api1?limit=2").json()
    assert (trace["trace"]["trace_id"], len(trace["observations"])) == ("api1", 2)
    rest = get(server, f"/api/v1/traces/api1?limit=2&after={trace['next']}").json()
    assert (len(rest["observations"]), rest["next"]) == (1, None)
    assert get(server, "/api/v1/sessions?session=api").json()["sessions"][0]["traces"] == 3
    assert "list traces" in get(server, "/api/v1/sessions?text=api").json()["error"]
    (total,) = get(server, "/api/v1/totals?by=name&name=api-tool&step=day").json()["totals"]
    assert (total["count"], total["time"], total["p50_ms"]) == (
        3,
        "2026-11-28T00:00:00.000000Z",
        pytest.approx(100, 0.02),
    )
    export = get(server, "/api/v1/export?session=api")
    assert len(export.text.splitlines()) == 3 * 4 + 1
    assert export.headers["content-disposition"] == 'attachment; filename="traces.jsonl"'
    assert httpx.delete(f"{server.url}/api/v1/traces/api1", timeout=30).json() == {"deleted": 1}
    assert httpx.delete(f"{server.url}/api/v1/traces?session=api", timeout=30).json() == {"deleted": 2}
    assert get(server, "/api/v1/traces/api1").status_code == 404
    for query in ("", "session=a&user=b", "older_than=x", "sesion=api"):
        assert httpx.delete(f"{server.url}/api/v1/traces?{query}", timeout=30).status_code == 400


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/api/v1/traces?sesion=a", "unknown parameter 'sesion'"),
        ("/api/v1/traces?limit=0", "limit must be"),
        ("/api/v1/traces?limit=" + "9" * 5000, "limit must be"),
        ("/api/v1/traces?cursor=x", "cursor must be"),
        ("/api/v1/traces?status=broken", "status must be one of"),
        ("/api/v1/traces?since=soon", "since must be"),
        ("/api/v1/traces?has_error=maybe", "has_error must be"),
        ("/api/v1/traces?min_cost=nan", "min_cost must be"),
        ("/api/v1/traces?name=" + "*a" * 20, "wildcards"),
        ("/api/v1/traces?name=%00", "NUL"),
        ("/api/v1/traces?name=" + "&name=".join("a" * 60), "50 times"),
        ("/api/v1/totals?by=user", "by must be one of"),
        ("/api/v1/totals?step=minute", "step must be one of"),
        ("/api/v1/records?limit=-1", "limit must be"),
    ],
)
def test_a_parameter_that_is_not_understood_is_named(server, path, said):
    """
    A misspelled condition does not select everything.
    """
    answer = get(server, path)

    assert answer.status_code == 400
    assert said in answer.json()["error"]


@pytest.mark.parametrize(
    "path",
    ["/../../etc/passwd", "/api/v1/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/static/../x", "//etc/passwd"],
)
def test_paths_lead_to_no_files(server, path):
    """
    The server has no files to give.
    """
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = connection.makefile("rb").read()

    assert answer.startswith(b"HTTP/1.1 404")
    assert b"the traces are at /api/v1/traces" in answer
    assert b"root:" not in answer


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": "localhost.evil.example"}, 421),
        ({"Host": "127.0.0.1.evil.example:80"}, 421),
        ({"Host": ""}, 421),
        ({"Host": "localhost:1"}, 200),
        ({"Host": "[::1]:8000"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:1"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
    ],
)
def test_pages_of_other_sites_are_refused(server, headers, status):
    """
    A name that resolves to this machine (DNS rebinding), and requests from other origins.
    """
    assert get(server, "/api/v1/traces", headers=headers).status_code == status


def test_metrics_count_requests_and_records(server):
    """
    In the text format of Prometheus; labels are routes, never paths.
    """
    post(server, body_of(lines_of_trace("secret-id-of-metrics")))
    get(server, "/api/v1/traces/secret-id-of-metrics")
    text = get(server, "/metrics").text

    assert 'fluxloop_requests_total{route="/api/v1/traces/{trace_id}",method="GET",status="200"}' in text
    assert 'fluxloop_records_total{result="accepted"}' in text
    assert "fluxloop_store_up 1" in text
    assert "secret-id" not in text
    assert get(server, "/readyz").text == "ok"


def test_the_openapi_document_names_every_route(server):
    """
    Every documented route answers, with something else than 404 and 405.
    """
    document = get(server, "/api/v1/openapi.json").json()

    assert document["openapi"].startswith("3.1")
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            answer = httpx.request(method, server.url + path.format(trace_id="openapi"), timeout=30)
            assert answer.status_code != 405
            media_type = answer.headers["content-type"].partition(";")[0]
            documented = operation["responses"]["200" if answer.is_success else "default"]["content"]
            assert media_type in documented


def test_sixty_four_clients_at_once_lose_nothing(server):
    """
    Every batch is acknowledged, and every trace is there.
    """
    with ThreadPoolExecutor(64) as threads:
        bodies = [body_of(lines_of_trace(f"crowd{n}", session_id="crowd")) for n in range(128)]
        answers = list(threads.map(lambda body: post(server, body), bodies))

    assert [answer.json()["accepted"] for answer in answers] == [4] * 128
    assert get(server, "/api/v1/sessions?session=crowd").json()["sessions"][0]["traces"] == 128


def test_keys_have_names_and_rights(tmp_path):
    """
    A key that writes cannot read, one that reads cannot write; without a key nothing but health is answered.
    """
    keys = tmp_path / "keys"
    keys.write_text("# keys\nsender:write:write-key-1\nviewer:read:read-key-12\nadmin:all:admin-key-1\n")
    with ServerProcess("--store", tmp_path / "s.sqlite", "--api-key-file", keys) as server:
        body = body_of(lines_of_trace("a"))

        def status(method, path, key=None, scheme="Bearer"):
            headers = {**NDJSON, **({"Authorization": f"{scheme} {key}"} if key else {})}
            return httpx.request(method, server.url + path, headers=headers, content=body, timeout=30).status_code

        expected = {
            ("POST", "/api/v1/batches"): (401, 401, 200, 403, 200),
            ("GET", "/api/v1/traces"): (401, 401, 403, 200, 200),
            ("GET", "/metrics"): (401, 401, 403, 200, 200),
            ("DELETE", "/api/v1/traces/none"): (401, 401, 403, 403, 200),
            ("GET", "/healthz"): (200, 200, 200, 200, 200),
        }
        for (method, path), statuses in expected.items():
            given = (None, "wrong-key-1", "write-key-1", "read-key-12", "admin-key-1")
            assert tuple(status(method, path, key) for key in given) == statuses, (method, path)
        assert status("GET", "/api/v1/traces", "read-key-12", "Basic") == 401
        refused = httpx.get(f"{server.url}/api/v1/traces", timeout=30)
        assert refused.headers["www-authenticate"].startswith("Bearer")
        assert "key" in refused.json()["error"]
        with pytest.raises(ReadError, match="FLUXLOOP_API_KEY"):
            [*fluxloop.read_traces(server.url)]
        assert server.stop() == 0
    log = "".join(server.output)
    assert "sender POST /api/v1/batches 200" in log
    assert "-key-1" not in log


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--host", "0.0.0.0"], "add --api-key"),
        (["--host", "::"], "add --api-key"),
        (["--api-key", "short"], "an API key from"),
        (["--store", "mysql://x:secret@y/z"], "a store must be"),
        (["--retention", "often"], "retention must be"),
        (["no-such-folder"], "no-such-folder"),
        (["--store", "postgresql://u:secret@127.0.0.1:1/x"], "does not answer"),
    ],
)
def test_a_wrong_start_is_one_line(tmp_path, arguments, said):
    """
    No traceback, no secret, and the exit code 2.
    """
    command = [sys.executable, "-m", "fluxloop", "serve", "--port", "0", *arguments]
    environment = offline.environment(PYTHONPATH=str(ROOT))
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=60)

    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr


def test_a_port_that_is_in_use_is_one_line(tmp_path):
    """
    Without the log lines of a server that starts and stops.
    """
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "fluxloop", "serve", "--port", str(port)]
        environment = offline.environment(PYTHONPATH=str(ROOT))
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=60)

    said = f"fluxloop: cannot listen on 127.0.0.1 port {port}: address already in use. Choose another --port, or --host"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"{said}\n")


def test_a_store_of_a_newer_version_is_one_line(tmp_path):
    """
    The collector does not start, and says what to do.
    """
    with closing(sqlite3.connect(tmp_path / "s.sqlite")) as newer:
        newer.execute("PRAGMA user_version = 999")
    command = [sys.executable, "-m", "fluxloop", "serve", "--port", "0", "--store", "s.sqlite"]
    environment = offline.environment(PYTHONPATH=str(ROOT))
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=60)

    assert done.returncode == 2
    assert "written by a newer FluxLoop (schema 999" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_a_backup_of_a_missing_store_is_an_error(tmp_path):
    """
    Neither the store nor the copy is created.
    """
    command = [sys.executable, "-m", "fluxloop", "backup", "copy.sqlite", "--store", "missing.sqlite"]
    environment = offline.environment(PYTHONPATH=str(ROOT))
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=60)

    assert done.returncode == 2
    assert "store not found: missing.sqlite. Name the file" in done.stderr
    assert [*tmp_path.iterdir()] == []


def test_a_slow_client_is_cut_off_and_others_are_answered(tmp_path, monkeypatch):
    """
    One byte a second: headers have to be there within their limit, and the body, too.
    """
    program = """
import dataclasses, sys
from pathlib import Path
from fluxloop.collector import limits, server
from fluxloop.collector.app import Options
from fluxloop.collector.stores.sqlite import SqliteStore
quick = limits.Limits(header_s=0.5, body_s=0.5)
server.run(SqliteStore(Path(sys.argv[1])), Options(limits=quick), host="127.0.0.1", port=int(sys.argv[2]))
"""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "s.sqlite"), str(port)],
        env=offline.environment(PYTHONPATH=str(ROOT)),
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: _listens(port))
        begun = b"POST /api/v1/batches HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n"
        slow_head, slow_body = (socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(2))
        slow_head.sendall(begun)
        slow_body.sendall(begun + b"Content-Length: 1000\r\n\r\n{")

        assert httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=30).text == "ok"
        assert slow_body.recv(65_536).startswith(b"HTTP/1.1 408")
        assert slow_head.recv(65_536) == b""
    finally:
        slow_head.close()
        slow_body.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def _listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_requests_beyond_the_rate_are_told_when_to_try_again(tmp_path):
    """
    429 with Retry-After; after that time the client is answered.
    """
    with ServerProcess("--store", tmp_path / "s.sqlite", "--max-rate", "2") as server:
        answers = [get(server, "/healthz") for _ in range(8)]
        late = next(answer for answer in answers if answer.status_code == 429)

        assert answers[0].status_code == 200
        assert int(late.headers["retry-after"]) >= 1
        wait_for(lambda: get(server, "/healthz").status_code == 200)


SENDER = """
import sys, time, httpx
sys.path.insert(0, {tests!r})
from serving_aids import body_of, lines_of_trace
url, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
for number in range(count):
    body = body_of(lines_of_trace(f"{{name}}-{{number}}", session_id="all"))
    while True:
        try:
            answer = httpx.post(f"{{url}}/api/v1/batches", content=body, timeout=30,
                                headers={{"Content-Type": "application/x-ndjson"}})
            if answer.status_code == 200:
                break
        except httpx.HTTPError:
            pass
        time.sleep(0.05)
print("sent", flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "clickhouse"])
def test_a_collector_that_is_killed_under_four_senders_loses_nothing(tmp_path, request, kind):
    """
    Killed and started again five times while four processes send: exactly what they sent is there, once.
    """
    url = (
        f"sqlite:///{tmp_path / 's.sqlite'}" if kind == "sqlite" else request.getfixturevalue(f"{_FIXTURES[kind]}_url")
    )
    port, count = free_port(), 15 if kind == "clickhouse" else 60  # the engine takes one statement at a time
    program = SENDER.format(tests=str(ROOT / "tests"))
    server = ServerProcess("--store", url, port=port)
    senders = [
        subprocess.Popen(
            [sys.executable, "-c", program, server.url, f"p{number}", str(count)],
            env=offline.environment(PYTHONPATH=str(ROOT)),
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    try:
        for round_number in range(1, 6):
            wait_for(lambda url=server.url, least=round_number * count // 3: _traces(url) >= least, 240)
            server.kill()
            server.__exit__()
            server = ServerProcess("--store", url, port=port)
        assert [sender.communicate(timeout=240)[0] for sender in senders] == ["sent\n"] * 4

        (session,) = get(server, "/api/v1/sessions").json()["sessions"]
        assert (session["traces"], session["observations"]) == (4 * count, 4 * count * 3)
        assert sum(t["count"] for t in get(server, "/api/v1/totals").json()["totals"]) == 4 * count * 3
        lines = get(server, "/api/v1/export").content.splitlines()
        assert len(lines) == len({*lines}) == 4 * count * 4
    finally:
        for sender in senders:
            sender.kill()
        server.__exit__()


@pytest.mark.slow
def test_a_database_that_crashes_under_load_loses_nothing(tmp_path):
    """
    PostgreSQL ends at once, twice, while eight threads send: what was acknowledged is there, once.
    """
    if (binaries := postgres_binaries()) is None:
        pytest.skip("no PostgreSQL: install the package postgresql")
    with (
        running_postgres(binaries) as database,
        ServerProcess("--store", f"{database.url}/postgres") as server,
        ThreadPoolExecutor(8) as threads,
    ):

        def send(number):
            body = body_of(lines_of_trace(f"db{number}", session_id="db"))
            return wait_for(lambda: (answer := post(server, body)).status_code == 200 and answer, 60)

        sent = [threads.submit(send, number) for number in range(200)]
        for least in (40, 100):
            wait_for(lambda least=least: sum(one.done() for one in sent) >= least, 60)
            database.stop(signal.SIGQUIT)
            assert get(server, "/readyz").status_code == 503
            assert get(server, "/healthz").status_code == 200
            database.start()
        for one in sent:
            one.result(60)

        (session,) = get(server, "/api/v1/sessions").json()["sessions"]
        assert (session["traces"], session["observations"]) == (200, 600)
        assert sum(t["count"] for t in get(server, "/api/v1/totals").json()["totals"]) == 600
        assert server.stop() == 0


_FIXTURES = {"postgresql": "postgres", "clickhouse": "clickhouse"}


def _traces(url):
    try:
        sessions = httpx.get(f"{url}/api/v1/sessions", timeout=60).json()["sessions"]
    except httpx.HTTPError:
        return 0
    return sum(session["traces"] for session in sessions)


def test_a_stop_answers_what_is_running(tmp_path):
    """
    SIGTERM while batches are sent: each one that was acknowledged is in the store afterwards.
    """
    store = tmp_path / "s.sqlite"
    acknowledged = []
    with ServerProcess("--store", store) as server:

        def send():
            for number in range(10_000):
                try:
                    post(server, body_of(lines_of_trace(f"stop{number}")))
                except httpx.HTTPError:
                    return
                acknowledged.append(f"stop{number}")

        sender = threading.Thread(target=send)
        sender.start()
        wait_for(lambda: len(acknowledged) > 20)
        assert server.stop() == 0
        sender.join(30)
    with ServerProcess("--store", store) as server:
        kept = {t["trace_id"] for t in get(server, "/api/v1/traces?limit=1000").json()["traces"]}

    assert {*acknowledged} <= kept


def test_a_full_disk_is_answered_with_503_and_loses_nothing(tmp_path):
    """
    Where the store cannot grow, the batch is refused, not acknowledged; after that it is accepted.
    """
    import sqlite3

    store = tmp_path / "s.sqlite"
    setup = "from fluxloop.collector.stores import sqlite_schema\nsqlite_schema.BUSY_S = 0.5"
    with ServerProcess("--store", store, setup=setup) as server:
        assert post(server, body_of(lines_of_trace("first"))).status_code == 200
        lock = sqlite3.connect(store, isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")  # the store cannot be written, as with a full disk
        refused = post(server, body_of(lines_of_trace("second")))
        assert refused.status_code == 503
        assert refused.headers["retry-after"]
        lock.execute("ROLLBACK")
        lock.close()
        assert post(server, body_of(lines_of_trace("second"))).json()["accepted"] == 4


def _all_in(source):
    return sorted(trace.model_dump_json() for trace in fluxloop.read_traces(source))


def test_folders_are_followed_without_ingest(tmp_path):
    """
    Files that exist, and what a running program adds to them; the index can be deleted at any time.
    """
    folder = tmp_path / "traces"
    fluxloop.configure(storage="file", base_path=folder)

    @fluxloop.agent
    def followed(word):
        return word

    followed("first")
    fluxloop.flush()
    with ServerProcess(folder) as server:
        assert get(server, "/api/v1/traces?text=first").json()["traces"][0]["name"] == "followed"
        followed("second")
        wait_for(lambda: get(server, "/api/v1/traces?text=second").json()["traces"])
        wait_for(lambda: _all_in(server.url) == _all_in(folder))  # the last line of the trace comes after that text
        assert post(server, body_of(lines_of_trace("a"))).status_code == 409
        assert httpx.delete(f"{server.url}/api/v1/traces?session=x", timeout=30).status_code == 409
        next(folder.glob("traces_*.jsonl")).unlink()
        next(folder.glob("observations_*.jsonl")).unlink()
        wait_for(lambda: not get(server, "/api/v1/traces").json()["traces"])
        assert server.stop() == 0
    for index in folder.glob(".collector-index*"):
        index.write_bytes(b"damaged")
    followed("third")
    fluxloop.flush()
    with ServerProcess(folder) as server:
        assert len(get(server, "/api/v1/traces").json()["traces"]) == 1


def test_an_index_does_not_change_what_other_commands_read(tmp_path):
    """
    The records of the folder are read as before.
    """
    folder = tmp_path / "traces"
    fluxloop.configure(storage="file", base_path=folder)
    with fluxloop.instrument("one"):
        pass
    fluxloop.flush()
    with ServerProcess(folder):
        pass

    assert [trace.name for trace in fluxloop.read_traces(folder)] == ["one"]


def test_old_traces_are_deleted(tmp_path):
    """
    ``--retention`` by age, at the start.
    """
    now = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())
    store = tmp_path / "s.sqlite"
    with ServerProcess("--store", store) as server:
        young = [line.replace(iso(START).encode(), now.encode()) for line in lines_of_trace("young")]
        old = [line.replace(b"2026-11-28", b"2020-11-28") for line in lines_of_trace("old")]
        post(server, body_of(young, old))
    with ServerProcess("--store", store, "--retention", "30d") as server:
        wait_for(lambda: [t["trace_id"] for t in get(server, "/api/v1/traces").json()["traces"]] == ["young"])


def test_a_collector_is_followed_in_the_terminal(tmp_path):
    """
    ``fluxloop view --follow URL``: a line for each observation that arrives from now on.
    """
    with ServerProcess("--store", tmp_path / "s.sqlite") as server:
        post(server, body_of(lines_of_trace("before")))
        *_, root, trace = later = lines_of_trace("later", tool="search")
        command = [sys.executable, "-m", "fluxloop", "view", "--follow", server.url, "--json"]
        environment = offline.environment(PYTHONPATH=str(ROOT))
        with subprocess.Popen(command, stdout=-1, stderr=-1, text=True, env=environment) as follow:
            assert follow.stderr.readline().endswith("Ctrl-C ends\n")
            post(server, body_of(later[:2]))
            names = [json.loads(follow.stdout.readline())["name"] for _ in range(2)]
            post(server, body_of([root, trace]))
            names.append(json.loads(follow.stdout.readline())["name"])
            follow.send_signal(signal.SIGINT)
            assert follow.wait(20) == 0

    assert sorted(names[:2]) == ["model", "search"]
    assert names[2] == "Bot"
