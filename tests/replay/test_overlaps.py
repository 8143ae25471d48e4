"""
Blocks that overlap, are left open or fail to open, and recordings that are not what FluxLoop writes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fluxloop
from fluxloop.answering import exception_of, replaying
from fluxloop.client import default
from fluxloop.errors import ReplayedError, ReplayError
from fluxloop.replay.canonical import exact_key, stable_key
from fluxloop.storage.segment import Segment

ran: list[int] = []


@fluxloop.tool
def double(x: int) -> int:
    ran.append(x)
    return x * 2


@fluxloop.agent
def run(*numbers: int) -> list[int]:
    return [double(number) for number in numbers]


@fluxloop.agent
def stream() -> Iterator[int]:
    yield 0
    yield double(1)


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    path = tmp_path / "run.jsonl"
    with fluxloop.cassette(path, "rewrite"):
        run(1)
    ran.clear()
    return path


def test_replays_that_end_in_another_order_leave_none_open(recorded: Path) -> None:
    """
    The first of two overlapping replays may end first; no replay is open after both have ended.
    """
    first, second = (fluxloop.replay(recorded, match="loose") for _ in range(2))
    first.__enter__()
    second.__enter__()
    run(1)
    _exit_unseen(first)
    second.__exit__(None, None, None)

    assert replaying.get() is None


def _exit_unseen(block: Any) -> None:
    with pytest.warns(fluxloop.errors.FluxLoopWarning):
        block.__exit__(None, None, None)


def test_a_decorated_generator_does_not_answer_calls_of_its_consumer(recorded: Path) -> None:
    """
    Between two items the consumer's calls run for real; inside the generator they are answered.
    """
    items = fluxloop.replay(recorded, match="loose")(stream)()
    next(items)

    assert replaying.get() is None
    assert run(1) == [2]
    assert ran == [1]
    assert list(items) == [2]
    assert ran == [1]


def test_recordings_that_end_in_another_order_restore_the_recorder(tmp_path: Path) -> None:
    """
    After two overlapping cassettes have been recorded, the program records as before.
    """
    before = default.recorder
    first, second = (fluxloop.cassette(tmp_path / name, "rewrite") for name in ("a.jsonl", "b.jsonl"))
    first.__enter__()
    run(1)
    second.__enter__()
    run(1)
    first.__exit__(None, None, None)
    run(2)
    second.__exit__(None, None, None)

    assert default.recorder is before
    assert len(list(fluxloop.read_traces(tmp_path / "b.jsonl"))) == 2


def test_a_damaged_cassette_leaves_no_recorder(recorded: Path) -> None:
    """
    A cassette that cannot be opened does not record the rest of the program.
    """
    before = default.recorder
    with recorded.open("a") as file:
        file.write("{torn\n")
    with pytest.raises(ReplayError, match="damaged") as raised:
        fluxloop.cassette(recorded, "new_episodes").__enter__()

    assert default.recorder is before, raised


def test_a_generator_left_open_at_exit_is_closed_silently(tmp_path: Path) -> None:
    """
    A generator that the interpreter closes when modules are already gone writes nothing to stderr.
    """
    program = tmp_path / "program.py"
    program.write_text(
        "import queue\nimport fluxloop\n\nfluxloop.configure(base_path='traces', replayable=True)\n\n\n"
        "@fluxloop.prompt\ndef items():\n    for i in range(3):\n        yield {'a': i}\n\n\n"
        "@fluxloop.agent\ndef run():\n    yield from items()\n\n\n"
        "stream = run()\nnext(stream)\nqueue.kept = stream\ndel stream\n"
    )
    done = subprocess.run([sys.executable, program], cwd=tmp_path, capture_output=True, text=True, timeout=50)

    assert (done.returncode, done.stderr) == (0, "")


def test_inputs_that_orjson_refuses_are_compared_or_refused_clearly() -> None:
    """
    Large integers are compared; nesting that is too deep is an error of FluxLoop.
    """
    deep: Any = 1
    for _ in range(5_000):
        deep = [deep]

    assert exact_key({"x": 2**70}) == json.dumps({"x": 2**70}).encode()
    with pytest.raises(ReplayError, match="nested too deeply"):
        stable_key(deep)
    with pytest.raises(ReplayError, match="normalize= returned"):
        stable_key(1, lambda value: {1: 2, "a": 3})


def test_the_text_of_an_error_imports_no_package() -> None:
    """
    A recorded exception whose package is not loaded becomes a `ReplayedError`.
    """
    sys.modules.pop("antigravity", None)

    assert isinstance(exception_of("Foo", "boom", "antigravity.Foo"), ReplayedError)
    assert "antigravity" not in sys.modules


def test_positions_are_never_read_from_a_fifo_nor_written_to_a_link(tmp_path: Path) -> None:
    """
    A FIFO in place of a position does not block, and the target of a link is not overwritten.
    """
    name, target = "1-0123456789ab-000000", tmp_path / "target"
    path = tmp_path / f"{name}.jsonl"
    path.write_text("{}\n")
    os.mkfifo(path.with_suffix(".sent"))
    segment = Segment.claimed(path)
    assert segment is not None
    assert segment.offset == 0
    segment.close()
    path.with_suffix(".sent").unlink()
    target.write_text("precious")
    path.with_suffix(".sent").symlink_to(target)
    segment = Segment.claimed(path)
    assert segment is not None
    segment.advance(3)
    segment.close()

    assert target.read_text() == "precious"
