"""
Every command prints the same over files with references as over files with complete lines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from cli.commands import Done
from collector_aids import collector
from reading_aids import drawn, observation, trace_line

from fluxloop.collector.following import Following
from fluxloop.reading import read_traces
from fluxloop.reading.watch import Watch
from fluxloop.storage import FileStorage, file, record_file
from fluxloop.storage.contract import Record
from fluxloop.storage.record_input import RecordInput
from fluxloop.storage.references import references_in

DAY = "20260117"
TURNS = 4


def records() -> Iterator[Record]:
    """The records of a conversation: each turn is a trace whose input is the history so far."""
    history = [
        {"role": "user" if index % 2 else "assistant", "content": f"Which trains? {index} " * 6} for index in range(120)
    ]
    for turn in range(TURNS):
        trace, root = f"trace-{turn}", f"root-{turn}"
        history.append({"role": "user", "content": f"question {turn} of Lyon-{turn}"})
        given = list(history)
        history.append({"role": "assistant", "content": f"answer {turn} \u201chaystack\u201d"})
        start = {"start_time": f"2026-01-17T14:3{turn}:22.123456Z", "end_time": f"2026-01-17T14:3{turn}:23.123456Z"}
        state = {"input": {"messages": given}, "output": {"messages": list(history)}, **start}
        call = {"input": given, "output": history[-1], "model": "m", "usage": {"input_tokens": 9}, **start}
        for record in (
            observation(f"call-{turn}", f"node-{turn}", trace=trace, **call, seq=2) | {"type": "GENERATION"},
            observation(f"node-{turn}", root, trace=trace, **state, seq=1) | {"type": "CHAIN"},
            observation(root, trace=trace, **state) | {"type": "AGENT"},
        ):
            yield Record("observation", DAY, orjson.dumps(record) + b"\n")
        yield Record("trace", DAY, orjson.dumps(trace_line(trace, **state)) + b"\n")


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The same records with complete lines, and with references."""
    for module in (file, record_file):
        monkeypatch.setattr(module, "LARGE_BYTES", 8192)
    made = []
    for name, is_compact in (("complete", False), ("compact", True)):
        FileStorage(tmp_path / name, journal=False, compact_histories=is_compact).write([*records()])
        made.append(tmp_path / name)
    complete, compact = (sum(path.stat().st_size for path in folder.iterdir()) for folder in made)
    assert complete > 5 * compact
    return made


