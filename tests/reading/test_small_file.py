"""
A small file with a name of its own is read in one pass, and gives what the index of a day gives.
"""

from __future__ import annotations

import orjson
import pytest

import fluxloop
from fluxloop.reading import small_file
from fluxloop.reading.reader import TraceReader
from fluxloop.replay.cassette_files import write
from fluxloop.testing import capture


@fluxloop.tool
def look(number: int) -> int:
    """Return the number."""
    return number


@fluxloop.agent
def run(count: int) -> int:
    """Call the tool."""
    return sum(map(look, range(count)))


@pytest.fixture
def file(tmp_path):
    """A file with three traces."""
    with capture() as captured:
        for count in (3, 0, 2):
            run(count)
    path = tmp_path / "case.jsonl"
    write(path, captured.traces())
    return path


def dumped(reader, *, newest=False):
    return [each.model_dump() for each in (reader.newest() if newest else reader)]


TORN = '{"id":"a","trace_id":"case-1","parent_id":'


@pytest.mark.parametrize("tail", ["", "\n\n", TORN, TORN + "\n", "[1]\n", "\ufeff"], ids=range(6))
@pytest.mark.parametrize("newest", [False, True], ids=["oldest first", "newest first"])
@pytest.mark.parametrize("only", [None, {"": {"case-1", "case-3"}}], ids=["all", "two"])
def test_both_ways_of_reading_agree(file, monkeypatch, tail, newest, only):
    """
    Traces, their order, and what was skipped; also with a torn line or other JSON in the file.
    """
    with file.open("a", encoding="utf-8") as end:
        end.write(tail)
    one_pass = TraceReader(file, only=only)
    found = dumped(one_pass, newest=newest)
    monkeypatch.setattr(small_file, "LARGEST_BYTES", 0)
    by_index = TraceReader(file, only=only)

    assert found == dumped(by_index, newest=newest)
    assert len(found) == (3 if only is None else 2)
    assert one_pass.skipped == by_index.skipped
    assert one_pass.skipped_count == by_index.skipped_count


def test_each_line_is_decoded_once(file, monkeypatch):
    """
    The tree of a recording is made without decoding its lines again.
    """
    from fluxloop.reading import lazy
    from fluxloop.replay.recording import tree_of

    decoded = []
    trace = next(iter(TraceReader(file)))
    monkeypatch.setattr(lazy, "decode", lambda line: decoded.append(line) or orjson.loads(line))
    root = tree_of([trace])

    assert sum(1 for _ in root.walk()) == 4
    assert len(decoded) <= 1, "only a root, whose parent is not at the beginning of its line"
