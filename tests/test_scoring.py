"""`fluxloop.score`: what is recorded, where it is read, and what is refused."""

from __future__ import annotations

import copy
import json
import pickle
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy
import pytest
from cli.commands import completed
from collector_aids import collector
from reading_aids import observation, trace_line, written

import fluxloop
from fluxloop.errors import FluxLoopWarning
from fluxloop.models import Score
from fluxloop.reading import traces_of
from fluxloop.storage import MemoryStorage
from fluxloop.storage.retention import plan


@pytest.fixture
def memory() -> MemoryStorage:
    storage = MemoryStorage()
    fluxloop.configure(storage=storage)
    return storage


def only(traces: Any) -> fluxloop.Trace:
    [trace] = traces
    assert isinstance(trace, fluxloop.Trace)
    return trace


def test_a_score_is_a_line_of_its_own(memory: MemoryStorage) -> None:
    """
    In the record format: `record` says what it is, and the id comes first.
    """
    fluxloop.score("t1", "helpful", 1, comment="solved it")

    [line] = [record.line for record in memory._records]
    fields = json.loads(line)
    assert list(fields) == ["id", "trace_id", "record", "name", "value", "comment", "time"]
    assert {**fields, "id": "", "time": ""} == {
        "id": "",
        "trace_id": "t1",
        "record": "score",
        "name": "helpful",
        "value": 1,
        "comment": "solved it",
        "time": "",
    }
    assert UUID(fields["id"])
    assert fields["time"].endswith("Z")
    assert memory.scores() == [fields]


@pytest.mark.parametrize(
    ("value", "recorded"),
    [
        (True, True),
        (0, 0),
        (0.5, 0.5),
        ("good", "good"),
        (Decimal("0.25"), 0.25),
        (numpy.float32(0.5), 0.5),
        (numpy.int64(3), 3.0),
    ],
)
def test_numbers_flags_and_texts_are_values(memory: MemoryStorage, value: Any, recorded: object) -> None:
    """
    Numbers of other libraries, too; a flag stays one.
    """
    fluxloop.score("t1", "x", value)

    [score] = memory.scores()
    assert (score["value"], type(score["value"])) == (recorded, type(recorded))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((None, "x", 1), "needs the id of a trace"),
        (("", "x", 1), "needs the id of a trace"),
        (("t", "", 1), "needs a name"),
        (("t", 3, 1), "needs a name"),
        (("t", "x", None), "must be a finite number, a flag or text"),
        (("t", "x", float("nan")), "must be a finite number"),
        (("t", "x", [1]), "must be a finite number"),
        (("t", "x", 1, 2), "the comment of score 'x' must be text"),
    ],
)
def test_what_is_not_valid_is_warned_about_and_not_recorded(
    memory: MemoryStorage, arguments: tuple[Any, ...], message: str
) -> None:
    """
    At the line of the caller; the program goes on.
    """
    with pytest.warns(FluxLoopWarning, match=message) as caught:
        fluxloop.score(*arguments)

    assert caught[0].filename == __file__
    assert memory.scores() == []


def test_the_trace_can_be_given_as_such(memory: MemoryStorage) -> None:
    """
    The open trace, one that was read, and an id as UUID.
    """
    with fluxloop.instrument("run"):
        current = fluxloop.get_current_trace()
        assert current is not None
        fluxloop.score(current, "inside", True)
    trace = only(traces_of(memory.read()))
    fluxloop.score(trace, "outside", True)
    fluxloop.score(UUID(trace.trace_id), "as uuid", True)

    assert [score.name for score in only(traces_of(memory.read())).scores] == ["inside", "outside", "as uuid"]


def test_secrets_in_a_comment_are_masked_and_counted(memory: MemoryStorage) -> None:
    """
    As in every record.
    """
    key = f"sk-proj-{'a1B2c3D4' * 6}"
    before = fluxloop.report().redacted
    fluxloop.score("t1", "x", "y", comment=f"my key is {key}")

    assert key not in str(memory.scores())
    assert memory.scores()[0]["redacted"] == fluxloop.report().redacted - before == 1


def test_nothing_is_recorded_while_recording_is_off(memory: MemoryStorage) -> None:
    """
    `enabled=False` applies to scores.
    """
    fluxloop.configure(enabled=False)
    fluxloop.score("t1", "x", 1)

    assert memory.scores() == []


