"""What HTTP storage sends: batches, in order, with the key and no more."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from collector_aids import Collector, Reply, collector, free_port

import fluxloop
from fluxloop.errors import ConfigError
from fluxloop.storage import HTTPStorage, MemoryStorage, Record
from fluxloop.storage.sender import Sender

Make = Callable[..., Record]
KEY = "sk-collector-5f2b"


@pytest.fixture
def server() -> Iterator[Collector]:
    with collector() as running:
        yield running


@pytest.fixture
def opened(server: Collector, tmp_path: Path) -> Iterator[Callable[..., HTTPStorage]]:
    """Make a storage that sends to the server; it is closed at the end."""
    storages: list[HTTPStorage] = []

    def make(**options: Any) -> HTTPStorage:
        options = {
            "api_key": KEY,
            "spool": tmp_path / "spool",
            "flush_interval": 0.05,
            "shutdown_timeout": 20,
            **options,
        }
        storages.append(HTTPStorage(options.pop("collector_url", server.url), **options))
        return storages[-1]

    yield make
    for storage in storages:
        storage.close()


def spooled(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "spool").glob("*.jsonl"))


def test_a_record_arrives_soon_after_it_was_written(server: Collector, opened: Any, record: Make) -> None:
    """
    Without a flush: the thread sends after the flush interval.
    """
    opened().write([record(1), record("t1", kind="trace")])

    server.wait(lambda: server.ids == ["o1", "tt1"])


def test_a_hundred_records_are_a_few_requests_in_order(server: Collector, opened: Any, record: Make) -> None:
    """
    Records are sent in batches, in the order in which they were written.
    """
    storage = opened(flush_interval=60, buffer_size=1000)

    for number in range(100):
        storage.write([record(number)])
    assert storage.flush(timeout=20)

    assert server.ids == [f"o{number}" for number in range(100)]
    assert len(server.requests) <= 3


def test_a_full_buffer_is_sent_before_the_interval_ends(server: Collector, opened: Any, record: Make) -> None:
    """
    `buffer_size` records are sent although the interval is an hour.
    """
    storage = opened(flush_interval=3600, buffer_size=5)

    for number in range(5):
        storage.write([record(number)])

    server.wait(lambda: len(server.records) == 5)


def test_the_request_is_that_of_the_batch_protocol(server: Collector, opened: Any, record: Make) -> None:
    """
    NDJSON exactly as in a file, with the key, the id of the batch, and the names of service and environment.
    """
    lines = [record(1), record(2)]
    storage = opened(service_name="shop é", environment="staging")
    storage.write(lines)
    storage.flush(20)

    [request] = server.requests
    assert request.path == "/api/v1/batches"
    assert request.body == b"".join(each.line for each in lines)
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.headers["Content-Type"] == "application/x-ndjson"
    assert request.headers["User-Agent"] == f"fluxloop/{fluxloop.__version__}"
    assert (request.headers["X-Service-Name"], request.headers["X-Environment"]) == ("shop %C3%A9", "staging")
    assert uuid.UUID(hex=request.headers["X-Fluxloop-Batch"])
    assert "Content-Encoding" not in request.headers


def test_a_large_batch_is_compressed(server: Collector, opened: Any, record: Make) -> None:
    """
    Above 4 KiB the body is sent with gzip, and arrives unchanged.
    """
    large = record(1, input="x" * 5000)
    storage = opened()
    storage.write([large])
    storage.flush(20)

    assert server.requests[0].headers["Content-Encoding"] == "gzip"
    assert server.requests[0].body == large.line


def test_a_record_larger_than_a_batch_is_sent_alone(server: Collector, opened: Any, record: Make) -> None:
    """
    Three megabytes in one record, between small ones.
    """
    storage = opened()
    storage.write([record(1), record(2, input="é\\" * 1_500_000), record(3)])

    assert storage.flush(20)
    assert server.ids == ["o1", "o2", "o3"]
    assert len(server.records[1]["input"]) == 3_000_000


def test_upstream_collectors_get_each_record_at_their_paths(server: Collector, opened: Any, record: Make) -> None:
    """
    One JSON object per request, with the ids under their former names too.
    """
    server.behaviour = lambda request: Reply(200, {"status": "ok"})
    storage = opened(protocol="upstream")
    storage.write([record(1, trace_id="a/b", parent_id="o0"), record("1", kind="trace", name="run", start_time="x")])

    assert storage.flush(20)
    assert [(request.path, request.lines) for request in server.requests] == [
        (
            "/api/traces/a%2Fb/observations",
            [{"id": "o1", "trace_id": "a/b", "parent_id": "o0", "parent_observation_id": "o0"}],
        ),
        ("/api/traces", [{"trace_id": "t1", "name": "run", "start_time": "x", "id": "t1"}]),
    ]
    assert {request.headers["Content-Type"] for request in server.requests} == {"application/json"}
    assert storage.delivery.sent == 2


def test_what_was_delivered_leaves_no_file(server: Collector, opened: Any, record: Make, tmp_path: Path) -> None:
    """
    After `close` the spool is empty.
    """
    storage = opened()
    storage.write([record(1)])
    storage.flush(20)
    storage.close()

    assert list((tmp_path / "spool").iterdir()) == []


def test_a_storage_that_was_not_used_touches_nothing(opened: Any, tmp_path: Path) -> None:
    """
    No folder, no thread, no request.
    """
    before = threading.active_count()
    storage = opened()
    assert storage.flush(1)
    storage.close()

    assert not (tmp_path / "spool").exists()
    assert threading.active_count() == before


def test_without_auto_flush_nothing_is_sent_before_a_flush(server: Collector, opened: Any, record: Make) -> None:
    """
    The records wait in the spool until the program asks.
    """
    storage = opened(auto_flush=False, buffer_size=1, flush_interval=0)
    storage.write([record(1), record(2)])
    assert [each["id"] for each in storage.unsent()] == ["o1", "o2"]
    assert not server.requests

    assert storage.flush(20)
    assert server.ids == ["o1", "o2"]


def test_with_use_collector_off_records_stay_in_the_spool(server: Collector, opened: Any, record: Make) -> None:
    """
    Nothing is sent, not by a flush either; a storage that may send delivers it later.
    """
    storage = opened(use_collector=False)
    storage.write([record(1)])
    assert not storage.flush(1)
    storage.close()
    assert not server.requests

    later = opened()
    later.write([record(2)])
    server.wait(lambda: server.ids == ["o2", "o1"])


def test_the_report_counts_what_was_sent_and_what_waits(tmp_path: Path) -> None:
    """
    Sent, retried and spooled, of all storages that the client has used.
    """
    url = f"http://127.0.0.1:{free_port()}"
    fluxloop.configure(storage="http", base_path=tmp_path, collector_url=url, flush_interval=0, shutdown_timeout=20)
    before = fluxloop.report()

    with fluxloop.instrument("offline"):
        pass
    assert not fluxloop.flush()
    waiting = fluxloop.report()
    with collector(int(url.rpartition(":")[2])) as server:
        assert fluxloop.flush(20)
        after = fluxloop.report()

    assert (waiting.sent - before.sent, waiting.spooled - before.spooled) == (0, 2)
    assert (after.sent - before.sent, after.spooled - before.spooled) == (2, 0)
    assert after.retried > before.retried
    assert len(server.records) == 2
    assert any("cannot reach the collector" in problem for problem in after.problems)


def test_file_and_http_both_get_every_record(server: Collector, tmp_path: Path) -> None:
    """
    `storage=["file", "http"]`: the files stay after the delivery, and both have the same records.
    """
    fluxloop.configure(storage=["file", "http"], base_path=tmp_path / "t", collector_url=server.url)
    with fluxloop.instrument("both"):
        pass
    assert fluxloop.flush(20)

    [trace] = fluxloop.read_traces(tmp_path / "t")
    assert [trace.observations[0].id, trace.trace_id] == server.ids


def test_a_change_of_another_setting_keeps_the_storage(server: Collector) -> None:
    """
    `configure(debug=...)` does not begin a new spool; a new key does.
    """
    first = fluxloop.configure(storage="http", collector_url=server.url) and fluxloop.client.default.recorder.storage
    fluxloop.configure(project_name="x")
    assert fluxloop.client.default.recorder.storage is first

    fluxloop.configure(api_key="another")
    assert fluxloop.client.default.recorder.storage is not first


def test_other_storages_do_not_depend_on_the_settings_of_http() -> None:
    """
    Memory is not emptied because a timeout changed.
    """
    fluxloop.configure(storage="memory")
    storage = fluxloop.client.default.recorder.storage
    fluxloop.configure(timeout=3, service_name="x")

    assert isinstance(storage, MemoryStorage)
    assert fluxloop.client.default.recorder.storage is storage


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"collector_url": "localhost:8000"}, "collector_url must be an http or https URL"),
        ({"collector_url": "http://u:hush@h"}, "it contains a user or password; use api_key"),
        ({"collector_url": "http://h/?q=1"}, "it has a query"),
        ({"api_key": "two words"}, "api_key must be printable ASCII"),
        ({"api_key": "hush\r\nX: y"}, "api_key must be printable ASCII"),
    ],
)
def test_what_cannot_be_sent_is_refused_at_once(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    """
    As an argument and as a setting; neither message shows the secret.
    """
    with pytest.raises(ConfigError, match=message) as caught:
        HTTPStorage(spool=tmp_path, **options)
    with pytest.raises(ConfigError) as again:
        fluxloop.configure(**options)

    assert "hush" not in f"{caught.value}{again.value}"


def test_the_key_is_shown_nowhere(
    server: Collector, opened: Any, record: Make, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """
    Not in reprs, settings, records, the spool, logs of any level or reports, even if the collector repeats it.
    """
    caplog.set_level(logging.DEBUG)
    server.behaviour = lambda request: Reply(400, {"error": f"bad {request.headers['Authorization']}"})
    settings = fluxloop.configure(
        storage="http", collector_url=server.url, api_key=KEY, base_path=tmp_path, shutdown_timeout=20
    )
    with fluxloop.instrument("secret"):
        pass
    fluxloop.flush()
    storage = opened()
    storage.write([record(1)])
    storage.flush()

    shown = [repr(settings), repr(storage), repr(storage._link), caplog.text, str(fluxloop.report())]
    shown += [path.read_text() for path in tmp_path.rglob("*.jsonl")]
    assert "bad Bearer ***" in caplog.text
    assert not [text for text in shown if KEY in text]


def test_requests_are_not_logged_for_the_program(
    server: Collector, opened: Any, record: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """
    A program that logs INFO to its console does not get a line per batch from httpx.
    """
    caplog.set_level(logging.INFO)
    storage = opened()
    storage.write([record(1)])
    assert storage.flush(20)

    assert caplog.text == ""


def test_a_key_that_would_cross_a_network_unencrypted_is_warned_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, record: Make
) -> None:
    """
    Once, with what to do; not for this machine.
    """
    for url in ("http://collector.example", "http://127.0.0.1:1", "https://collector.example"):
        storage = HTTPStorage(url, api_key=KEY, spool=tmp_path, auto_flush=False)
        storage.write([record(1)])
        storage.close()

    assert [entry.getMessage() for entry in caplog.records] == [
        "the key is sent unencrypted to http://collector.example: use https"
    ]


def test_the_proxy_of_the_environment_is_used(
    server: Collector, tmp_path: Path, record: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The request goes to the proxy with the whole address, except for hosts of NO_PROXY.
    """
    for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", server.url)
    for no_proxy, paths in (("", ["http://collector.test/api/v1/batches"]), ("collector.test", [])):
        monkeypatch.setenv("no_proxy", no_proxy)
        server.requests.clear()
        storage = HTTPStorage("http://collector.test", spool=tmp_path, shutdown_timeout=20)
        storage.write([record(1)])
        storage.flush()
        storage.close()
        assert [request.path for request in server.requests] == paths


