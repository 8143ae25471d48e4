"""
A full disk and a cut network, on either side: what was acknowledged is there, and what was not is sent again, once.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from time import monotonic

import httpx
import pytest
from collector.conftest import write_batches
from serving_aids import PostgresServer, ServerProcess, body_of, lines_of_trace, postgres_binaries, wait_for

from fluxloop.collector.stores import postgres_connections
from fluxloop.collector.stores.contract import StoreError
from fluxloop.collector.stores.opening import open_store
from fluxloop.collector.stores.postgres_connections import MAX_CONNECTIONS, MAX_WRITERS
from fluxloop.reading.filters import CollectorFilter
from fluxloop.storage import HTTPStorage, Record

pytestmark = pytest.mark.slow

NDJSON = {"Content-Type": "application/x-ndjson"}


@contextmanager
def disk_of(megabytes, folder):
    """Mount a file system of its own at *folder*."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    if os.name == "nt" or shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def small_disk(tmp_path):
    """A folder with a file system of its own, of 8 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    with disk_of(8, folder):
        yield folder


def post(server, number, text="x" * 20_000):
    body = body_of(lines_of_trace(f"t{number}", text=f"{os.urandom(8).hex()}{text}"))
    return httpx.post(f"{server.url}/api/v1/batches", content=body, headers=NDJSON, timeout=60)


def ids(url):
    found, cursor = [], None
    while True:
        parameters = {"limit": 1000} | ({"cursor": cursor} if cursor else {})
        answer = httpx.get(f"{url}/api/v1/traces", params=parameters, timeout=30).json()
        found += [row["trace_id"] for row in answer["traces"]]
        if (cursor := answer["next"]) is None:
            return found


def test_a_collector_on_a_full_disk_refuses_and_goes_on_when_there_is_space(small_disk):
    """
    Batches are refused with 503 once the disk is full; reading goes on, and nothing acknowledged is lost.
    """
    kept = []
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(2_000_000))
    with ServerProcess("--store", small_disk / "s.sqlite", "--log-level", "error") as server:
        for number in range(1_000):
            answer = post(server, number)
            if answer.status_code != 200:
                break
            kept.append(f"t{number}")
        assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
        assert len(kept) > 10
        assert set(ids(server.url)) == {*kept}
        ballast.unlink()
        wait_for(lambda: post(server, "late").status_code == 200)
        assert sorted(ids(server.url)) == sorted([*kept, "tlate"])
        assert server.stop() == 0
    with ServerProcess("--store", small_disk / "s.sqlite") as server:
        assert sorted(ids(server.url)) == sorted([*kept, "tlate"])


def test_a_store_on_a_disk_that_is_read_only_is_refused_with_the_reason(small_disk):
    """
    SQLite says only that it is unable to open the file; the file is not changed.
    """
    path = small_disk / "s.sqlite"
    open_store(f"sqlite:///{path}").close()
    before = path.read_bytes()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)

    for name in ("s.sqlite", "new.sqlite"):
        with pytest.raises(StoreError, match=f"{name} cannot be opened: the folder {small_disk} cannot be written"):
            open_store(f"sqlite:///{small_disk / name}")
    assert path.read_bytes() == before


def test_a_program_on_a_full_disk_sends_from_memory(small_disk, tmp_path):
    """
    The spool cannot grow: what it has no space for is sent without it, and all of it arrives once.
    """
    spool = small_disk / "spool"
    spool.mkdir()
    ballast = os.open(small_disk / "ballast", os.O_CREAT | os.O_WRONLY)
    with suppress(OSError):
        while os.write(ballast, bytes(4_096)):
            pass
    os.close(ballast)
    with ServerProcess("--store", tmp_path / "s.sqlite") as server:
        storage = HTTPStorage(server.url, spool=spool, flush_interval=0.05)
        for number in range(50):
            *observations, trace = lines_of_trace(f"t{number}")
            storage.write([Record("observation", "20261128", line + b"\n") for line in observations])
            storage.write([Record("trace", "20261128", trace + b"\n")])
        assert storage.flush(60)
        storage.close()
        assert (storage.delivery.dropped, sorted(ids(server.url))) == (0, sorted(f"t{n}" for n in range(50)))
        totals = httpx.get(f"{server.url}/api/v1/totals", timeout=30).json()["totals"]
        assert sum(one["count"] for one in totals) == 150


@pytest.fixture
def database_on_a_small_disk():
    """A PostgreSQL server whose files are on a file system with little space, and the folder of that."""
    if (binaries := postgres_binaries()) is None:
        pytest.skip("no PostgreSQL: install the package postgresql")
    with tempfile.TemporaryDirectory(prefix="fluxloop-pg-") as folder, disk_of(120, folder):
        database = PostgresServer(binaries, Path(folder))
        yield database, Path(folder)
        database.stop(signal.SIGQUIT)


def test_postgresql_on_a_full_disk_loses_nothing_that_was_acknowledged(database_on_a_small_disk, tmp_path, monkeypatch):
    """
    The log of transactions cannot grow, so the database ends at once: batches are refused, and the program keeps them
    in its spool. When there is space, everything arrives, once.
    """
    monkeypatch.setattr("fluxloop.storage.uploader.FIRST_RETRY_S", 0.05)
    database, disk = database_on_a_small_disk
    ballast = disk / "ballast"
    with open(ballast, "wb") as file:
        file.write(bytes(shutil.disk_usage(disk).free - 4_000_000))
    with ServerProcess("--store", f"{database.url}/postgres", "--log-level", "error") as server:
        storage = HTTPStorage(server.url, spool=tmp_path / "spool", flush_interval=0.01)
        acknowledged, sent, is_full = [], 0, False
        while not is_full:
            assert sent < 1_000
            is_full = (answer := post(server, f"direct{sent}", os.urandom(30_000).hex())).status_code != 200
            if not is_full:
                acknowledged.append(f"tdirect{sent}")
            lines = lines_of_trace(f"spooled{sent}", text=os.urandom(1_000).hex())
            storage.write([Record("observation", "20261128", line + b"\n") for line in lines])
            sent += 1
        assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
        assert not storage.flush(0.5)
        ballast.unlink()
        if not database.accepts():
            database.stop(signal.SIGQUIT)
            database.start()
        assert storage.flush(60)
        storage.close()

        spooled = [f"spooled{number}" for number in range(sent)]
        assert storage.delivery.dropped == 0
        found = ids(server.url)
        refused = f"tdirect{sent - 1}"  # it may be there: the answer says that it is not known to be durable
        assert sorted({*found} - {refused}) == sorted([*acknowledged, *spooled])
        assert len(found) == len({*found})
        totals = httpx.get(f"{server.url}/api/v1/totals", timeout=30).json()["totals"]
        assert sum(one["count"] for one in totals) == 3 * len(found)


class Cutter:
    """A proxy that ends the first connections after some bytes, in one of the two directions, and then no more."""

    def __init__(self, target, cuts, *, of_answers):
        self._target, self._cuts, self._of_answers = target, list(cuts), of_answers
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                limit = self._cuts.pop(0) if self._cuts else None
                server = socket.create_connection(self._target)
                ends = (client, server)
                for source, sink, is_answer in ((client, server, False), (server, client, True)):
                    of_this = limit if is_answer == self._of_answers else None
                    threading.Thread(target=self._copy, args=(source, sink, ends, of_this), daemon=True).start()

    def _copy(self, source, sink, ends, limit):
        with suppress(OSError):
            while data := source.recv(4_096):
                if limit is not None and (limit := limit - len(data)) < 0:
                    break
                sink.sendall(data)
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    @property
    def is_done(self):
        return not self._cuts

    def close(self):
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@contextmanager
def cutting(port, cuts, *, of_answers):
    cutter = Cutter(("127.0.0.1", port), cuts, of_answers=of_answers)
    try:
        yield cutter
    finally:
        cutter.close()


def test_a_lock_on_a_table_of_postgresql_stops_writers_and_no_readers(postgres_url, monkeypatch):
    """
    More batches than there are connections wait for the lock: questions are answered, and a batch that waited too
    long is refused once, so that its sender knows.
    """
    import psycopg

    store = open_store(postgres_url)
    write_batches(store, lines_of_trace("before"))
    with (
        closing(psycopg.connect(postgres_url)) as other,
        closing(store),
        ThreadPoolExecutor(2 * MAX_CONNECTIONS) as threads,
    ):
        other.execute("LOCK TABLE traces IN EXCLUSIVE MODE")
        waiting = [
            threads.submit(write_batches, store, lines_of_trace(f"t{number}")) for number in range(2 * MAX_CONNECTIONS)
        ]
        wait_for(lambda: other.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()[0] == MAX_WRITERS)
        store.check()
        assert [row["trace_id"] for row in store.traces(CollectorFilter(), limit=10).rows] == ["before"]
        other.rollback()
        assert sum(written.result(60).accepted for written in waiting) == 4 * len(waiting)

    monkeypatch.setattr(postgres_connections, "QUERY_S", 2)
    with closing(psycopg.connect(postgres_url)) as other, closing(open_store(postgres_url)) as store:
        other.execute("LOCK TABLE traces IN EXCLUSIVE MODE")
        start = monotonic()
        with pytest.raises(StoreError, match="statement timeout"):
            write_batches(store, lines_of_trace("late"))
        assert monotonic() - start < 4


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize("of_answers", [False, True])
def test_a_network_that_is_cut_in_mid_batch_loses_and_doubles_nothing(
    tmp_path: Path, request, kind, of_answers, monkeypatch
):
    """
    Six connections end within the batch, or between the commit and its acknowledgement.
    """
    monkeypatch.setattr("fluxloop.storage.uploader.FIRST_RETRY_S", 0.05)
    url = f"sqlite:///{tmp_path / 's.sqlite'}" if kind == "sqlite" else request.getfixturevalue("postgres_url")
    cuts = [20, 0, 60, 0, 100, 0] if of_answers else [100, 5_000, 300, 9_000, 0, 12_000]
    with ServerProcess("--store", url) as server, cutting(server.port, cuts, of_answers=of_answers) as cutter:
        storage = HTTPStorage(cutter.url, spool=tmp_path / "spool", flush_interval=0.01)
        for number in range(100):
            text = os.urandom(2_000).hex()
            lines = lines_of_trace(f"t{number}", text=text)
            storage.write([Record("observation", "20261128", line + b"\n") for line in lines])
        assert storage.flush(60)
        storage.close()
        assert cutter.is_done
        assert storage.delivery.retried >= 6
        assert sorted(ids(server.url)) == sorted(f"t{number}" for number in range(100))
        totals = httpx.get(f"{server.url}/api/v1/totals", timeout=30).json()["totals"]
        assert sum(one["count"] for one in totals) == 300
        lines = httpx.get(f"{server.url}/api/v1/export", timeout=30).content.splitlines()
        assert len(lines) == len({*lines}) == 400
