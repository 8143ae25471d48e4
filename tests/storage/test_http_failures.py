"""Collectors that are away, slow or wrong: the program is not delayed, and nothing is lost."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Any

import httpx
import pytest
from blockbuster import blockbuster_ctx
from collector_aids import Behaviour, Collector, Reply, Request, collector, free_port, raw_server
from freezegun import freeze_time

from fluxloop.errors import WriteError
from fluxloop.storage import HTTPStorage, Record, record_file
from fluxloop.storage import http as http_module
from fluxloop.storage.uploader import MAX_RETRY_S, Uploader, retry_delay
from fluxloop.storage.wire import Answer, Link

Make = Callable[..., Record]


@pytest.fixture
def server() -> Iterator[Collector]:
    with collector() as running:
        yield running


@pytest.fixture
def opened(server: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., HTTPStorage]]:
    """Make a storage that retries without long waits."""
    monkeypatch.setattr("fluxloop.storage.uploader.FIRST_RETRY_S", 0.01)
    storages: list[HTTPStorage] = []

    def make(url: str = server.url, **options: Any) -> HTTPStorage:
        storages.append(
            HTTPStorage(url, **{"spool": tmp_path / "spool", "flush_interval": 0.01, "shutdown_timeout": 20, **options})
        )
        return storages[-1]

    yield make
    for storage in storages:
        storage.close()


def first(count: int, answer: Behaviour) -> Behaviour:
    """Answer *count* requests with *answer*, and store the following ones."""
    seen: list[Request] = []

    def behave(request: Request) -> Reply | None:
        seen.append(request)
        return answer(request) if len(seen) <= count else None

    return behave


FAULTS: dict[str, Reply] = {
    "500": Reply(500, "<html>Internal Server Error"),
    "502 of a proxy": Reply(502, b"\xff\xfe"),
    "503 with a wait": Reply(503, {"error": "the store is restarting"}, {"Retry-After": "0"}),
    "429 with a date": Reply(429, {"error": "slow down"}, {"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}),
    "429 with nonsense": Reply(429, "", {"Retry-After": "soon"}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_after_a_fault_that_passes_everything_arrives_once(
    server: Collector, opened: Any, record: Make, fault: str
) -> None:
    """
    The same batch is sent again under the same id, until it is stored.
    """
    server.behaviour = first(2, lambda _: FAULTS[fault])
    storage = opened()
    storage.write([record(1), record(2)])

    assert storage.flush(timeout=20)
    assert server.ids == ["o1", "o2"]
    assert len({request.headers["X-Fluxloop-Batch"] for request in server.requests}) == 1
    assert (storage.delivery.sent, storage.delivery.retried, storage.delivery.spooled) == (2, 2, 0)


WRONG: dict[str, tuple[Reply, str]] = {
    "401": (Reply(401, {"error": "no key"}), "accepts no request without a key (answer 401): set api_key="),
    "403": (Reply(403, {"error": "read-only"}), "(answer 403): set api_key="),
    "404": (Reply(404, "not found"), "answered 404: check collector_url"),
    "a page": (Reply(200, b"<html>Welcome"), "not as a collector does"),
    "another API": (Reply(200, {"ok": True}), "not as a collector does"),
    "accepted is text": (Reply(200, {"accepted": "2"}), "not as a collector does"),
    "no content": (Reply(204, b""), "not as a collector does"),
    "400 of something else": (Reply(400, "<html>Bad Request"), "answered 400: check collector_url"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_what_somebody_has_to_correct_is_said_once_and_nothing_is_lost(
    opened: Any, server: Collector, record: Make, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    """
    One line with what to do, however often it is tried; the records wait in the spool.
    """
    reply, message = WRONG[fault]
    server.behaviour = lambda _: reply
    storage = opened()
    for number in range(3):
        storage.write([record(number)])
        assert not storage.flush()

    [logged] = [entry.getMessage() for entry in caplog.records]
    assert message in logged
    assert storage.delivery.spooled == 3
    assert [each["id"] for each in storage.unsent()] == ["o0", "o1", "o2"]

    server.behaviour = lambda _: None
    assert storage.flush(20)
    assert server.ids == ["o0", "o1", "o2"]


def test_a_refused_key_is_not_tried_again_and_again(server: Collector, opened: Any, record: Make) -> None:
    """
    After a 401 the thread waits a minute, however many records are written.
    """
    server.behaviour = lambda _: Reply(401)
    storage = opened(buffer_size=1)
    storage.write([record(1)])
    server.wait(lambda: server.requests)
    for number in range(100):
        storage.write([record(number)])

    assert retry_delay(Answer(is_permanent=True), 1) == MAX_RETRY_S
    assert len(server.requests) == 1


def test_redirects_are_not_followed(server: Collector, opened: Any, record: Make) -> None:
    """
    The other host gets no request, and so no key; the message has the address to set.
    """
    with collector() as other:
        server.behaviour = lambda _: Reply(307, "", {"Location": f"{other.url}/api/v1/batches"})
        storage = opened(api_key="sk-mine")
        storage.write([record(1)])

        assert not storage.flush()
        assert not other.requests
        assert f"redirects to {other.url}" in storage.delivery.problems.own()[0]
        server.behaviour = lambda _: None


@pytest.mark.parametrize("names_limit", [True, False])
def test_a_batch_that_is_too_large_is_split(server: Collector, opened: Any, record: Make, names_limit: bool) -> None:
    """
    Down to what the collector accepts, in order; the one record that is too large alone is kept in a file.
    """
    limit = 400
    body = {"limit": limit} if names_limit else {}
    server.behaviour = lambda request: Reply(413, body) if len(request.body) > limit else None
    storage = opened()
    storage.write([record(number, input="x" * (1000 if number == 7 else 50)) for number in range(20)])

    assert storage.flush(20)
    assert server.ids == [f"o{number}" for number in range(20) if number != 7]
    assert (storage.delivery.sent, storage.delivery.dropped, storage.delivery.spooled) == (19, 1, 0)
    refused = (storage.spool / "refused.jsonl").read_text()
    assert refused.startswith('{"id":"o7"')
    assert refused.count("\n") == 1
    assert len(server.requests) < 60


def test_a_record_that_spoils_its_batch_is_found(server: Collector, opened: Any, record: Make) -> None:
    """
    A collector that answers 400 with a reason gets the other records; the bad one is kept in a file.
    """
    server.behaviour = lambda request: Reply(400, {"error": "bad"}) if b'"o3"' in request.body else None
    storage = opened()
    storage.write([record(number) for number in range(10)])

    assert storage.flush(20)
    assert server.ids == [f"o{number}" for number in range(10) if number != 3]
    assert '"o3"' in (storage.spool / "refused.jsonl").read_text()


def test_rejected_lines_are_kept_in_a_file_and_counted(server: Collector, opened: Any, record: Make) -> None:
    """
    The good lines of the batch are stored; numbers that no line has are ignored.
    """
    listed = [{"line": 2, "reason": "no type"}, {"line": 99, "reason": "?"}, {"line": 0}, "x", {"line": "1"}]
    server.behaviour = lambda _: Reply(200, {"accepted": 2, "duplicates": 0, "rejected": listed})
    storage = opened()
    storage.write([record(1), record(2), record(3)])

    assert storage.flush(20)
    assert (storage.delivery.sent, storage.delivery.dropped) == (2, 1)
    assert (storage.spool / "refused.jsonl").read_bytes() == record(2).line
    assert "does not accept a record, which is kept in" in storage.delivery.problems.own()[0]


def drain(connection: socket.socket) -> None:
    connection.recv(65_536)


def hang(connection: socket.socket) -> None:
    threading.Event().wait(20)


def half_close(connection: socket.socket) -> None:
    drain(connection)
    connection.shutdown(socket.SHUT_WR)
    hang(connection)


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    connection.close()


def cut(connection: socket.socket) -> None:
    drain(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{")
    connection.close()


def garbage(connection: socket.socket) -> None:
    drain(connection)
    connection.sendall(b"\x16\x03\x01 SSH-2.0 nonsense\r\n\r\n")
    connection.close()


def endless(connection: socket.socket) -> None:
    drain(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.sendall(b"10000\r\n" + b" " * 0x10000 + b"\r\n")


def trickle(connection: socket.socket) -> None:
    drain(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(1000):
        connection.sendall(b" ")
        threading.Event().wait(0.02)


SOCKETS = [hang, half_close, reset, cut, garbage, endless, trickle]


@pytest.mark.parametrize("serve", SOCKETS, ids=lambda serve: serve.__name__)
def test_a_connection_that_misbehaves_ends_within_the_timeout(
    opened: Any, record: Make, serve: Callable[[socket.socket], object]
) -> None:
    """
    Writing takes no longer than usual, the attempt ends, and the record waits in the spool.
    """
    with raw_server(serve) as url:
        storage = opened(url, timeout=0.2)
        began = perf_counter()
        for number in range(50):
            storage.write([record(number)])
        written = perf_counter()
        assert not storage.flush()
        ended = perf_counter()
        storage.close()

    assert written - began < 5
    assert ended - written < 15
    assert storage.delivery.sent == 0
    assert len(list(storage.unsent())) == 50


def test_a_flush_ends_after_its_timeout(opened: Any, record: Make) -> None:
    """
    A collector that never answers delays `flush(0.2)` by 0.2 seconds.
    """
    with raw_server(hang) as url:
        storage = opened(url, timeout=30)
        storage.write([record(1)])
        began = perf_counter()
        assert not storage.flush(timeout=0.2)

        assert 0.2 <= perf_counter() - began < 10


def test_a_flush_without_a_timeout_ends_when_nothing_is_stored(opened: Any, record: Make) -> None:
    """
    A collector that hangs cannot block `flush()` or `shutdown()` for longer than the exit.
    """
    with raw_server(hang) as url:
        storage = opened(url, timeout=60, shutdown_timeout=0.3)
        storage.write([record(1)])
        began = perf_counter()
        assert not storage.flush()

        assert 0.3 <= perf_counter() - began < 10


def test_a_large_spool_is_sent_by_several_segments(
    server: Collector, opened: Any, record: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A segment that is large is followed by a new one, and removed when no thread can write to it any more.
    """
    monkeypatch.setattr("fluxloop.storage.spool.SEGMENT_BYTES", 10_000)
    monkeypatch.setattr("fluxloop.storage.spool.QUIET_S", 0)
    storage = opened(flush_interval=0)

    def work(name: int) -> None:
        for number in range(150):
            storage.write([record(f"{name}-{number:03}", input="x" * 200)])

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert storage.flush(30)
    storage.write([record("last")])
    assert storage.flush(30)

    assert len(server.ids) == len(set(server.ids)) == 601
    for name in range(4):
        own = [each for each in server.ids if each.startswith(f"o{name}-")]
        assert own == sorted(own)
    assert sum(path.stat().st_size for path in storage.spool.iterdir()) < 60_000