def test_threads_and_a_slow_collector_lose_and_mix_nothing(server: Collector, opened: Any, record: Make) -> None:
    """
    Eight threads write while batches are on their way; each thread's records arrive in its order.
    """
    storage = opened(buffer_size=10)

    def work(name: int) -> None:
        for number in range(200):
            storage.write([record(f"{name}-{number:03}")])

    threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert storage.flush(20)

    assert len(server.ids) == len(set(server.ids)) == 1600
    for name in range(8):
        own = [each for each in server.ids if each.startswith(f"o{name}-")]
        assert own == sorted(own)


def test_a_storage_that_is_dropped_ends_its_thread(
    server: Collector, tmp_path: Path, record: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A thread per replaced storage would add up in a program that reconfigures.
    """
    ended = threading.Event()
    monkeypatch.setattr(Sender, "_release", lambda _: ended.set())
    storage = HTTPStorage(server.url, spool=tmp_path, flush_interval=0)
    storage.write([record(1)])
    assert storage.flush(20)

    del storage

    assert ended.wait(20)
    assert list(tmp_path.glob("*-*")) == []


def test_records_are_sent_to_no_other_collector(server: Collector, tmp_path: Path) -> None:
    """
    What was recorded for a collector that is away waits for it, although another one is configured by now.
    """
    away = f"http://127.0.0.1:{free_port()}"
    fluxloop.configure(storage="http", base_path=tmp_path, collector_url=away, shutdown_timeout=0)
    with fluxloop.instrument("for the first"):
        pass
    fluxloop.shutdown()
    fluxloop.configure(collector_url=server.url)
    with fluxloop.instrument("for the second"):
        pass
    assert fluxloop.flush(20)
    assert {record["name"] for record in server.records} == {"for the second"}

    with collector(int(away.rpartition(":")[2])) as first:
        fluxloop.configure(collector_url=away)
        with fluxloop.instrument("later"):
            pass
        assert fluxloop.flush(20)
        assert {record["name"] for record in first.records} == {"for the first", "later"}
