"""
A small collector for tests: a loopback HTTP server with the batch protocol, or with the faults that a test chooses.
"""

from __future__ import annotations

import gzip
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Request(NamedTuple):
    """One request, as received."""

    path: str
    headers: dict[str, str]
    body: bytes
    """Decompressed."""

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.body.splitlines()]


class Reply(NamedTuple):
    """An answer; the body of a dict is JSON."""

    status: int
    body: Any = ""
    headers: dict[str, str] = {}  # noqa: RUF012 - never changed


Behaviour = Callable[[Request], Reply | None]
"""Returns the answer to a request; None stores the batch and answers as a collector does."""


class Collector:
    """What the server was sent, and how it answers."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        """Every request, also those that were not stored."""
        self.records: list[dict[str, Any]] = []
        """The stored records, without duplicates, in order of arrival."""
        self.behaviour: Behaviour = lambda _: None
        self.changed = threading.Condition()
        self.url = ""
        self._ids: set[tuple[str, str, str]] = set()

    def restart(self, earlier: Collector) -> None:
        """Continue with what an *earlier* collector has stored."""
        self.records, self._ids, self.changed = earlier.records, earlier._ids, earlier.changed

    def wait(self, condition: Callable[[], object], timeout: float = 20) -> None:
        """Wait until *condition* is true; it is checked after each request."""
        with self.changed:
            assert self.changed.wait_for(condition, timeout), (
                f"{len(self.records)} records, {len(self.requests)} requests"
            )

    @property
    def ids(self) -> list[str]:
        """The ids of the stored observations, and of the traces, in order of arrival."""
        return [record.get("id", record["trace_id"]) for record in self.records]

    def store(self, request: Request) -> Reply:
        with self.changed:
            return self._store(request)

    def _store(self, request: Request) -> Reply:
        accepted = duplicates = 0
        rejected = []
        for number, line in enumerate(request.body.split(b"\n")[:-1], 1):
            try:
                record = json.loads(line)
            except ValueError:
                rejected.append({"line": number, "reason": "not JSON"})
                continue
            key = _key(record)
            if key in self._ids:
                duplicates += 1
            else:
                self._ids.add(key)
                self.records.append(record)
                accepted += 1
        return Reply(200, {"accepted": accepted, "duplicates": duplicates, "rejected": rejected})

    def answer(self, request: Request) -> Reply:
        with self.changed:
            self.requests.append(request)
        reply = self.behaviour(request)  # without the lock: it may wait
        with self.changed:
            if reply is None:
                reply = self.store(request)
            self.changed.notify_all()
        return reply


def _key(record: dict[str, Any]) -> tuple[str, str, str]:
    return ("observation" if "id" in record else "trace"), record["trace_id"], record.get("id", "")


@contextmanager
def collector(port: int = 0) -> Iterator[Collector]:
    """Run a collector on a free port of this machine, or on *port*."""
    state = Collector()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 65_536  # an answer is one packet: no wait for acknowledgements

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = dict(self.headers)
            if headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            reply = state.answer(Request(self.path, headers, body))
            content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            try:
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except OSError:
                self.close_connection = True  # the client has given up

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, *_: object) -> None:
            pass

    server = Server(("127.0.0.1", port), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def raw_server(serve: Callable[[socket.socket], object]) -> Iterator[str]:
    """Run a server that gives each connection to *serve*, in a thread of its own; yield its URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    connections: list[socket.socket] = []

    def run() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connections.append(connection)
            threading.Thread(target=_quietly, args=(serve, connection), daemon=True).start()

    threading.Thread(target=run, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for connection in connections:
            connection.close()


def _quietly(serve: Callable[[socket.socket], object], connection: socket.socket) -> None:
    with suppress(OSError):  # the client or the test has closed the connection
        serve(connection)


def free_port() -> int:
    """Return a port of this machine to which no server listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
