"""
Records, stores, servers and databases for the tests of the collector.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import offline
import orjson

ROOT = Path(__file__).parent.parent

START = datetime(2026, 11, 28, 12, tzinfo=UTC)


def iso(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%S.%fZ}"


def lines_of_trace(
    trace_id: str,
    *,
    name: str = "Bot",
    start: datetime = START,
    duration_ms: float = 100.0,
    tool: str = "search",
    error: str | None = None,
    model: str | None = "gpt-4o",
    tokens: int = 30,
    text: str = "hello",
    **fields: Any,
) -> list[bytes]:
    """Return the lines of a trace with an agent, a model call and a tool call, as the recorder writes them."""
    end = start + timedelta(milliseconds=duration_ms)
    common = {"trace_id": trace_id, "start_time": iso(start), "end_time": iso(end), "duration_ms": duration_ms}
    usage = {"input_tokens": tokens - 10, "output_tokens": 10, "total_tokens": tokens}
    ending = {"status": "error", "level": "ERROR", "error": error} if error else {"status": "success", "level": "INFO"}
    observations = [
        {"id": f"{trace_id}-1", "parent_id": f"{trace_id}-0", "type": "GENERATION", "name": "model", "seq": 1, **common}
        | {"status": "success", "level": "INFO", "model": model, "usage": usage, "output": "thinking"},
        {"id": f"{trace_id}-2", "parent_id": f"{trace_id}-0", "type": "TOOL", "name": tool, "seq": 2, **common}
        | {"input": {"q": text}, **ending},
        {"id": f"{trace_id}-0", "parent_id": None, "type": "AGENT", "name": name, "seq": 0, **common}
        | {"input": {"text": text}, "output": f"{text}!", "status": "success", "level": "INFO"},
    ]
    line = {"name": name, **common, "status": "success", "input": {"text": text}, "output": f"{text}!", "usage": usage}
    return [*map(orjson.dumps, observations), orjson.dumps(line | fields | {"schema": 1})]


def body_of(*traces: list[bytes]) -> bytes:
    return b"".join(line + b"\n" for lines in traces for line in lines)


# PostgreSQL: the server of FLUXLOOP_TEST_POSTGRES_URL, or one of our own.


def postgres_binaries() -> Path | None:
    """Return the folder with ``initdb`` and ``postgres``; None if PostgreSQL is not installed."""
    candidates = [Path(found).resolve().parent for name in ("initdb", "postgres") if (found := shutil.which(name))]
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next(
        (folder for folder in candidates if (folder / "initdb").exists() and (folder / "postgres").exists()), None
    )


class PostgresServer:
    """A server on a free port, in *folder*, as a user without privileges."""

    def __init__(self, binaries: Path, folder: Path) -> None:
        self._binaries, self._folder = binaries, folder
        self._as_user: dict[str, Any] = {}
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            import pwd

            user = pwd.getpwnam("postgres") if _has_user("postgres") else pwd.getpwuid(_UNPRIVILEGED)
            os.chown(folder, user.pw_uid, user.pw_gid)
            self._as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        self._environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": str(folder)}
        make = [binaries / "initdb", "-D", folder / "data", "-U", "fluxloop", "-A", "trust", "-E", "UTF8", "--no-sync"]
        options = {"env": self._environment, "cwd": folder, **self._as_user}
        subprocess.run([*map(str, make)], check=True, capture_output=True, **options)
        self.port = free_port()
        self.url = f"postgresql://fluxloop@127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        command = [self._binaries / "postgres", "-D", self._folder / "data", "-p", self.port]
        command += ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={self._folder}"]
        command += ["-c", "fsync=off", "-c", "full_page_writes=off"]  # only a crash of the machine could lose records
        options = {"env": self._environment, "cwd": self._folder, **self._as_user}
        self._process = subprocess.Popen([*map(str, command)], stderr=subprocess.DEVNULL, **options)
        wait_for(lambda: _accepts(self.port))

    def accepts(self) -> bool:
        """Whether a client can connect."""
        return _accepts(self.port)

    def stop(self, signal_number: int = signal.SIGINT) -> None:
        """Stop the server; SIGINT closes connections and ends it in order, SIGQUIT is like a crash."""
        self._process.send_signal(signal_number)
        self._process.wait(30)


@contextlib.contextmanager
def running_postgres(binaries: Path) -> Iterator[PostgresServer]:
    """Run a server until the block ends."""
    with tempfile.TemporaryDirectory(prefix="fluxloop-pg-") as folder:
        server = PostgresServer(binaries, Path(folder))
        try:
            yield server
        finally:
            server.stop()


_UNPRIVILEGED = 65_534
"""The user id that owns no files."""


def _has_user(name: str) -> bool:
    import pwd

    with contextlib.suppress(KeyError):
        return bool(pwd.getpwnam(name))
    return False


def _accepts(port: int) -> bool:
    import psycopg

    with contextlib.suppress(psycopg.OperationalError):
        psycopg.connect(f"postgresql://fluxloop@127.0.0.1:{port}/postgres").close()
        return True
    return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Any, seconds: float = 60) -> Any:
    """Call *condition* until it returns something true, and return that."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f"{condition} stayed false for {seconds} s")
        time.sleep(0.01)
    return found


# A collector in a process of its own.


class ServerProcess:
    """``fluxloop serve`` with *arguments*, on a free port of this machine; *setup* is code that runs before."""

    def __init__(self, *arguments: str | Path, port: int = 0, setup: str = "", **environment: str) -> None:
        program = ["-c", f"{setup}\nimport sys, fluxloop.cli\nsys.exit(fluxloop.cli.main())"] if setup else None
        options = ["serve", "--port", str(port), *map(str, arguments)]
        self.process = subprocess.Popen(
            [sys.executable, *(program or ["-m", "fluxloop"]), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=offline.environment(is_measured=True, PYTHONPATH=str(ROOT), **environment),
        )
        self.output: list[str] = []
        self.port = port
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self._ready.wait(30), self.output

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self.output.append(line)
            if found := re.search(r"running on http://\S+:(\d+)", line):
                self.port = int(found[1])
                self._ready.set()
        self._ready.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> int:
        """Ask the server to stop, and return its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        code = self.process.wait(30)
        self._reader.join(5)
        return code

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self.process.poll() is None:
            self.kill()
        self._reader.join(5)
        if self.process.stdout:
            self.process.stdout.close()
