"""
A ClickHouse server for the tests: that of FLUXLOOP_TEST_CLICKHOUSE_URL, or chdb behind a small HTTP front.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from serving_aids import free_port, wait_for

FRONT = Path(__file__).parent / "collector" / "chdb_front.py"


class ChdbServer:
    """The front in a process of its own, on a free port; it can be killed and started again over its folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = free_port()
        self.url = f"clickhouse://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        command = [sys.executable, str(FRONT), str(self._folder), str(self.port)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE)  # it ends when its input does
        wait_for(self._answers, 60)

    def _answers(self) -> bool:
        assert self._process.poll() is None, "the front has ended"
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ping", timeout=5):
            return True
        return False

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(10)
        if self._process.stdin:
            self._process.stdin.close()


@contextlib.contextmanager
def running_clickhouse() -> Iterator[str]:
    """Yield the URL of a server without a database; skip the test if there is none."""
    if given := os.environ.get("FLUXLOOP_TEST_CLICKHOUSE_URL"):
        yield given.rstrip("/")
        return
    with running_chdb() as server:
        yield server.url


@contextlib.contextmanager
def running_chdb() -> Iterator[ChdbServer]:
    if importlib.util.find_spec("chdb") is None:
        pytest.skip("no ClickHouse: set FLUXLOOP_TEST_CLICKHOUSE_URL, or install the extra dev-clickhouse")
    with tempfile.TemporaryDirectory(prefix="fluxloop-ch-", dir=_fast_folder()) as folder:
        server = ChdbServer(Path(folder) / "server")
        try:
            yield server
        finally:
            server.kill()


def _fast_folder() -> str | None:
    """Return a folder in memory, since the store waits for the disk after each insert; none ends with a process."""
    memory = "/dev/shm"
    return memory if os.path.isdir(memory) and shutil.disk_usage(memory).free > 2 * 10**9 else None


@contextlib.contextmanager
def new_database(server: str) -> Iterator[str]:
    """Yield the URL of a new, empty database of *server*."""
    name = f"fluxloop_{uuid4().hex}"
    run(f"{server}/default", f"CREATE DATABASE {name}")
    try:
        yield f"{server}/{name}"
    finally:
        run(f"{server}/default", f"DROP DATABASE {name} SYNC")


def run(url: str, statement: str) -> str:
    """Run *statement*, and return the answer as text."""
    from clickhouse_connect import get_client

    from fluxloop.collector.stores.clickhouse_url import address_of

    address = address_of(url)
    client = get_client(
        host=address.host,
        port=address.port,
        username=address.user,
        password=address.password,
        database=address.database,
        secure=address.is_secure,
        autogenerate_session_id=False,
    )
    try:
        return client.raw_query(statement).decode()
    finally:
        client.close()
