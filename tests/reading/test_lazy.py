"""
`Observations`: a list that builds an observation when it is accessed, and only then.
"""

from __future__ import annotations

import copy
import gc
import pickle
import tracemalloc

import pytest
from reading_aids import died, head, observation, running, trace_line, written

from fluxloop.models import ObservationData, Trace
from fluxloop.reading import Assembly, lazy, read_traces, traces_of


@pytest.fixture
def built(monkeypatch):
    """The ids of the observations that have been built, in order."""
    ids: list[str] = []
    build = lazy.finished_observation

    def counted(record):
        ids.append(record["id"])
        return build(record)

    monkeypatch.setattr(lazy, "finished_observation", counted)
    return ids


@pytest.fixture
def trace(tmp_path) -> Trace:
    """A finished trace of a root with a hundred children, read from files."""
    children = [observation(f"o{n}", "root", seq=n + 1, output=n) for n in range(100)]
    written(tmp_path, *children, observation("root", output="x"), trace_line())
    return next(read_traces(tmp_path))


def test_reading_a_trace_builds_no_more_than_its_root(tmp_path, built):
    """
    The order and number of observations are known before they are built; the root is built if the trace lacks a value.
    """
    children = [observation(f"o{n}", "root", seq=n + 1) for n in range(100)]
    written(tmp_path / "whole", *children, observation("root"), trace_line())
    written(tmp_path / "lacking", *children, observation("root", output="x"), trace_line())
    (whole,), (lacking,) = read_traces(tmp_path / "whole"), read_traces(tmp_path / "lacking")

    assert (len(whole.observations), len(lacking.observations), lacking.output) == (101, 101, "x")
    assert built == ["root"]


def test_an_observation_is_built_once_when_it_is_accessed(trace, built):
    """
    Access by index, slice, tree and iteration yields the same objects, so a change to one is kept.
    """
    fifth = trace.observations[5]
    fifth.metadata["seen"] = True

    assert built == ["o4"]
    assert trace.observations[-96] is fifth
    assert trace.observations[4:6][1] is fifth
    assert trace.children(trace.roots[0])[4] is fifth
    assert [o for _, o in trace.walk()][5].metadata == {"seen": True}
    assert sorted(built) == sorted(o.id for o in trace.observations if o.id != "root")


def test_the_tree_builds_only_what_it_returns(trace, built):
    """
    The parents are known before the observations are built.
    """
    assert [o.id for o in trace.roots] == ["root"]
    assert built == []


def test_observations_have_the_methods_of_a_list(trace):
    """
    Whatever changes a list changes these in the same way.
    """
    observations, plain = trace.observations, list(trace.observations)
    extra = ObservationData(id="extra", type="tool", name="extra")

    assert observations == plain
    assert plain == observations
    assert observations + [extra] == [*plain, extra]  # noqa: RUF005 - adding is what is tested
    assert (extra in observations, observations.index(plain[3]), observations.count(plain[3])) == (False, 3, 1)
    assert [*reversed(observations)] == plain[::-1]
    observations.append(extra)
    observations.insert(0, extra)
    observations.sort(key=lambda o: o.id)
    assert [o.id for o in observations] == sorted(o.id for o in [*plain, extra, extra])
    assert observations.pop() is plain[0]
    del observations[1:]
    observations[0] = extra
    observations += [extra]
    observations.extend([extra])
    observations.reverse()
    assert [*observations] == [extra] * 3
    observations.remove(extra)
    observations.clear()
    assert not observations


def test_a_trace_can_be_copied_pickled_and_dumped(trace):
    """
    The observations of the copies are complete.
    """
    whole = Trace(**{**dict(trace), "observations": list(trace.observations)})
    dumped = whole.model_dump()

    assert trace.model_dump() == dumped
    assert trace.model_dump_json() == whole.model_dump_json()
    assert Trace.model_validate(dumped).model_dump() == dumped
    assert Trace(trace_id="t1", observations=trace.observations).observations == whole.observations
    for copied in (
        *(copy.copy(trace), copy.deepcopy(trace), trace.model_copy(deep=True), pickle.loads(pickle.dumps(trace))),
        trace.model_copy(update={"observations": copy.copy(trace.observations)}),
    ):
        assert copied.model_dump() == dumped
        assert len(copied.roots) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"parent_id": None, "parent_observation_id": "root"},
        {"id": 5},
        {"parent_id": 5},
        {"seq": None},
        {"seq": -1},
        {"seq": 2**63},
        {"seq": 1.5},
        {"seq": True},
        {"start_time": "2026-01-17T14:30:22Z"},
        {"start_time": None},
        {"start_time": 5},
        {"type": "unknown", "status": "unknown", "usage": 7, "metadata": []},
        {"name": None, "error": {"code": 5}},
    ],
    ids=str,
)
def test_a_record_reads_the_same_whether_it_is_built_later_or_at_once(tmp_path, fields):
    """
    Records of other programs, with values of any kind, give the same trace from files and from memory.
    """
    records = [observation("root"), {**observation("child", "root", seq=1), **fields}, trace_line(status=None)]
    written(tmp_path, *records)
    (from_files,), (from_memory,) = read_traces(tmp_path), traces_of(records)
    for trace in (from_files, from_memory):
        for each in trace.observations:
            if each.id not in ("root", "child"):
                each.id = "child"  # made up where the recorded one is not valid

    assert from_files.model_dump() == from_memory.model_dump()


def test_order_and_endings_do_not_depend_on_when_observations_are_built(tmp_path):
    """
    Repeated ids, colliding numbers, open and crashed observations: lines and built observations are sorted alike.
    """
    later = "2026-01-17T15:00:00.000000Z"
    written(
        tmp_path,
        observation("b", "root", seq=1, start_time=later),
        observation("a", "root", seq=1),
        observation("b", "root", seq=1, start_time=later, output="again"),
    )
    died(tmp_path, head("dead", "root", seq=2))
    with running(tmp_path, head("root")):
        (trace,) = read_traces(tmp_path)

    assert [o.id for o in trace.observations] == ["root", "a", "dead", "b"]
    assert (trace.status, trace.observations[3].output) == (None, "again")


def test_a_line_is_freed_when_its_observation_is_built(tmp_path):
    """
    While a trace is in use, the reader that yielded it does not hold its lines.
    """
    written(tmp_path, observation("a"), trace_line())
    traces = read_traces(tmp_path)
    trace = next(traces)

    assert len(trace.observations) == 1
    assert [each for each in gc.get_objects() if type(each) is Assembly] == []
    assert list(traces) == []


def test_a_large_trace_takes_the_memory_of_its_lines(tmp_path):
    """
    Reading a trace of many observations takes little more than the lines themselves.
    """
    written(
        tmp_path, *(observation(f"o{n}", "root", seq=n + 1) for n in range(20_000)), observation("root"), trace_line()
    )
    size = (tmp_path / "observations_20260117.jsonl").stat().st_size
    tracemalloc.start()
    (trace,) = read_traces(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert len(trace.observations) == 20_001
    assert peak < 2.5 * size
