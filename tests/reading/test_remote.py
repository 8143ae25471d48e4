"""
Reading from a collector: which one, with which key, and what comes back.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from serving_aids import ServerProcess

import fluxloop
from fluxloop.errors import ReadError
from fluxloop.reading.remote import _key_for
from fluxloop.storage import HTTPStorage

KEY = "reader-key-0123456789"


class Stranger(ThreadingHTTPServer):
    """A server that keeps the headers of its requests, and answers with a redirect if it has one."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.seen: list[dict[str, str]] = []
        self.redirect: str | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Answer(BaseHTTPRequestHandler):
    server: Stranger

    def do_GET(self) -> None:
        self.server.seen.append({name.lower(): value for name, value in self.headers.items()})
        if self.server.redirect:
            self.send_response(307)
            self.send_header("Location", self.server.redirect + self.path)
        else:
            self.send_response(200)
            self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def strangers() -> Iterator[tuple[Stranger, Stranger]]:
    servers = Stranger(), Stranger()
    for server in servers:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield servers
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    store = tmp_path_factory.mktemp("remote") / "store.sqlite"
    with ServerProcess("--store", store, "--api-key", KEY) as process:
        yield process


@fluxloop.agent
def greet(name: str) -> str:
    return f"Hello, {name}!"


def test_without_a_path_the_collector_of_the_http_storage_is_read(collector: ServerProcess, tmp_path: Path) -> None:
    """
    With the storage ``http`` only, `read_traces` asks the configured collector, with the key and with filters.
    """
    fluxloop.configure(storage="http", collector_url=collector.url, api_key=KEY, base_path=tmp_path / "traces")
    with fluxloop.instrument("first", session_id="by-name"):
        greet("Ada")
    with fluxloop.instrument("second", session_id="by-name"):
        greet("Grace")
    assert fluxloop.flush(timeout=30)

    assert [trace.name for trace in fluxloop.read_traces(session="by-name")] == ["first", "second"]
    assert [trace.name for trace in fluxloop.read_traces(session="by-name", name="second")] == ["second"]


def test_the_key_of_a_storage_made_in_code_is_used_to_read(collector: ServerProcess, tmp_path: Path) -> None:
    """
    The settings name neither the collector nor the key: both are those of the storage.
    """
    fluxloop.configure(storage=HTTPStorage(collector.url, api_key=KEY, spool=tmp_path / "spool"))
    with fluxloop.instrument("made", session_id="in-code"):
        greet("Ada")
    assert fluxloop.flush(timeout=30)

    assert [trace.name for trace in fluxloop.read_traces(session="in-code")] == ["made"]


def test_with_files_or_memory_beside_it_the_collector_is_not_asked(
    strangers: tuple[Stranger, Stranger], tmp_path: Path
) -> None:
    """
    What this process can read by itself is read without a request.
    """
    configured = strangers[0]
    for storage in ("file", "memory"):
        fluxloop.configure(
            storage=[storage, "http"],
            collector_url=configured.url,
            base_path=tmp_path / storage,
            use_collector=False,
        )
        greet(storage)

        assert [trace.output for trace in fluxloop.read_traces()] == [f"Hello, {storage}!"]
    assert configured.seen == []


def test_a_collector_that_does_not_answer_is_an_error_and_not_an_empty_folder(
    strangers: tuple[Stranger, Stranger], tmp_path: Path
) -> None:
    """
    Records were sent there; reading nothing would look as if there were none.
    """
    gone = strangers[0]
    url = gone.url
    gone.shutdown()
    gone.server_close()
    fluxloop.configure(storage="http", collector_url=url, base_path=tmp_path, use_collector=False)

    with pytest.raises(ReadError, match=f"{url}: no answer"):
        [*fluxloop.read_traces()]


def test_another_host_does_not_receive_the_key(strangers: tuple[Stranger, Stranger]) -> None:
    """
    Only the collector of the settings does, also when it redirects.
    """
    configured, other = strangers
    fluxloop.configure(collector_url=configured.url, api_key=KEY)

    assert [*fluxloop.read_traces(other.url)] == []
    assert ["authorization" in headers for headers in other.seen] == [False]
    assert [*fluxloop.read_traces(configured.url)] == []
    assert [headers["authorization"] for headers in configured.seen] == [f"Bearer {KEY}"]
    configured.redirect = other.url
    with pytest.raises(ReadError):
        [*fluxloop.read_traces(configured.url)]
    assert len(other.seen) == 1


@pytest.mark.parametrize(
    ("url", "is_sent"),
    [
        ("https://traces.example.com", True),
        ("https://traces.example.com:443/team", True),
        ("https://TRACES.example.com", True),
        ("http://traces.example.com", False),
        ("https://traces.example.com:8443", False),
        ("https://traces.example.com.evil.org", False),
        ("https://evil.org/traces.example.com", False),
        ("https://traces.example.com@evil.org", False),
    ],
)
def test_the_key_belongs_to_a_scheme_a_host_and_a_port(url: str, is_sent: bool) -> None:
    """
    http is not https: the key would cross the network unencrypted.
    """
    fluxloop.configure(collector_url="https://traces.example.com/team", api_key=KEY)

    assert _key_for(url) == (KEY if is_sent else None)


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999", "http://127.0.0.1:port", "http://[::1"])
def test_an_invalid_url_is_an_error_of_reading(url: str) -> None:
    """
    The message has the URL and the next step, without a traceback of the URL parser.
    """
    with pytest.raises(ReadError, match=r"no answer: .*Next step"):
        [*fluxloop.read_traces(url)]


def test_a_refused_key_names_both_settings(collector: ServerProcess) -> None:
    """
    The key of the settings is not sent to another collector, so the key alone may not help.
    """
    with pytest.raises(ReadError, match=r"FLUXLOOP_API_KEY .*FLUXLOOP_COLLECTOR_URL"):
        [*fluxloop.read_traces(collector.url)]


def test_scores_come_back_from_the_collector(collector: ServerProcess, tmp_path: Path) -> None:
    """
    Scores sent with the storage ``http``, one with its trace and one later, are those of the trace that is read.
    """
    fluxloop.configure(storage="http", collector_url=collector.url, api_key=KEY, base_path=tmp_path / "traces")
    with fluxloop.instrument("scored", session_id="scores") as trace:
        greet("Ada")
    fluxloop.score(trace.trace_id, "stars", 4, comment="good")
    assert fluxloop.flush(timeout=30)
    [read] = fluxloop.read_traces(session="scores")
    fluxloop.score(read, "helpful", True)
    assert fluxloop.flush(timeout=30)
    [again] = fluxloop.read_traces(collector.url, session="scores")

    assert [(score.name, score.value, score.comment) for score in read.scores] == [("stars", 4, "good")]
    assert [(score.name, score.value) for score in again.scores] == [("stars", 4), ("helpful", True)]
    assert next(fluxloop.read_traces(trace_id=read.trace_id)).scores == again.scores
