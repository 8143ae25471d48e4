"""
The index file: made once, brought up to date, made again when it is damaged, and replaced where it cannot be used.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import offline
import pytest
from reading_aids import line, observation, trace_line, written

from fluxloop.reading.catalog import Catalog, new_records, scan, store
from fluxloop.reading.filters import TraceFilter

INDEX = ".index.sqlite"


def ids(folder: Path) -> list[str]:
    """The ids of the traces of *folder*, in the order of their ids."""
    with Catalog.of(folder) as catalog:
        return sorted(row.trace_id for row in catalog.rows())


def add(folder: Path, *traces: str, day: str = "20260117") -> None:
    """Record traces of one observation each."""
    for trace in traces:
        written(folder, observation(f"o-{trace}", trace=trace), trace_line(trace), day=day)


@pytest.fixture
def lines_read(monkeypatch):
    """The lines that are decoded while the index is brought up to date."""
    read: list[bytes] = []
    loads = new_records.orjson.loads

    class Loads:
        @staticmethod
        def loads(text: bytes) -> object:
            read.append(text)
            return loads(text)

    monkeypatch.setattr(new_records, "orjson", Loads)
    return read


def test_only_what_is_new_is_read(tmp_path, lines_read):
    """
    A second look reads no line; after an addition it reads the added lines.
    """
    add(tmp_path, "a", "b")
    ids(tmp_path)
    assert len(lines_read) == 4

    lines_read.clear()
    assert ids(tmp_path) == ["a", "b"]
    assert lines_read == []

    add(tmp_path, "c")
    assert ids(tmp_path) == ["a", "b", "c"]
    assert len(lines_read) == 2


def test_a_scan_that_was_stopped_goes_on_where_it_was(tmp_path, lines_read, monkeypatch):
    """
    Every batch is kept, so that a scan that is interrupted reads no line twice.
    """
    add(tmp_path, *"abcdefgh")
    monkeypatch.setattr(scan, "BATCH", 2)
    monkeypatch.setattr(scan, "BATCHES", 1)
    write = store.Store.set_file
    calls = iter(range(100))
    monkeypatch.setattr(store.Store, "set_file", lambda self, state: write(self, state) if next(calls) < 5 else 1 / 0)
    with pytest.raises(ZeroDivisionError):
        ids(tmp_path)
    monkeypatch.setattr(store.Store, "set_file", write)
    before = len(lines_read)

    assert ids(tmp_path) == [*"abcdefgh"]
    assert before < 16
    assert len(lines_read) - before < 16


def test_another_process_reads_the_same_files_meanwhile(tmp_path, monkeypatch):
    """
    What another process has added between two batches is not added again.
    """
    add(tmp_path, *"abcdefgh")
    monkeypatch.setattr(scan, "BATCH", 2)
    monkeypatch.setattr(scan, "BATCHES", 1)
    set_file, transaction = store.Store.set_file, store.Store.transaction
    written_files: list[str] = []
    others: list[list[str]] = []

    def noted(self, state):
        written_files.append(state.name)
        set_file(self, state)

    def after_another(self):
        if written_files and not others:
            others.append([])
            others[0] = ids(tmp_path)
        return transaction(self)

    monkeypatch.setattr(store.Store, "set_file", noted)
    monkeypatch.setattr(store.Store, "transaction", after_another)
    with Catalog.of(tmp_path) as catalog:
        assert catalog.notice is None
        assert catalog.count() == 8

    assert others == [[*"abcdefgh"]]


@pytest.mark.parametrize("change", ["truncate", "rewrite", "replace", "remove", "rename"])
def test_a_file_that_changed_otherwise_than_by_additions_is_read_again(tmp_path, change):
    """
    A file that was truncated, rewritten, replaced, removed or rotated away: its day is read again, other days stay.
    """
    add(tmp_path, "a", "b")
    add(tmp_path, "other", day="20260118")
    assert ids(tmp_path) == ["a", "b", "other"]
    observations, traces = (tmp_path / f"{kind}_20260117.jsonl" for kind in ("observations", "traces"))

    if change == "truncate":
        os.truncate(observations, 0)
        os.truncate(traces, 0)
        assert ids(tmp_path) == ["other"]
    elif change == "rewrite":
        for path in (observations, traces):
            path.write_bytes(path.read_bytes().replace(b'"a"', b'"x"').replace(b'"o-a"', b'"o-x"') + b"\n")
        assert ids(tmp_path) == ["b", "other", "x"]
    elif change == "replace":
        (tmp_path / "new").write_bytes(line(trace_line("n")))
        (tmp_path / "new").rename(traces)
        assert ids(tmp_path) == ["a", "b", "n", "other"]
    elif change == "remove":
        observations.unlink()
        traces.unlink()
        assert ids(tmp_path) == ["other"]
    else:
        observations.rename(tmp_path / "observations.old")
        traces.rename(tmp_path / "traces.old")
        add(tmp_path, "fresh")
        assert ids(tmp_path) == ["fresh", "other"]


def test_a_line_that_is_being_written_is_read_when_it_is_complete(tmp_path):
    """
    The beginning of a line is neither a record nor damage; the next look reads the whole line.
    """
    add(tmp_path, "a")
    whole = line(trace_line("b"))
    with (tmp_path / "traces_20260117.jsonl").open("ab") as file:
        file.write(whole[:40])
        file.flush()
        assert ids(tmp_path) == ["a"]
        file.write(whole[40:])
    assert ids(tmp_path) == ["a", "b"]


def test_a_complete_last_line_needs_no_line_end(tmp_path):
    """
    A whole record at the end of a file is read, and not read twice when a line end follows.
    """
    add(tmp_path, "a")
    with (tmp_path / "traces_20260117.jsonl").open("ab") as file:
        file.write(line(trace_line("b"))[:-1])
        file.flush()
        assert ids(tmp_path) == ["a", "b"]
        file.write(b"\n" + line(trace_line("c")))
    assert ids(tmp_path) == ["a", "b", "c"]


def test_the_index_can_be_deleted_at_any_time(tmp_path):
    """
    Without the file, the next look makes it again.
    """
    add(tmp_path, "a")
    ids(tmp_path)
    (tmp_path / INDEX).unlink()

    assert ids(tmp_path) == ["a"]
    assert (tmp_path / INDEX).exists()


def test_only_the_owner_may_read_the_index(tmp_path):
    """
    It holds the first words of inputs and outputs, so it is as private as the records.
    """
    add(tmp_path, "a")
    ids(tmp_path)

    assert (tmp_path / INDEX).stat().st_mode & 0o777 == 0o600


def test_an_index_of_another_version_is_made_again(tmp_path):
    """
    A file of a version that is not known is dropped.
    """
    add(tmp_path, "a")
    with sqlite3.connect(tmp_path / INDEX) as other:
        other.execute("CREATE TABLE traces (something TEXT)")
        other.execute("PRAGMA user_version = 99")
    other.close()

    assert ids(tmp_path) == ["a"]


@pytest.mark.parametrize("content", [b"not a database at all" * 300, b"SQLite format 3\0" + b"\xff" * 5_000])
def test_a_damaged_index_is_made_again_with_a_notice(tmp_path, content):
    """
    What is not a database is replaced, with a notice, and the answer is right.
    """
    add(tmp_path, "a")
    (tmp_path / INDEX).write_bytes(content)

    with Catalog.of(tmp_path) as catalog:
        assert [row.trace_id for row in catalog.rows()] == ["a"]
        assert "damaged" in (catalog.notice or "")
    with Catalog.of(tmp_path) as catalog:
        assert catalog.notice is None


def test_a_folder_has_the_name_of_the_index(tmp_path):
    """
    Something else that has the name of the file stays, and the records are read without an index.
    """
    add(tmp_path, "a")
    (tmp_path / INDEX).mkdir()

    with Catalog.of(tmp_path) as catalog:
        assert [row.trace_id for row in catalog.rows()] == ["a"]
        assert "cannot be used" in (catalog.notice or "")


def test_while_another_process_writes_the_index_the_records_are_read_without_it(tmp_path, monkeypatch):
    """
    The file is waited for, and then an index in memory takes its place.
    """
    add(tmp_path, "a")
    ids(tmp_path)
    add(tmp_path, "b")
    monkeypatch.setattr(store, "WAIT_S", 0.05)
    other = sqlite3.connect(tmp_path / INDEX, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")

    with Catalog.of(tmp_path) as catalog:
        assert sorted(row.trace_id for row in catalog.rows()) == ["a", "b"]
        assert "locked" in (catalog.notice or "")
    other.close()

    assert ids(tmp_path) == ["a", "b"]


@pytest.mark.skipif(os.name == "nt", reason="a read-only folder is a matter of POSIX permissions")
def test_a_folder_that_may_only_be_read_is_listed():
    """
    Records of another user: without the right to write, the index is in memory, and nothing is left behind.
    """
    script = (
        "import os, sys, urllib.parse\n"
        "from fluxloop.reading.catalog import Catalog\n"
        "if os.geteuid() == 0:\n"
        "    os.setuid(65534)\n"
        "catalog = Catalog.of(sys.argv[1])\n"
        "print([row.trace_id for row in catalog.rows()], catalog.notice)\n"
    )
    with tempfile.TemporaryDirectory() as name:  # not below tmp_path, which other users may not enter
        folder = Path(name)
        add(folder, "a")
        for path in folder.iterdir():
            path.chmod(0o444)
        folder.chmod(0o555)
        command = [sys.executable, "-c", script, name]
        done = subprocess.run(command, capture_output=True, text=True, env=offline.environment())
        left_behind = [path.name for path in folder.glob(".*")]
        folder.chmod(0o755)

    assert done.stdout.startswith("['a'] the index"), done.stderr
    assert left_behind == []


def test_many_readers_and_a_writer_at_once(tmp_path):
    """
    Several lists at once, while a program adds traces: each sees whole traces, and in the end all are there.
    """
    add(tmp_path, "first")
    wrong: list[object] = []
    done = threading.Event()

    def read() -> None:
        seen = 0
        while not done.is_set():
            try:
                with Catalog.of(tmp_path) as catalog:
                    rows = catalog.rows()
            except Exception as error:
                wrong.append(error)
                return
            wrong.extend(row for row in rows if row.observations > 1)
            if len(rows) < seen:
                wrong.append((len(rows), seen))
            seen = len(rows)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(60):
        add(tmp_path, f"t{number}")
    done.set()
    for reader in readers:
        reader.join()

    assert wrong == []
    assert len(ids(tmp_path)) == 61


def test_files_that_disappear_while_they_are_read_are_left_out(tmp_path, monkeypatch):
    """
    A file that is removed between listing the folder and opening it adds nothing, and breaks nothing.
    """
    add(tmp_path, "a")
    add(tmp_path, "b", day="20260118")
    opened = new_records.open_records

    def removed_first(path: Path) -> object:
        if "20260118" in path.name:
            path.unlink(missing_ok=True)
        return opened(path)

    monkeypatch.setattr(new_records, "open_records", removed_first)

    assert ids(tmp_path) == ["a"]


def test_one_day_and_one_file_of_its_own(tmp_path):
    """
    The path of one file shows its day; a file with another name is read without an index.
    """
    add(tmp_path, "a")
    add(tmp_path, "b", day="20260118")
    exported = tmp_path / "exported.jsonl"
    exported.write_bytes(line(observation("o")) + line(trace_line("t1")))

    assert ids(tmp_path / "traces_20260118.jsonl") == ["b"]
    assert ids(exported) == ["t1"]


def test_short_ids_are_the_differing_part(tmp_path):
    """
    A short id is the end of an id, as long as it takes to differ from all others, listed or not.
    """
    add(tmp_path, "0b8f-8000-100000000001", "0b8f-8000-100000000002", "0b8f-9999-100000000002", "trace_abc")
    with Catalog.of(tmp_path) as catalog:
        short = {row.trace_id: catalog.short_id(row.trace_id) for row in catalog.rows()}

        assert short == {
            "0b8f-8000-100000000001": "000001",
            "0b8f-8000-100000000002": "0-100000000002",
            "0b8f-9999-100000000002": "9-100000000002",
            "trace_abc": "ce_abc",
        }
        assert all([row.trace_id for row in catalog.with_id(end)] == [id] for id, end in short.items())
        assert len(catalog.with_id("0b8f")) == catalog.count_with_id("0b8f") == 3
        assert catalog.with_id("0b8f", limit=2)[0].trace_id.startswith("0b8f")


def test_a_text_is_found_wherever_it_is_recorded(tmp_path):
    """
    Names, inputs, outputs and errors of traces and observations are searched, ignoring case; other fields are not.
    """
    cases = {
        "in-input": {"input": {"city": "Königsberg, 14 °C"}},
        "in-output": {"output": ["nested", {"deep": "to KÖNIGSBERG, now"}]},
        "in-error": {"error": "no königsberg, sorry"},
        "in-name": {"name": "Königsberg, the tool"},
        "in-metadata": {"metadata": {"city": "Königsberg, "}},
        "nowhere": {},
    }
    for trace, fields in cases.items():
        written(tmp_path, observation(f"o-{trace}", trace=trace, **fields), trace_line(trace))
    escaped = line(observation("o-e", trace="escaped", input="königsberg, escaped")).replace("ö".encode(), b"\\u00f6")
    with (tmp_path / "observations_20260117.jsonl").open("ab") as file:
        file.write(escaped)

    with Catalog.of(tmp_path) as catalog:
        for text in ("königsberg,", "KÖNIGSBERG, ", "ö"):
            found = {row.trace_id for row in catalog.rows(TraceFilter.of(text=text))}
            assert found == {"in-input", "in-output", "in-error", "in-name", "escaped"}, text
        assert catalog.count(TraceFilter.of(text="success")) == 0
        assert catalog.count(TraceFilter.of(text="no königsberg", status="error")) == 0


@pytest.mark.parametrize("search", ["hyperscan", "frequent", "bytes"])
@pytest.mark.parametrize("block", [7, 64, 1 << 16])
def test_a_text_is_found_across_blocks(tmp_path, monkeypatch, block, search):
    """
    A file is searched block by block; a text on the border of two is found, in its own line.

    It makes no difference whether Hyperscan searches, or stops to as the text is frequent, or is missing.
    """
    if search == "bytes":
        monkeypatch.setitem(sys.modules, "hyperscan", None)
    if search == "frequent":
        monkeypatch.setattr("fluxloop.reading.catalog.text.MOST_OCCURRENCES", 1)
    monkeypatch.setattr("fluxloop.reading.catalog.text._BLOCK_BYTES", block)
    for number in range(20):
        fields = {"input": f"{'x' * number} needle number{number}"}
        written(tmp_path, observation(f"o{number}", trace=f"t{number}", **fields), trace_line(f"t{number}"))

    with Catalog.of(tmp_path) as catalog:
        for number in (0, 7, 13, 19):
            wanted = TraceFilter.of(text=f"Needle Number{number}")
            assert f"t{number}" in {row.trace_id for row in catalog.rows(wanted)}
        assert catalog.count(TraceFilter.of(text="needle")) == 20


def test_what_is_searched_is_not_kept(tmp_path, monkeypatch):
    """
    The prefilters of rules are kept between processes; the texts that a person looks for are not.
    """
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    written(tmp_path, observation("o", trace="t", input="needle"), trace_line("t"))

    with Catalog.of(tmp_path) as catalog:
        assert catalog.count(TraceFilter.of(text="needle")) == 1
    assert not (tmp_path / "cache").exists()


def test_a_second_record_on_a_damaged_line_is_found(tmp_path):
    """
    Of a trace that was found, no further line is decoded; but of another one on the same line, it is.
    """
    first, second = (observation(f"o{number}", trace=f"t{number}", input="needle") for number in (1, 2))
    written(tmp_path, first, first, second, trace_line("t1"), trace_line("t2"))
    (path,) = tmp_path.glob("observations_*.jsonl")
    lines = path.read_bytes().splitlines()
    path.write_bytes(lines[0] + b"\n" + lines[1] + lines[2] + b"\n")

    with Catalog.of(tmp_path) as catalog:
        assert catalog.count(TraceFilter.of(text="needle")) == 2


def test_ids_that_begin_with_a_short_trace_id_are_different(tmp_path):
    """
    The observations of a trace whose id is short, and begins their ids, are all counted.
    """
    written(tmp_path, *(observation(f"t-{number}", trace="t") for number in range(3)), trace_line("t"))

    with Catalog.of(tmp_path) as catalog:
        assert [row.observations for row in catalog.rows()] == [3]


def test_an_index_whose_making_was_stopped_is_completed(tmp_path):
    """
    Where everything was read, but the indexes of the tables were not made, these are made the next time.
    """
    add(tmp_path, *"abc")
    ids(tmp_path)
    with sqlite3.connect(tmp_path / INDEX) as connection:
        connection.execute("DROP INDEX by_id")
        connection.execute("DROP INDEX by_start")
    connection.close()

    assert ids(tmp_path) == [*"abc"]

    connection = sqlite3.connect(tmp_path / INDEX)
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'index'")}
    connection.close()
    assert {"by_id", "by_start"} <= names


def test_json_that_only_resembles_a_record_makes_no_trace(tmp_path):
    """
    A line with some fields of an observation is counted as skipped, and its trace is not in the index.
    """
    written(tmp_path, observation("o", trace="t"), trace_line("t"))
    (path,) = tmp_path.glob("observations_*.jsonl")
    with path.open("a") as file:
        file.write('{"parent_id":null,"trace_id":"ghost"}\n{"parent_id":null,"trace_id":["x"],"id":"o"}\n')

    assert "ghost" not in ids(tmp_path)
