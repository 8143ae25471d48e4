"""
`Source` and `lines_of`: only regular files are opened, nothing blocks, and no line takes unbounded memory.
"""

from __future__ import annotations

import os
import socket

import pytest
from reading_aids import line, observation, trace_line, written

from fluxloop.errors import ReadError
from fluxloop.reading import TraceReader, day_index, read_traces, source
from fluxloop.reading.source import lines_of
from fluxloop.reading.watch import Watch
from fluxloop.storage.decoding import decode

NAME = "observations_20260118.jsonl"


def make_fifo(path):
    os.mkfifo(path)


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as bound:
        os.chdir(path.parent)  # the path of a socket is limited to about a hundred characters
        bound.bind(path.name)


def make_device(path):
    path.symlink_to("/dev/zero")


def make_folder(path):
    path.mkdir()


IRREGULAR = {"a FIFO": make_fifo, "a socket": make_socket, "a device": make_device, "a folder": make_folder}
each_kind = pytest.mark.parametrize(("kind", "make"), IRREGULAR.items(), ids=IRREGULAR)


@each_kind
def test_a_path_that_is_not_a_regular_file_is_skipped(tmp_path, monkeypatch, caplog, kind, make):
    """
    A FIFO, a socket, an endless device or a folder under the name of a record file costs no other record.
    """
    monkeypatch.chdir(tmp_path)
    written(tmp_path, observation("a"))
    make(tmp_path / NAME)
    reader = TraceReader(tmp_path)

    assert [trace.trace_id for trace in reader] == ["t1"]
    assert reader.skipped == [(tmp_path / NAME, 0, f"{kind}, not a regular file")]
    assert f"{NAME} line 0 ({kind}, not a regular file)" in caplog.text
    assert Watch(tmp_path).poll().observations == []


@each_kind
def test_such_a_path_given_by_itself_is_a_read_error(tmp_path, monkeypatch, kind, make):
    """
    The call raises instead of waiting; a folder is read as a folder.
    """
    monkeypatch.chdir(tmp_path)
    make(tmp_path / NAME)
    if make is make_folder:
        assert list(read_traces(tmp_path / NAME)) == []
        return

    with pytest.raises(ReadError, match=f"{kind}, not a regular file. Expected a folder with"):
        read_traces(tmp_path / NAME)


def test_a_link_to_a_file_is_read(tmp_path):
    """
    What counts is the file that a path leads to; a link that leads nowhere is skipped.
    """
    written(tmp_path / "elsewhere", observation("a"))
    (tmp_path / NAME).symlink_to(tmp_path / "elsewhere/observations_20260117.jsonl")
    (tmp_path / "traces_20260118.jsonl").symlink_to(tmp_path / "nowhere")

    assert [trace.trace_id for trace in read_traces(tmp_path)] == ["t1"]


def test_the_holes_of_a_sparse_file_are_not_read(tmp_path):
    """
    Records around a hole of 20 GB are read, and nothing of the hole is.
    """
    path = written(tmp_path, observation("a")) / "observations_20260117.jsonl"
    with path.open("r+b") as file:
        file.seek(20 << 30)
        file.write(line(observation("b", seq=1)))
        file.truncate(40 << 30)
    (trace,) = read_traces(tmp_path)

    assert [o.id for o in trace.observations] == ["a", "b"]


def test_a_line_beyond_the_limit_is_skipped(tmp_path, monkeypatch):
    """
    The rest of a line that is too long is not held, and the next line is read.
    """
    monkeypatch.setattr(source, "LONGEST_LINE_BYTES", 500)
    path = tmp_path / "observations_20260117.jsonl"
    long = line(observation("long", output="x" * 2000))
    path.write_bytes(line(observation("a")) + long + line(observation("b", seq=1)) + long[:-1])
    with path.open("rb") as file:
        offsets = [offset for offset, _ in lines_of(file)]
    reader = TraceReader(path)

    assert [o.id for trace in reader for o in trace.observations] == ["a", "b"]
    assert [place.line for place in reader.skipped] == [2, 4]
    assert [path.read_bytes()[at:][:6] for at in offsets] == [b'{"id":'] * 4


def test_records_on_one_line_are_decoded_once_each(tmp_path, monkeypatch):
    """
    A file without line ends is searched once; each of its records is then read by its own offset and length.
    """
    records = [observation(f"o{n}", seq=n) for n in range(50)]
    path = tmp_path / "observations_20260117.jsonl"
    path.write_bytes(b"".join(line(record)[:-1] for record in records) + line(trace_line(name="x")))
    sizes: list[int] = []
    monkeypatch.setattr(day_index, "decode", lambda piece: sizes.append(len(piece)) or decode(piece))
    (trace,) = read_traces(tmp_path)

    assert [o.id for o in trace.observations] == [f"o{n}" for n in range(50)]
    assert sum(sizes) == path.stat().st_size - 1
