"""
Recordings that were damaged, or made to do harm: a clear error or the recorded answer, and nothing is run or imported.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import fluxloop
from fluxloop.errors import FluxLoopError
from fluxloop.replay.cassettes import problems_in
from fluxloop.testing import capture

ran: list[int] = []

MODULE = """
from dataclasses import dataclass

open("imported", "w").close()

@dataclass
class Thing:
    x: int = 1

class Bad(Exception): ...
"""


@fluxloop.tool
def more(number: int) -> dict[str, int]:
    """Add one."""
    ran.append(number)
    return {"n": number + 1}


@fluxloop.agent
def run() -> Any:
    """Call the tool twice."""
    return [more(1), more(2)]


@pytest.fixture
def cassette(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cassette, beside a module that notes its import."""
    (tmp_path / "harmful.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    with fluxloop.cassette(tmp_path / "case.jsonl"):
        run()
    ran.clear()
    yield tmp_path / "case.jsonl"
    sys.modules.pop("harmful", None)


def kept(value: Any) -> dict[str, Any]:
    """Return the change of a record that has *value* as its exact answer."""
    return {"metadata": {"replay": {"value": value}}}


FAILED = {"status": "error", "error": "boom", "output": None}
CHANGES: dict[str, dict[str, Any]] = {
    "a function": kept({"$type": "os:system", "fields": {}}),
    "a process": kept({"$type": "subprocess:Popen", "fields": {"args": "touch imported"}}),
    "a module beside it": kept({"$type": "harmful:Thing", "fields": {}}),
    "a number as class": kept({"$type": 5}),
    "a list as class": kept({"$type": ["x"]}),
    "no value": kept({"$type": "int"}),
    "a list as metadata": {"metadata": [1]},
    "a list as answers": {"metadata": {"replay": ["x"]}},
    "a text as stream": {"metadata": {"stream": "x"}},
    "an unknown type": {"type": "FROB"},
    "no name": {"name": None},
    "a number as name": {"name": 5},
    "its own parent": {"parent_id": "case-1/1.1"},
    "the id of another": {"id": "case-1/1.2"},
    "another time": {"start_time": "never"},
    "an error beside it": {**FAILED, "metadata": {"error_type": "Bad", "traceback": "harmful.Bad: boom"}},
}


def attempt(path: Path) -> object:
    """Return what a replay gives the program, or the error."""
    try:
        with fluxloop.cassette(path, "none"):
            return run()
    except FluxLoopError as error:
        return error


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_changed_record_is_an_error_or_harmless(cassette: Path, change: dict[str, Any]) -> None:
    """
    Nothing is imported, no call runs for real, the file stays as it is, and ``check`` can read it.
    """
    lines = [json.loads(line) for line in cassette.read_text().splitlines()]
    lines[1].update(change)
    cassette.write_text("".join(json.dumps(line) + "\n" for line in lines))
    before = cassette.read_bytes()

    found = attempt(cassette)

    assert isinstance(found, Exception) or found == [{"n": 2}, {"n": 3}]
    assert ran == []
    problems_in(cassette)
    assert "harmful" not in sys.modules
    assert not Path("imported").exists()
    assert cassette.read_bytes() == before


def test_a_class_of_the_program_is_built_where_its_module_is_imported(cassette: Path) -> None:
    """
    Before, the error names what to do.
    """
    lines = [json.loads(line) for line in cassette.read_text().splitlines()]
    lines[1].update(kept({"$type": "harmful:Thing", "fields": {"x": 7}}))
    cassette.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert "harmful:Thing, whose module is not imported: import it before the replay" in str(attempt(cassette))

    import harmful

    assert attempt(cassette) == [harmful.Thing(7), {"n": 3}]


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


FILES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "blank": lambda path: path.write_bytes(b"\n\n"),
    "binary": lambda path: path.write_bytes(b"\x00\xff\xfe" * 100),
    "torn": lambda path: path.write_bytes(path.read_bytes()[:-40]),
    "cut": lambda path: path.write_bytes(b"\n".join(path.read_bytes().splitlines()[:2])),
    "deep": lambda path: path.write_text(path.read_text().replace('{"n":2}', "[" * 5_000 + "]" * 5_000)),
    "a FIFO": _fifo,
    "a folder": _folder,
    "a hole": lambda path: (path.write_bytes(b""), os.truncate(path, 1 << 30)),
    "a hole at the end": lambda path: os.truncate(path, 1 << 30),
}


@pytest.mark.parametrize("damage", FILES.values(), ids=FILES)
def test_a_file_that_is_no_whole_cassette_is_an_error_in_little_time(cassette: Path, damage: Any) -> None:
    """
    Also a sparse file of a gigabyte; nothing runs.
    """
    damage(cassette)
    started = time.process_time()

    found = attempt(cassette)

    assert isinstance(found, FluxLoopError)
    assert "case.jsonl" in str(found)
    assert time.process_time() - started < 10
    assert ran == []


@pytest.mark.parametrize("first", [0, *(pytest.param(first, marks=pytest.mark.slow) for first in range(1, 6))])
def test_a_cassette_that_is_torn_at_any_byte_is_an_error_or_whole(cassette: Path, first: int) -> None:
    """
    Only the end of the last line may be missing; no call is answered from a part, and nothing runs.
    """
    whole = cassette.read_bytes()
    answered = []
    for size in [*range(first, len(whole) - 70, 6), *range(len(whole) - 70, len(whole))]:
        cassette.write_bytes(whole[:size])
        found = attempt(cassette)
        if not isinstance(found, FluxLoopError):
            answered.append((size, found))

        assert cassette.stat().st_size == size

    assert answered == [(len(whole) - 1, [{"n": 2}, {"n": 3}])]
    assert ran == []


def test_records_that_are_torn_at_any_byte_are_an_error_or_a_miss(tmp_path: Path) -> None:
    """
    Of a run that crashed, the calls that ended are answered, and others are misses: no answer is of another call.
    """
    fluxloop.configure(base_path=tmp_path / "records")
    run()
    fluxloop.flush()
    ran.clear()
    (records,) = (tmp_path / "records").rglob("observations_*.jsonl")
    whole = records.read_bytes()
    for size in range(0, len(whole), 7):
        records.write_bytes(whole[:size])
        try:
            with capture(), fluxloop.replay(tmp_path / "records"):
                found = run()
        except FluxLoopError:
            continue

        assert found == [{"n": 2}, {"n": 3}]
    assert ran == []
