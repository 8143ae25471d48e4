"""
Measure HTTP storage: its cost on the calling thread and in the whole process, and the exit while the collector is away.

The collector is a process of its own, which counts the lines it is sent.

    python -m benchmarks.sending sink                 the collector; prints its port
    python -m benchmarks.sending program URL FOLDER   the program whose exit is measured
"""

from __future__ import annotations

import atexit
import gzip
import json
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time_ns, thread_time_ns
from typing import Any

import fluxloop

from .payloads import ANSWER, QUERY
from .registry import report
from .results import Row, Spread, Target

CALLS = 20_000
"""Observations in one timed run."""

LONGEST_EXIT_S = 2.5
"""The exit with something to send: `shutdown_timeout`, and what the interpreter itself takes."""


@report("http-calls")
def http_calls(is_quick: bool) -> Row:
    """Make small tool calls with HTTP storage, compared with file storage: CPU time of the calling thread."""
    return _compared("http-calls", thread_time_ns, Target(1.3, "x"), is_quick=is_quick)


@report("http-process")
def http_process(is_quick: bool) -> Row:
    """Make the same calls until everything is sent: CPU time of the whole process."""
    return _compared("http-process", process_time_ns, Target(3, "x"), is_quick=is_quick)


def _compared(name: str, clock: Callable[[], int], target: Target, *, is_quick: bool) -> Row:
    rounds = 3 if is_quick else 15
    with TemporaryDirectory() as folder, sink() as url:
        files, sent = fluxloop.FluxLoopClient(), fluxloop.FluxLoopClient()
        files.configure(storage="file", base_path=Path(folder, "files"))
        sent.configure(storage="http", base_path=Path(folder, "http"), collector_url=url)
        _timed(files, clock)
        _timed(sent, clock)
        times = [(_timed(files, clock), _timed(sent, clock)) for _ in range(rounds)]
        counts = sent.report()
        sent.shutdown(30)
        stored = int(urllib.request.urlopen(url).read())
    floor, ours = (Spread.of([each / 1e3 / CALLS for each in of]).middle for of in zip(*times, strict=True))
    lost = counts.written - stored
    return Row(
        name,
        floor=floor,
        ours=ours,
        figure=Spread.of([own / other for other, own in times]),
        target=target,
        faults=(f"{lost} records lost",) if lost else (),
        note=f"floor: file storage; {stored:,} records, {lost} lost",
    )


def _timed(client: fluxloop.FluxLoopClient, clock: Callable[[], int]) -> int:
    """Return the time of `CALLS` tool calls in a trace, and of sending them, by *clock*."""

    @client.tool
    def search(query: Any, limit: int = 10) -> Any:
        return ANSWER

    @client.agent(capture_input=False)
    def run() -> None:
        for _ in range(CALLS):
            search(QUERY)

    begin = clock()
    run()
    assert client.flush(60)
    return clock() - begin


@report("http-down")
def http_down(is_quick: bool) -> Row:
    """End a program while its collector is away, and while it hangs; then start it again with one that works."""
    faults, notes = [], []
    for name, opened in (("away", _away), ("hanging", _hanging)):
        with TemporaryDirectory() as folder:
            with opened() as url:
                delay = _exit_delay(url, folder)
            with sink(url.rpartition(":")[2]):  # records are sent to the collector that they were recorded for
                _exit_delay(url, folder)
                stored = int(urllib.request.urlopen(url).read())
        lost = 2 * (RECORDS + 1) - stored
        notes.append(f"{name}: {delay:.2f} s to exit, {lost} of {RECORDS + 1} lost")
        if lost or delay > LONGEST_EXIT_S:
            faults.append(notes[-1])
    return Row("http-down", faults=tuple(faults), note="; ".join(notes))


RECORDS = 1_000
"""Observations of the program whose exit is measured."""


def _exit_delay(url: str, folder: str) -> float:
    command = [sys.executable, "-m", "benchmarks.sending", "program", url, folder]
    return float(subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout)


@contextmanager
def _away() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    yield f"http://127.0.0.1:{port}"


@contextmanager
def _hanging() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # accepts connections, and never reads
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def sink(port: str = "0") -> Iterator[str]:
    """Run the collector in a process of its own; yield its URL. A GET returns the number of lines it was sent."""
    command = [sys.executable, "-m", "benchmarks.sending", "sink", port]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


def _run_sink(port: int) -> None:
    ids: set[bytes] = set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers["Content-Encoding"] == "gzip":
                body = gzip.decompress(body)
            lines = body.splitlines()
            ids.update(line[:90] for line in lines)
            self._answer(json.dumps({"accepted": len(lines), "duplicates": 0, "rejected": []}).encode())

        def do_GET(self) -> None:
            self._answer(str(len(ids)).encode())

        def _answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()


def _run_program(url: str, folder: str) -> None:
    began: list[float] = []
    atexit.register(lambda: print(perf_counter() - began[0]))
    fluxloop.configure(storage="http", base_path=folder, collector_url=url)

    @fluxloop.tool
    def work() -> str:
        return "done"

    with fluxloop.instrument("run"):
        for _ in range(RECORDS - 1):
            work()
    atexit.register(lambda: began.append(perf_counter()))


if __name__ == "__main__":
    if sys.argv[1] == "sink":
        _run_sink(int(sys.argv[2]))
    else:
        _run_program(*sys.argv[2:])