def test_when_the_collector_comes_back_all_arrives_in_order(opened: Any, record: Make) -> None:
    """
    Records of the outage and later ones, each once.
    """
    port = free_port()
    storage = opened(f"http://127.0.0.1:{port}")
    for number in range(20):
        storage.write([record(number)])
    assert not storage.flush()

    with collector(port) as server:
        storage.write([record(20)])
        assert storage.flush(20)

    assert server.ids == [f"o{number}" for number in range(21)]


def test_a_batch_whose_answer_was_lost_counts_once(server: Collector, opened: Any, record: Make) -> None:
    """
    The collector stored it, and the connection ended before the answer: it is sent again as the same batch.
    """

    def store_and_fail(request: Request) -> Reply:
        server.store(request)
        return Reply(500)

    server.behaviour = first(1, store_and_fail)
    storage = opened()
    storage.write([record(1)])
    storage.write([record(2)])

    assert storage.flush(20)
    assert server.ids == ["o1", "o2"]
    assert storage.delivery.sent == 2


def test_waits_grow_vary_and_follow_the_collector() -> None:
    """
    Half a second at first, a minute at most; `Retry-After` decides where the collector sent it, up to five minutes.
    """
    delays = [[retry_delay(Answer(), failures) for _ in range(50)] for failures in (1, 2, 5, 30, 5000)]

    assert all(len(set(each)) > 10 for each in delays)
    assert [round(max(each), -1) for each in delays] == [0, 0, 10, 60, 60]
    assert all(min(each) >= max(each) / 2.1 for each in delays)
    assert 3 <= retry_delay(Answer(retry_after_s=3), 9) <= 3.5


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("3", 3),
        ("1e9", 300),
        ("-5", 0),
        ("nan", None),
        ("inf", 300),
        ("x", None),
        ("Fri, 01 Jan 2100 00:00:00 GMT", 300),
    ],
)
def test_a_retry_after_is_bounded(value: str, wait: float | None, server: Collector) -> None:
    """
    A collector cannot make the program wait for ever, nor crash its thread.
    """
    server.behaviour = lambda _: Reply(503, "", {"Retry-After": value})

    assert Link(server.url).send(b"{}\n", "a" * 32).retry_after_s == wait


