"""After `install`, the Agents SDK sends no traces over the network."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from agents import tracing
from agents.tracing.processors import BackendSpanExporter, BatchTraceProcessor, ConsoleSpanExporter
from custom.agents_aid import Says, agent_of, run

from fluxloop.testing import capture
from fluxloop_custom import openai_agents
from fluxloop_custom.openai_agents import internals


class Collector(HTTPServer):
    """Counts the requests that it receives."""

    received = 0


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.server.received += 1  # type: ignore[attr-defined]
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        """Print nothing."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    server = Collector(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def others() -> Iterator[None]:
    """Restore the SDK's processors afterwards."""
    before = internals.processors() or ()
    yield
    openai_agents.uninstall()
    tracing.set_trace_processors(list(before))


class RenamedProcessor(tracing.TracingProcessor):
    """The SDK's own processor of a later release, which has its exporter under another name, or hides it."""

    def __init__(self, exporter: Any, *, is_hidden: bool) -> None:
        self._send = exporter.export if is_hidden else None
        self._sink = None if is_hidden else exporter

    def on_trace_start(self, trace: Any) -> None: ...
    def on_span_start(self, span: Any) -> None: ...
    def on_span_end(self, span: Any) -> None: ...
    def shutdown(self) -> None: ...
    def force_flush(self) -> None: ...

    def on_trace_end(self, trace: Any) -> None:
        (self._send or self._sink.export)([trace])


RenamedProcessor.__module__ = "agents.tracing.processors"


def exporter_to(collector: Collector) -> BackendSpanExporter:
    return BackendSpanExporter(api_key="key", endpoint=f"http://127.0.0.1:{collector.server_port}/ingest")


@pytest.mark.parametrize("is_hidden", [False, True])
async def test_an_exporter_under_another_name_sends_nothing(collector, is_hidden):
    """The exporter's place is private, so every processor that may have one is removed."""
    tracing.set_trace_processors([RenamedProcessor(exporter_to(collector), is_hidden=is_hidden)])

    openai_agents.install()
    with capture() as captured:
        await run(agent_of(Says("hello")))

    assert collector.received == 0
    assert captured.traces()[0].output == "hello"


async def test_the_exporter_of_the_installed_release_sends_nothing(collector):
    """The SDK's batch processor is removed with its exporter; uninstall() does not restore it."""
    batch = BatchTraceProcessor(exporter_to(collector), schedule_delay=0.01)
    tracing.set_trace_processors([batch])

    openai_agents.install()
    with capture():
        await run(agent_of(Says("hello")))
    openai_agents.uninstall()
    await run(agent_of(Says("hello")))
    batch.shutdown(timeout=2) if "timeout" in batch.shutdown.__code__.co_varnames else batch.shutdown()

    assert collector.received == 0


async def test_without_a_list_of_processors_only_fluxloops_stays(collector, monkeypatch):
    """Where the processors cannot be read, the public function that replaces all of them is used."""
    tracing.set_trace_processors([RenamedProcessor(exporter_to(collector), is_hidden=True)])
    monkeypatch.setattr(internals, "processors", lambda: None)

    openai_agents.install()
    with capture() as captured:
        await run(agent_of(Says("hello")))

    assert collector.received == 0
    assert len(captured.traces()) == 1


def test_processors_of_others_stay():
    """A processor of the program's, and the SDK's with an exporter of the program's or the printing one, are kept."""

    class Exporter:
        def export(self, items: Any) -> None: ...

    class Own(RenamedProcessor):
        def on_trace_end(self, trace: Any) -> None: ...

    own = Own(Exporter(), is_hidden=True)
    batch, console = BatchTraceProcessor(Exporter()), BatchTraceProcessor(ConsoleSpanExporter())
    tracing.set_trace_processors([own, batch, console])
    ours = openai_agents.install()

    assert internals.processors() == (own, batch, console, ours)