@pytest.mark.parametrize(
    "arguments",
    [
        "list {}",
        "list {} --json",
        "list {} --text Lyon-0",
        "list {} --text haystack --json",
        "list {} --text Lyon-3",
        "list {} --text missing",
        "list {} --name trace-2 --json",
        "view {}",
        "view {} --full",
        "view {}/observations_20260117.jsonl --json",
        "view {} --json",
        "stats {}",
        "stats {} --json",
        "export jsonl {}",
        "export csv {}",
        "context trace-3 --path {} --json",
        "compare trace-1 trace-2 --path {}",
        "dataset from-traces {} -o inputs.jsonl --force",
        "doctor --json",
    ],
)
@pytest.mark.usefixtures("no_prices")
def test_a_command_prints_the_same(
    folders: list[Path], fluxloop_: Callable[..., Done], arguments: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The name of the folder is all that differs; `doctor` counts bytes as they are on the disk.
    """
    monkeypatch.chdir(folders[0].parent)
    inputs = folders[0].parent / "inputs.jsonl"

    def result(folder: Path) -> Any:
        monkeypatch.setenv("FLUXLOOP_BASE_PATH", str(folder))
        done = fluxloop_(*arguments.format(folder).split())
        assert done.code in (0, 1), done.err
        if "doctor" in arguments:
            found = orjson.loads(done.out)["files"]
            return {name: value for name, value in found.items() if name not in ("bytes", "folder", "path")}
        written = inputs.read_bytes() if inputs.exists() else b""
        return done.code, done.out.replace(folder.name, "."), done.err.replace(folder.name, "."), written

    assert result(folders[1]) == result(folders[0])


def test_every_turn_is_found_by_a_text_of_its_history(folders: list[Path], fluxloop_: Callable[..., Done]) -> None:
    """
    A text of the first turn is in the history of each later one, where the files have it by reference.
    """
    of_first = fluxloop_("list", folders[1], "--text", "trains? 57", "--json")
    of_second = fluxloop_("list", folders[1], "--text", "Lyon-1", "--json")

    assert (of_first.out.count('"trace_id"'), of_second.out.count('"trace_id"')) == (TURNS, TURNS - 1)


def test_traces_have_the_same_values(folders: list[Path]) -> None:
    """
    Read as a folder, by the index of a filter, and one file alone.
    """
    complete, compact = (
        [
            *read_traces(folder),
            *read_traces(folder, name="trace-2"),
            *read_traces(folder, trace_id="trace-3"),
            *read_traces(folder / f"observations_{DAY}.jsonl"),
        ]
        for folder in folders
    )

    assert [trace.model_dump() for trace in compact] == [trace.model_dump() for trace in complete]
    assert [one.model_dump() for trace in compact for one in trace.observations] == [
        one.model_dump() for trace in complete for one in trace.observations
    ]


def test_a_watch_reports_complete_observations(tmp_path: Path) -> None:
    """
    What is appended between two polls refers to what was there before.
    """
    storage = FileStorage(tmp_path, journal=False, compact_histories=True)
    written = [*records()]
    storage.write(written[:4])
    watch = Watch(tmp_path)
    storage.write(written[4:])
    changes = watch.poll()

    assert [drawn(trace)[0] for trace in changes.ended] == [f"trace-{turn} [success]" for turn in range(1, TURNS)]
    expected = [orjson.loads(line)["input"] for kind, _, line in written[4:] if kind == "observation"]
    assert [one.input for _, one in changes.observations] == expected


def test_a_collector_follows_and_imports_complete_lines(
    folders: list[Path], fluxloop_: Callable[..., Done], tmp_path: Path
) -> None:
    """
    The index of a folder that is followed has places, and a store of its own has the lines themselves.
    """
    lines = [record.line.rstrip(b"\n") for record in records()]
    store = Following([folders[1]]).store
    followed = [line for turn in range(TURNS) for line in store.records(f"trace-{turn}")]
    store.close()
    assert fluxloop_("import", folders[1], "--store", f"sqlite:///{tmp_path}/store.sqlite").code == 0
    assert fluxloop_("backup", "--records", tmp_path / "all.jsonl", "--store", f"sqlite:///{tmp_path}/store.sqlite")

    assert sorted(followed) == sorted(lines)
    assert sorted((tmp_path / "all.jsonl").read_bytes().splitlines()) == sorted(lines)


def test_an_upload_sends_complete_lines(
    tmp_path: Path, fluxloop_: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    In batches whose complete lines fit. A later upload sends what was added, which refers to what was sent before.
    """
    added = [
        Record(kind, day, line.replace(b'"trace-', b'"added-').replace(b'"call-', b'"new-call-'))
        for kind, day, line in records()
    ]
    monkeypatch.setattr("fluxloop.storage.uploader.MAX_BATCH_BYTES", 100_000)
    with collector() as server:
        monkeypatch.setenv("FLUXLOOP_COLLECTOR_URL", server.url)
        storage = FileStorage(tmp_path / "uploaded", journal=False, compact_histories=True)
        for some in (records(), added):
            storage.write([*some])
            assert fluxloop_("upload", storage.base_path).code == 0
        bodies = [request.body for request in server.requests]

    expected = [record.line for record in (*records(), *added)]
    assert sorted(b"".join(bodies).splitlines(keepends=True)) == sorted(expected)
    assert all(len(body) <= 100_000 or body.count(b"\n") == 1 for body in bodies)


def test_the_files_have_references(folders: list[Path]) -> None:
    """
    Otherwise these tests would show nothing.
    """
    for path in folders[1].glob("*.jsonl"):
        with RecordInput(path) as file:
            assert any(map(references_in, file))