def test_memory_is_bounded_while_the_spool_cannot_be_written(
    server: Collector, opened: Any, record: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """
    On a read-only disk records are sent from memory; beyond its limit, they are refused with an error.
    """
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setattr(http_module, "MAX_MEMORY_BYTES", 200)
    storage = opened(spool=tmp_path / "file" / "spool", auto_flush=False)
    lost = 0
    for number in range(20):
        try:
            storage.write([record(number)])
        except WriteError as error:
            lost += error.lost
    assert 0 < lost < 20
    assert storage.delivery.spooled == 20 - lost

    assert storage.flush(20)
    assert server.ids == [f"o{number}" for number in range(20 - lost)]
    assert "records are kept in memory until they are sent" in storage.delivery.problems.own()[0]


def test_what_is_in_memory_is_split_and_saved_too(server: Collector, opened: Any, record: Make, tmp_path: Path) -> None:
    """
    A 413 splits it; at the end it is written to the spool if that is possible by then.
    """
    blocker = tmp_path / "spool"
    blocker.write_text("not a folder")
    server.behaviour = lambda request: Reply(413) if len(request.lines) > 1 else None
    storage = opened(spool=blocker, auto_flush=False)
    storage.write([record(1), record(2), record(3)])
    assert storage.flush(20)
    assert server.ids == ["o1", "o2", "o3"]

    storage.write([record(4)])
    blocker.unlink()
    storage.close()
    assert [each["id"] for each in storage.unsent()] == ["o4"]


def test_a_line_cut_by_a_full_disk_is_not_counted_as_refused(
    server: Collector, opened: Any, record: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The record is sent from memory instead; the rest of it in the spool is rejected by the collector, and no loss.
    """
    storage = opened(auto_flush=False)
    storage.write([record(1)])
    real = record_file.os.write
    faults = [lambda fd, data: real(fd, data[:5]), lambda fd, data: 0]

    def write(fd: int, data: Any) -> int:
        return faults.pop(0)(fd, data) if faults and len(data) > 5 else real(fd, data)

    monkeypatch.setattr("os.write", write)
    storage.write([record(2)])
    storage.write([record(3)])
    monkeypatch.undo()
    assert storage.flush(20)

    assert sorted(server.ids) == ["o1", "o2", "o3"]
    assert (storage.delivery.sent, storage.delivery.dropped, storage.delivery.spooled) == (3, 0, 0)


def test_an_error_in_the_thread_does_not_end_it(
    server: Collector, opened: Any, record: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    It is logged once, and the records are sent after a wait.
    """
    monkeypatch.setattr("fluxloop.storage.sender.MAX_RETRY_S", 0.01)
    real = Uploader.drain
    faults = [MemoryError("none left"), RuntimeError("unexpected")]

    def broken(self: Uploader, *args: Any, **options: Any) -> Answer | None:
        if faults:
            raise faults.pop()
        return real(self, *args, **options)

    monkeypatch.setattr(Uploader, "drain", broken)
    storage = opened()
    storage.write([record(1)])

    server.wait(lambda: server.ids == ["o1"])
    assert "RuntimeError: unexpected" in storage.delivery.problems.own()[0]


def test_the_folder_may_be_deleted_at_any_time(server: Collector, opened: Any, record: Make) -> None:
    """
    Records after that are sent, and the thread goes on.
    """
    import shutil

    storage = opened()
    storage.write([record(1)])
    assert storage.flush(20)
    shutil.rmtree(storage.spool)
    storage.write([record(2), record(2, kind="trace")])
    assert storage.flush(20)

    assert set(server.ids) == {"o1", "o2", "t2"}


def test_an_event_loop_that_forbids_blocking_calls_is_not_blocked(
    server: Collector, tmp_path: Path, record: Make
) -> None:
    """
    The first record, the thread, the flush and the end, with a guard that raises on blocking calls.
    """

    async def main() -> None:
        storage = HTTPStorage(server.url, spool=tmp_path, flush_interval=0)
        for number in range(300):
            storage.write([record(number)])
        storage.write([record(300, kind="trace")])
        assert storage.flush(20)
        storage.close()

    with blockbuster_ctx():
        asyncio.run(main())

    assert len(server.ids) == 301


def test_a_stopped_clock_stops_nothing(server: Collector, opened: Any, record: Make) -> None:
    """
    Tests that freeze the time still send, retry and flush.
    """
    server.behaviour = first(2, lambda _: Reply(500))
    # It reads all attributes of all modules, and pandas, which those of ClickHouse's load then, can crash.
    with freeze_time("2026-01-17", ignore=["clickhouse_connect"]):
        storage = opened(buffer_size=1000)
        storage.write([record(1)])
        server.wait(lambda: server.ids == ["o1"])
        storage.write([record(2)])

        assert storage.flush(20)
    assert server.ids == ["o1", "o2"]


def test_no_answer_makes_the_thread_use_much_memory(opened: Any, record: Make) -> None:
    """
    An endless answer is cut off at a megabyte.
    """
    with raw_server(endless) as url, suppress(OSError):
        answer = Link(url, timeout=5).send(b"{}\n", "a" * 32)

    assert "its answer is too long" in answer.problem


def test_new_records_do_not_wait_for_a_large_backlog(server: Collector, tmp_path: Path, record: Make) -> None:
    """
    What ended processes left is sent in slices, between which the records of this process come first.
    """
    name = "999999-0123456789ab-{:06}.jsonl"
    for number in range(3):
        lines = b"".join(record(f"old{number}-{each}", input="x" * 50_000).line for each in range(100))
        (tmp_path / name.format(number)).write_bytes(lines)
    storage = HTTPStorage(server.url, spool=tmp_path, flush_interval=0)
    added: list[int] = []

    def add_one(_: Request) -> None:
        if len(added) < 3:
            added.append(len(added))
            storage.write([record(f"new{len(added)}")])

    server.behaviour = add_one
    storage.write([record("new0")])
    assert storage.flush(timeout=50)
    storage.close()

    assert len(server.ids) == 304
    assert [server.ids.index(f"onew{number}") < 250 for number in range(4)] == [True] * 4
    assert server.ids[0] == "onew0"


def test_many_segments_of_ended_processes_use_few_descriptors(server: Collector, tmp_path: Path, record: Make) -> None:
    """
    Three hundred short programs ran while the collector was away; the next one does not open all their files at once.
    """
    for number in range(300):
        (tmp_path / f"999999-0123456789ab-{number:06}.jsonl").write_bytes(record(number).line)
    most = 0

    def count_open(_: Request) -> None:
        nonlocal most
        most = max(most, len(list(Path("/proc/self/fd").iterdir())))

    before = len(list(Path("/proc/self/fd").iterdir()))
    server.behaviour = count_open
    storage = HTTPStorage(server.url, spool=tmp_path, flush_interval=0)
    storage.write([record("own")])
    assert storage.flush(timeout=50)
    storage.close()

    assert len(server.ids) == 301
    assert most < before + 60
    assert list(tmp_path.iterdir()) == []


def test_a_file_without_line_ends_does_not_fill_the_memory(
    server: Collector, tmp_path: Path, record: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A line longer than any record is left out, and counted; what follows is sent.
    """
    monkeypatch.setattr("fluxloop.storage.segment.MAX_LINE_BYTES", 3_000_000)
    path = tmp_path / "999999-0123456789ab-000000.jsonl"
    path.write_bytes(record(1).line + b"x" * 5_000_000 + b"\n" + record(2).line)
    storage = HTTPStorage(server.url, spool=tmp_path, flush_interval=0)
    storage.write([record(3)])
    assert storage.flush(timeout=20)
    storage.close()

    assert sorted(server.ids) == ["o1", "o2", "o3"]
    assert storage.delivery.dropped == 1
    assert "has a line that is too long for a record" in storage.delivery.problems.own()[0]


def test_a_number_that_became_another_file_is_not_sent(
    server: Collector, opened: Any, record: Make, tmp_path: Path
) -> None:
    """
    A program that closes descriptors it does not know, and opens a file: its content goes nowhere, and is not changed.
    """
    storage = opened()
    storage.write([record(1)])
    assert storage.flush(20)
    [segment] = storage._sender._own.values()
    storage.write([record(2)])
    secret = tmp_path / "secret"
    secret.write_text("a secret line\n" * 100)
    for number in (segment.file.fd, segment._sent.fd):
        fd = os.open(secret, os.O_RDWR)
        os.dup2(fd, number)
        os.close(fd)
    storage.write([record(3)])
    assert storage.flush(20)

    assert server.ids == ["o1", "o2", "o3"]
    assert not [request for request in server.requests if b"secret" in request.body]
    assert secret.read_text() == "a secret line\n" * 100


def test_a_flush_ends_when_another_thread_closes_the_storage(opened: Any, record: Make) -> None:
    """
    Without a timeout, too.
    """
    with raw_server(hang) as url:
        storage = opened(url, timeout=0.5)
        storage.write([record(1)])
        results: list[bool] = []
        threads = [threading.Thread(target=lambda: results.append(storage.flush())) for _ in range(3)]
        for thread in threads:
            thread.start()
        storage.close()
        for thread in threads:
            thread.join(20)

    assert not any(results)
    assert len(results) == 3


def test_the_reasons_of_a_collector_are_logged_as_one_clean_line(
    server: Collector, opened: Any, record: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Without the key, line ends, and characters that act on a terminal.
    """
    reason = "\x1b[31mno\nFAKE LOG LINE sk-mine"
    server.behaviour = lambda _: Reply(200, {"accepted": 0, "rejected": [{"line": 1, "reason": reason}]})
    storage = opened(api_key="sk-mine")
    storage.write([record(1)])
    assert storage.flush(20)

    assert [entry.getMessage().rpartition(": ")[2] for entry in caplog.records] == [" [31mno FAKE LOG LINE ***".strip()]


def test_a_thread_that_cannot_be_started_is_tried_again(
    server: Collector, opened: Any, record: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A process at its limit of threads keeps its records in the spool, and sends them later.
    """

    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr("fluxloop.storage.sender.start_new_thread", refuse)
        storage = opened(buffer_size=2)
        storage.write([record(1)])
        assert not storage.flush(1)
    for number in range(2, 6):
        storage.write([record(number)])

    server.wait(lambda: len(server.ids) == 5)
    assert "no thread can be started" in storage.delivery.problems.own()[0]


def test_scores_for_a_collector_that_has_none_are_kept_in_a_file(server: Collector, opened: Any, record: Make) -> None:
    """
    The protocol of FluxLoop 0.1 has no place for them: counted as dropped, and not as sent.
    """
    server.behaviour = lambda _: Reply(200, {"status": "ok"})
    score = Record("score", "20260117", b'{"id":"s1","trace_id":"t1","record":"score","name":"x","value":1}\n')
    storage = opened(protocol="upstream")
    storage.write([record(1, parent_id=None), score])

    assert storage.flush(20)
    assert (storage.delivery.sent, storage.delivery.dropped, len(server.requests)) == (1, 1, 1)
    assert (storage.spool / "refused.jsonl").read_bytes() == score.line


def test_an_answer_that_comes_byte_by_byte_ends_in_time(opened: Callable[..., HTTPStorage], record: Make) -> None:
    """Every byte is within the timeout, the headers never end: the batch is tried again, and then arrives."""
    stalled = threading.Event()

    def drip(connection: socket.socket) -> None:
        connection.recv(65_536)
        if stalled.is_set():
            body = b'{"accepted": 1}'
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            return
        connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        try:
            while True:
                connection.sendall(b"x")
                stalled.wait(0.02)
        finally:
            stalled.set()

    with raw_server(drip) as url:
        storage = opened(url, timeout=0.3)
        storage.write([record(1)])
        assert storage.flush(20)
    assert stalled.is_set()


def test_records_are_sent_if_httpx_keeps_its_connections_elsewhere(
    opened: Callable[..., HTTPStorage], server: Collector, record: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time limit of a whole answer needs a private name of httpx: without it, the limits of single steps stay."""

    class Moved(httpx.HTTPTransport):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.pool_of_connections = self.__dict__.pop("_pool")

        def handle_request(self, request: httpx.Request) -> httpx.Response:
            self.__dict__["_pool"] = self.pool_of_connections
            try:
                return super().handle_request(request)
            finally:
                del self.__dict__["_pool"]

        def close(self) -> None:
            self.pool_of_connections.close()

    monkeypatch.setattr(httpx, "HTTPTransport", Moved)
    storage = opened()
    storage.write([record(1)])

    assert storage.flush(20)
    assert len(server.requests) == 1
