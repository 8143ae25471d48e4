"""
``fluxloop upload``: folders, files and spools to a collector; interrupted, repeated, refused.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cli.commands import Done, in_terminal, runner
from collector_aids import Collector, Reply, collector, free_port
from reading_aids import observation, trace_line, written

import fluxloop
from fluxloop.storage import HTTPStorage, Record

KEY = "sk-upload-77"


@pytest.fixture
def server() -> Iterator[Collector]:
    with collector() as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three traces with one observation each."""
    for number in range(3):
        written(tmp_path / "traces", observation(f"o{number}", trace=f"t{number}"), trace_line(f"t{number}"))
    return tmp_path / "traces"


@pytest.fixture
def upload(
    server: Collector, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Done]:
    """Run ``fluxloop upload`` with the server as the configured collector."""
    monkeypatch.setenv("FLUXLOOP_COLLECTOR_URL", server.url)
    monkeypatch.setenv("FLUXLOOP_API_KEY", KEY)
    run = runner(monkeypatch, capsys)
    return lambda *arguments: run("upload", *arguments)


def test_a_folder_is_sent_once(server: Collector, folder: Path, upload: Any) -> None:
    """
    With the configured key; a second run sends nothing, and one after further records sends those.
    """
    assert upload(folder).out == f"sent 6 records to {server.url}\n"
    assert sorted(server.ids) == ["o0", "o1", "o2", "t0", "t1", "t2"]
    assert {request.headers["Authorization"] for request in server.requests} == {f"Bearer {KEY}"}

    assert upload(folder) == Done(0, f"sent 0 records to {server.url}\n", "")
    written(folder, observation("o3", trace="t3"))
    assert upload(folder).out.startswith("sent 1 record to")
    assert len(server.records) == 7


def test_again_sends_everything_and_the_collector_keeps_it_once(server: Collector, folder: Path, upload: Any) -> None:
    """
    The command says how many were there.
    """
    upload(folder)

    assert upload(folder, "--again").out == f"sent 6 records to {server.url} (6 were there already)\n"
    assert len(server.records) == 6
    assert json.loads(upload(folder, "--again", "--json").out)["bytes_left"] == 0


def test_another_collector_gets_everything(server: Collector, folder: Path, upload: Any) -> None:
    """
    The positions are those of one collector.
    """
    upload(folder)
    with collector() as other:
        upload(folder, "--url", other.url)

        assert len(other.records) == 6