def test_a_score_that_cannot_be_stored_is_counted(tmp_path: Path) -> None:
    """
    The program does not notice.
    """
    (tmp_path / "file").touch()
    fluxloop.configure(storage="file", base_path=tmp_path / "file")
    before = fluxloop.report().failed
    fluxloop.score("t1", "x", 1)

    assert fluxloop.report().failed == before + 1


def scored(folder: Path) -> fluxloop.Trace:
    """Return a trace of January with a score of today, and another trace beside it."""
    for name in ("t1", "t2"):
        written(folder, observation(f"o-{name}", trace=name), trace_line(name), day="20260117")
    fluxloop.configure(storage="file", base_path=folder)
    fluxloop.score("t1", "helpful", True, comment="quick")
    fluxloop.score("t1", "stars", 4)
    return only(trace for trace in fluxloop.read_traces(folder) if trace.trace_id == "t1")


def test_a_score_of_a_later_day_is_read_with_its_trace(tmp_path: Path) -> None:
    """
    It is in the file of its day, and it does not show as a trace of its own.
    """
    trace = scored(tmp_path)

    assert [(score.name, score.value, score.comment) for score in trace.scores] == [
        ("helpful", True, "quick"),
        ("stars", 4, None),
    ]
    assert [len(each.scores) for each in fluxloop.read_traces(tmp_path)] == [2, 0]
    assert isinstance(trace.scores[0], Score)
    assert len(list(tmp_path.glob("scores_*.jsonl"))) == 1


def test_traces_with_scores_are_compared_copied_and_pickled(tmp_path: Path) -> None:
    """
    Read twice, they are equal, whether the scores were asked for or not.
    """
    trace = scored(tmp_path)
    again = only(each for each in fluxloop.read_traces(tmp_path) if each.trace_id == "t1")
    assert len(again.scores) == 2

    for other in (again, copy.deepcopy(trace), pickle.loads(pickle.dumps(trace))):
        assert other == trace
        assert [score.name for score in other.scores] == ["helpful", "stars"]


def test_filters_and_the_index_are_not_confused_by_scores(tmp_path: Path) -> None:
    """
    A score of a trace that is not there makes no trace, and its text is not searched.
    """
    scored(tmp_path)
    fluxloop.score("elsewhere", "helpful", False, comment="quick")

    assert [each.trace_id for each in fluxloop.read_traces(tmp_path, status="success")] == ["t1", "t2"]
    assert [each.trace_id for each in fluxloop.read_traces(tmp_path, text="quick")] == []


def test_view_shows_scores_and_json_has_them(tmp_path: Path) -> None:
    """
    Above the tree, and as a list.
    """
    scored(tmp_path)

    shown = completed("view", tmp_path, "--trace", "t1").out
    assert "helpful true (quick)" in shown
    assert "stars 4" in shown
    printed = json.loads(completed("view", tmp_path, "--trace", "t1", "--json").out)
    assert [(score["name"], score["value"]) for score in printed["scores"]] == [("helpful", True), ("stars", 4)]


def test_an_export_keeps_scores_and_one_file_reads_back(tmp_path: Path) -> None:
    """
    `fluxloop export jsonl` writes them with their trace, and what it wrote is a source like any other.
    """
    scored(tmp_path / "t")
    completed("export", "jsonl", tmp_path / "t", "-o", tmp_path / "all.jsonl")

    for filters in ({}, {"status": "success"}):
        traces = list(fluxloop.read_traces(tmp_path / "all.jsonl", **filters))
        assert [[score.name for score in each.scores] for each in traces] == [["helpful", "stars"], []]


def test_old_scores_are_pruned_with_their_day(tmp_path: Path) -> None:
    """
    `fluxloop prune` counts and deletes their files, too.
    """
    written(tmp_path, observation("o", trace="t"), day="20250117")
    (tmp_path / "scores_20250117.jsonl").write_text("{}\n")
    for path in tmp_path.iterdir():
        __import__("os").utime(path, (0, 0))

    [day] = plan(tmp_path, keep_bytes=0).deleted
    assert [path.name[:6] for path in day.paths] == ["observ", "scores"]


def test_scores_are_sent_to_a_collector(tmp_path: Path) -> None:
    """
    As a line of a batch, while the program runs, and by `fluxloop upload`.
    """
    with collector() as server:
        fluxloop.configure(storage=["file", "http"], base_path=tmp_path, collector_url=server.url)
        fluxloop.score("t1", "helpful", 1)
        assert fluxloop.flush(20)
        assert [record["record"] for record in server.records] == ["score"]

        assert completed("upload", tmp_path, "--url", server.url).out.startswith("sent 1 record")
        assert len(server.records) == 1