def test_an_interrupted_upload_continues_where_it_ended(
    server: Collector, folder: Path, upload: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The first file was stored when the key was withdrawn; the next run does not send it again.
    """
    answers: list[Reply | None] = [None, Reply(401)]
    server.behaviour = lambda _: answers.pop(0) if answers else None

    stopped = upload(folder)
    assert stopped.code == 2
    assert "does not accept the key (answer 401): set api_key=" in stopped.err
    assert "Run the same command again to continue." in stopped.err
    assert KEY not in stopped.err + stopped.out
    server.requests.clear()

    assert upload(folder).out == f"sent 3 records to {server.url}\n"
    assert [len(request.lines) for request in server.requests] == [3]
    assert len(server.records) == 6


def test_faults_that_pass_are_waited_for(
    server: Collector, folder: Path, upload: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    As long as the collector asks, up to half a minute.
    """
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    answers: list[Reply | None] = [Reply(503, "", {"Retry-After": "7"}), None, Reply(429, "", {"Retry-After": "3600"})]
    server.behaviour = lambda _: answers.pop(0) if answers else None

    done = upload(folder, "--json")

    assert done.code == 2
    assert [round(wait) for wait in waits] in ([7], [8])
    assert {**json.loads(done.out), "error": "?"} == {
        "collector": server.url,
        "sent": 3,
        "already_there": 0,
        "rejected": 0,
        "retried": 1,
        "bytes_left": json.loads(done.out)["bytes_left"],
        "error": "?",
    }
    assert json.loads(done.out)["bytes_left"] > 0


def test_a_spool_is_sent_and_removed(server: Collector, tmp_path: Path, upload: Any) -> None:
    """
    Found in the folder of the records, or named itself; one of a running program is left alone.
    """
    spool = tmp_path / "traces" / ".spool" / "localhost-1234abcd"
    line = b'{"id":"o%d","trace_id":"t","parent_id":null}\n'
    ended = HTTPStorage("http://localhost:1", spool=spool, use_collector=False)
    ended.write([Record("observation", "20260117", line % 1)])
    ended.close()
    running = HTTPStorage("http://localhost:1", spool=spool, use_collector=False)
    running.write([Record("observation", "20260117", line % 2)])

    done = upload(tmp_path / "traces")
    assert server.ids == ["o1"]
    assert "1 file in the spool left to a running program, which sends them" in done.err

    running.close()
    upload(spool.parent)
    assert server.ids == ["o1", "o2"]
    assert list(spool.glob("*-*")) == []


def test_rejected_records_are_kept_and_make_the_answer_no(server: Collector, folder: Path, upload: Any) -> None:
    """
    Exit code 1; the file of rejected records can be uploaded as well, and does not grow while it is read.
    """
    server.behaviour = lambda request: Reply(
        200, {"accepted": 0, "rejected": [{"line": 1, "reason": "no"}, {"line": 2, "reason": "no"}]}
    )
    done = upload(folder)
    assert done.code == 1
    assert "4 records rejected, kept in" in done.err
    refused = folder / ".spool" / "refused.jsonl"
    assert len(refused.read_bytes().splitlines()) == 4

    assert upload(refused, "--again").code == 1
    assert len(refused.read_bytes().splitlines()) == 4


def test_one_file_is_sent_alone(server: Collector, folder: Path, upload: Any) -> None:
    """
    Not its counterpart of the same day.
    """
    [file] = folder.glob("traces_*.jsonl")

    assert upload(file).code == 0
    assert server.ids == ["t0", "t1", "t2"]


def test_an_empty_folder_is_done(tmp_path: Path, upload: Any) -> None:
    """
    Nothing to send, exit code 0.
    """
    (tmp_path / "empty").mkdir()

    assert upload(tmp_path / "empty").code == 0
    assert list((tmp_path / "empty").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere: no such file or folder"),
        (["traces", "--url", "example.com"], "collector_url must be an http or https URL"),
        (["traces", "--api-key", "hush hush"], "api_key must be printable ASCII text without spaces, or None, got ***"),
    ],
)
def test_what_cannot_be_done_is_one_line(folder: Path, upload: Any, arguments: list[str], message: str) -> None:
    """
    With exit code 2, and without the key.
    """
    done = upload(*arguments)

    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert "hush" not in done.err
    assert "Traceback" not in done.err


def test_a_collector_that_is_away_is_named(
    folder: Path, upload: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """
    After five attempts.
    """
    monkeypatch.setattr("fluxloop.storage.uploader.FIRST_RETRY_S", 0.001)
    url = f"http://127.0.0.1:{free_port()}"

    done = upload(folder, "--url", url)

    assert done.code == 2
    assert f"fluxloop: cannot reach the collector at {url}" in done.err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_sent(server: Collector, folder: Path, upload: Any) -> None:
    """
    Without positions, everything is sent each time.
    """
    folder.chmod(0o500)
    try:
        assert upload(folder).code == 0
        assert len(server.records) == 6
    finally:
        folder.chmod(0o700)


def test_what_file_storage_wrote_arrives_as_it_stands(server: Collector, tmp_path: Path, upload: Any) -> None:
    """
    Recorded to files only, uploaded later: the same records.
    """
    fluxloop.configure(storage="file", base_path=tmp_path / "t")
    with fluxloop.instrument("later"):
        fluxloop.event("now")
    upload(tmp_path / "t")

    [trace] = fluxloop.reading.traces_of(server.records)
    assert [each.name for each in trace.observations] == ["later", "now"]


def test_a_terminal_shows_progress(server: Collector, folder: Path) -> None:
    """
    A bar while it runs, and the same last line.
    """
    assert f"sent 6 records to {server.url}" in in_terminal("upload", folder, FLUXLOOP_COLLECTOR_URL=server.url)
