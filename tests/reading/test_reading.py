"""
`read_traces`: every readable record in a folder is read, in order, and the rest is counted.
"""

from __future__ import annotations

import json
import tracemalloc
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reading_aids import GOLDEN, died, drawn, head, line, observation, running, trace_line, written

import fluxloop.reading.day_index
from fluxloop.enums import ObservationType, Status
from fluxloop.errors import ReadError
from fluxloop.reading import TraceReader, read_traces


def test_the_first_schema_reads_back_with_every_type_and_every_ending():
    """
    The golden files of schema 1 contain each observation type and each status.
    """
    traces = list(read_traces(GOLDEN / "schema_1"))

    assert [drawn(trace) for trace in traces] == [
        [
            "WeatherAgent [success]",
            "AGENT WeatherAgent [success]",
            "  RETRIEVAL find_pages [success]",
            "    EMBEDDING embed [success]",
            "  GENERATION plan [success]",
            "  TOOL get_weather [success]",
            "    SPAN http [success]",
            "  EVENT cache_miss [success]",
            "  CHAIN respond [success]",
            "    GENERATION answer [success]",
            "  EVALUATION politeness [success]",
        ],
        [
            "TravelAgent [error]",
            "AGENT TravelAgent [error]",
            "  TOOL lookup [error]",
            "  TOOL slow_search [cancelled]",
            "  GENERATION draft [abandoned]",
            "  CHAIN approve [interrupted]",
            "  SPAN worker [crashed]",
        ],
        ['instrumented "scope" ☂ [success]', 'SPAN instrumented "scope" ☂ [success]'],
    ]
    assert {o.type for trace in traces for o in trace.observations} == set(ObservationType)
    assert {o.status for trace in traces for o in trace.observations} == set(Status)


def test_the_second_schema_reads_back_with_whole_histories():
    """
    The golden files of schema 2 have a conversation once; each record has the messages that it referred to.
    """
    [trace] = read_traces(GOLDEN / "schema_2")
    history = trace.input["messages"]
    given = {o.name: o.input["messages"] if isinstance(o.input, dict) else o.input for o in trace.observations}

    assert [one["content"][:11] for one in history] == [f"Message {index}: "[:11] for index in range(90)]
    assert given == {
        "Booking": history,
        "plan_step": history,
        "plan": history,
        "book_step": [*history, {"role": "assistant", "content": "Shall I book it?"}],
    }
    assert trace.output["messages"] == [*given["book_step"], {"role": "assistant", "content": "Booked."}]
    assert trace.observations[0].output == trace.output
    assert (GOLDEN / "schema_2/observations_20260117.jsonl").read_bytes().count(b"Message 7:") == 1


def test_every_field_of_a_record_comes_back():
    """
    The fields of a GENERATION and of its trace have the names of the record format.
    """
    trace = next(read_traces(GOLDEN / "schema_1"))
    answer = next(o for o in trace.observations if o.name == "answer")

    assert (trace.session_id, trace.user_id, trace.tags) == (
        "7c1e0000-0000-8000-8000-000000000001",
        "ada",
        ["production", "eu"],
    )
    assert (trace.metadata, trace.input, trace.output) == (
        {"version": "1.4"},
        {"prompt": "Weather in Paris?"},
        "Take an umbrella.",
    )
    assert trace.usage is not None
    assert (trace.usage.input_tokens, trace.usage.cache_read_tokens) == (1523, 1024)
    assert str(trace.start_time) == "2026-01-17 14:30:22.000456+00:00"
    assert (answer.model, answer.time_to_first_token_ms, answer.finish_reasons) == ("gpt-4o", 212.5, ["stop"])
    assert (answer.seq, answer.duration_ms, answer.prompt_tokens) == (8, 600.0, 310)
    assert answer.metadata["stream"]["items"] == ["Take ", "an ", "umbrella."]


def test_files_of_the_published_packages_read_the_same_way():
    """
    Upstream's spellings: ``id`` on traces, ``parent_observation_id``, ``agent``, ``+01:00``, bare NaN, no status.
    """
    demo, broken = read_traces(GOLDEN / "upstream")

    assert drawn(demo) == [
        "demo [success]",
        "AGENT ChatAgent [success]",
        "  TOOL search [success]",
        "  GENERATION complete [success]",
    ]
    assert drawn(broken) == ["broken [error]", "AGENT ChatAgent [error]"]
    complete = demo.observations[2]
    assert (complete.prompt_tokens, complete.model_parameters) == (11, {"temperature": 0.2})
    assert (demo.duration_ms, demo.usage.total_tokens if demo.usage else None) == (309.191, 15)
    assert str(broken.start_time) == "2026-11-20 11:19:07+00:00"
    assert broken.error == "it broke"


def test_damage_costs_only_the_damaged_records(caplog):
    """
    Torn, glued, blank and foreign lines: whole records are read, the rest is counted and logged once.
    """
    reader = TraceReader(GOLDEN / "damaged")
    traces = {trace.name: trace for trace in reader}

    assert drawn(traces["Survivor"]) == [
        "Survivor [success]",
        "AGENT Survivor [success]",
        "  TOOL plain [success]",
        "  TOOL windows [success]",
        "  TOOL glued [success]",
        "  TOOL lost_newline [success]",
        "  TOOL after_it [success]",
        "  TOOL latin [success]",
        "  TOOL surrogate [success]",
        "  SPAN new_type [success]",
        "  TOOL new_status [success]",
        "  TOOL odd_fields [error]",
        "  TOOL numbers [success]",
        "  SPAN no_type [success]",
        "  TOOL twice [success]",
        "  TOOL  [success]",
        "TOOL orphan [success]",
        "TOOL own_parent [success]",
        "TOOL ring_a [success]",
        "  TOOL ring_b [success]",
    ]
    assert [*traces] == ["Survivor", "NoTraceLine", "", "OnlyATraceLine", "FromTheFuture"]
    observations, in_traces = "observations_20260117.jsonl", "traces_20260117.jsonl"
    assert [(place.path.name, place.line) for place in reader.skipped] == [
        *((observations, number) for number in (5, 6, 8, 9, 10, 11, 12, 13, 29, 33)),
        (in_traces, 4),
    ]
    assert reader.skipped_count == 11
    damage, schema = (record.getMessage() for record in caplog.records)
    assert "skipped 11 places that are not records: observations_20260117.jsonl line 5 (torn, or not JSON)" in damage
    assert "written by a newer FluxLoop (schema 7, this version reads 2)" in schema


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damage_does_not_affect_other_lines(tmp_path, data):
    """
    Whatever bytes are inserted anywhere in a file, each observation on an untouched line is read.
    """
    path = tmp_path / "observations_20260117.jsonl"
    lines = (GOLDEN / "schema_1" / path.name).read_bytes().splitlines(keepends=True)
    whole = b"".join(lines)
    junk = data.draw(st.binary(max_size=8))
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, min(len(whole), start + 1200)))
    path.write_bytes(whole[:start] + junk + whole[end:])
    ends = [*accumulate(map(len, lines))]
    untouched = {
        json.loads(text)["id"] for text, to in zip(lines, ends, strict=True) if to <= start or to - len(text) > end
    }

    assert untouched <= {o.id for trace in read_traces(tmp_path) for o in trace.observations}


def test_a_trace_without_its_line_is_derived_from_its_observations():
    """
    Where the process died before it wrote the trace's line, status, error and duration come from the root.
    """
    trace = next(t for t in read_traces(GOLDEN / "damaged") if t.name == "NoTraceLine")

    assert (trace.status, trace.error, trace.duration_ms) == (Status.ERROR, "boom", 50.0)


def test_a_trace_that_no_process_has_open_and_none_ended_has_crashed():
    """
    A trace without a root, a line and a living process is crashed, not running.
    """
    trace = next(t for t in read_traces(GOLDEN / "damaged") if t.trace_id.endswith("b"))

    assert drawn(trace) == [" [crashed]", "TOOL RootNeverEnded [success]"]


def test_one_file_is_read_with_its_counterpart(tmp_path):
    """
    The path of either file of a day yields the traces of that day only.
    """
    written(tmp_path, observation("a"), trace_line())
    written(tmp_path, observation("b", trace="t2"), trace_line("t2"), day="20260118")

    assert [t.trace_id for t in read_traces(tmp_path / "observations_20260117.jsonl")] == ["t1"]
    assert [t.session_id for t in read_traces(tmp_path / "observations_20260117.jsonl")] == ["s1"]
    assert [len(t.observations) for t in read_traces(tmp_path / "traces_20260118.jsonl")] == [1]


def test_a_file_without_its_counterpart_is_read(tmp_path):
    """
    Observations without a traces file, and traces without an observations file, are read.
    """
    only_observations = written(tmp_path / "a", observation("a"))
    only_traces = written(tmp_path / "b", trace_line(output="out"))

    assert [drawn(t) for t in read_traces(only_observations)] == [["a [success]", "TOOL a [success]"]]
    assert [(drawn(t), t.output) for t in read_traces(only_traces)] == [(["t1 [success]"], "out")]


def test_a_file_of_any_name_is_read_by_the_shape_of_its_lines(tmp_path):
    """
    In one file with another name, observations and traces are distinguished by their fields.
    """
    path = tmp_path / "copied.txt"
    path.write_bytes(line(trace_line(name="Run")) + line(observation("a")))

    assert [drawn(t) for t in read_traces(path)] == [["Run [success]", "TOOL a [success]"]]


def test_an_experiments_folder_is_read_through_its_artifacts(tmp_path):
    """
    The records are in ``artifacts``, undated; the files beside that folder are extracts in other shapes.
    """
    artifacts = tmp_path / "artifacts"
    artifacts.mkdir()
    (artifacts / "observations.jsonl").write_bytes(line(observation("a")))
    (tmp_path / "traces.jsonl").write_bytes(line({"trace_id": "t1", "iteration": 0, "success": True}))

    assert [drawn(t) for t in read_traces(tmp_path)] == [["a [success]", "TOOL a [success]"]]


def test_a_wrong_path_raises_at_once_and_names_the_next_step(tmp_path):
    """
    The call itself raises, not the first iteration; the message names what was expected and what to configure.
    """
    with pytest.raises(ReadError, match=r"no such file or folder.*configure\(base_path="):
        read_traces(tmp_path / "nowhere")


def test_a_file_without_read_permission_is_a_read_error(tmp_path, monkeypatch):
    """
    An OSError becomes a ReadError with the same reason.
    """
    path = tmp_path / "traces_20260117.jsonl"
    path.touch()
    monkeypatch.setattr("os.open", _refuse)

    with pytest.raises(ReadError, match="permission to read it is denied"):
        read_traces(path)


def _refuse(*_: object, **__: object) -> None:
    raise PermissionError(13, "Permission denied")


def test_an_empty_folder_yields_nothing(tmp_path):
    """
    A folder without records is not an error: the program may not have run yet.
    """
    assert list(read_traces(tmp_path)) == []


def test_one_trace_is_selected_by_its_id(tmp_path):
    """
    ``trace_id`` yields only the trace with exactly that id.
    """
    written(tmp_path, observation("a"), observation("b", trace="t12"))

    assert [t.trace_id for t in read_traces(tmp_path, trace_id="t1")] == ["t1"]
    assert [t.trace_id for t in read_traces(tmp_path, trace_id="t")] == []


def test_traces_come_in_the_order_they_began_over_days(tmp_path):
    """
    Within a day traces are sorted by start, not by position in the file; `newest` is the reverse order.
    """
    late, early = "2026-01-17T23:00:00.000000Z", "2026-01-17T01:00:00.000000Z"
    written(
        tmp_path, observation("a", trace="late", start_time=late), observation("b", trace="early", start_time=early)
    )
    written(tmp_path, observation("c", trace="next", start_time="2026-01-18T00:00:00.000000Z"), day="20260118")

    assert [t.trace_id for t in read_traces(tmp_path)] == ["early", "late", "next"]
    assert [t.trace_id for t in TraceReader(tmp_path).newest()] == ["next", "late", "early"]


def test_the_newest_traces_are_read_without_the_older_days(tmp_path):
    """
    Reading newest first opens the files of an older day only when they are needed.
    """
    written(tmp_path, observation("a"), day="20260118")
    written(tmp_path, observation("b", trace="t0"))
    newest = TraceReader(tmp_path).newest()

    assert next(newest).trace_id == "t1"
    (tmp_path / "observations_20260117.jsonl").unlink()
    assert list(newest) == []


def test_the_last_record_of_an_id_wins(tmp_path):
    """
    A record written twice is one observation with the values written last.
    """
    written(
        tmp_path, observation("a", output=1), observation("a", output=2), trace_line(tags=["x"]), trace_line(tags=["y"])
    )
    (trace,) = read_traces(tmp_path)

    assert [o.output for o in trace.observations] == [2]
    assert trace.tags == ["y"]


def test_seq_orders_what_the_clock_cannot(tmp_path):
    """
    Where every observation has its own number, the numbers decide the order, even if the clock was set back.
    """
    noon, before = "2026-01-17T12:00:00.000000Z", "2026-01-17T11:00:00.000000Z"
    written(tmp_path, observation("second", seq=1, start_time=before), observation("first", seq=0, start_time=noon))
    (trace,) = read_traces(tmp_path)

    assert [o.name for o in trace.observations] == ["first", "second"]


def test_the_clock_orders_what_several_processes_numbered(tmp_path):
    """
    Numbers of two processes collide and cannot be compared: the start decides, then the number.
    """
    noon, later = "2026-01-17T12:00:00.000000Z", "2026-01-17T12:00:01.000000Z"
    written(
        tmp_path,
        observation("b0", seq=0, start_time=later),
        observation("a1", seq=1, start_time=noon),
        observation("a0", seq=0, start_time=noon),
    )
    (trace,) = read_traces(tmp_path)

    assert [o.name for o in trace.observations] == ["a0", "a1", "b0"]


def test_observations_open_in_a_killed_process_are_crashed(tmp_path):
    """
    The open root and tool are crashed, and so is the trace; what had ended is unchanged.
    """
    written(tmp_path, observation("done", "root", seq=1))
    died(tmp_path, head("root"), head("tool", "root", seq=2, input={"q": 1}))
    (trace,) = read_traces(tmp_path)

    assert drawn(trace) == ["Agent [crashed]", "TOOL root [crashed]", "  TOOL done [success]", "  TOOL tool [crashed]"]
    assert (trace.session_id, trace.tags, trace.end_time, trace.duration_ms) == ("s9", ["x"], None, None)
    assert trace.observations[2].input == {"q": 1}


def test_observations_open_in_a_living_process_are_running(tmp_path):
    """
    The status of an open observation, and of its trace, is None while the process is alive.
    """
    written(tmp_path, observation("done", "root", seq=1))
    with running(tmp_path, head("root")):
        (trace,) = read_traces(tmp_path)

    assert drawn(trace) == ["Agent [running]", "TOOL root [running]", "  TOOL done [success]"]


def test_a_finished_record_wins_over_its_beginning(tmp_path):
    """
    A process that died after writing a record and before clearing its slot has lost nothing.
    """
    written(tmp_path, observation("root", output="done"), trace_line())
    died(tmp_path, head("root"))
    (trace,) = read_traces(tmp_path)

    assert drawn(trace) == ["t1 [success]", "TOOL root [success]"]


def test_a_child_may_crash_without_its_trace(tmp_path):
    """
    A worker process died within a trace that another process ended successfully.
    """
    written(tmp_path, observation("root"), trace_line())
    died(tmp_path, head("worker", "root", seq=1))
    (trace,) = read_traces(tmp_path)

    assert drawn(trace) == ["t1 [success]", "TOOL root [success]", "  TOOL worker [crashed]"]


def test_a_trace_that_is_only_in_a_journal_is_found(tmp_path):
    """
    A program whose first observation is still open has written no record yet, and its trace is read.
    """
    day_before = {"start_time": "2026-01-16T10:00:00.000000Z"}
    written(tmp_path, observation("a"))
    died(tmp_path, head("root", trace="t0", **day_before))

    assert [drawn(t)[0] for t in read_traces(tmp_path)] == ["Agent [crashed]", "a [success]"]
    assert [t.trace_id for t in read_traces(tmp_path / "observations_20260117.jsonl")] == ["t1"]


def test_usage_counts_each_model_call_once(tmp_path):
    """
    Usage that agents and turns repeat from their model calls is not counted again.
    """
    written(
        tmp_path,
        observation("agent", usage={"input_tokens": 30, "output_tokens": 3}),
        observation("turn", "agent", seq=1, usage={"input_tokens": 30}),
        observation("call1", "turn", seq=2, usage={"input_tokens": 10, "output_tokens": 1}),
        observation("call2", "turn", seq=3, usage={"input_tokens": 20, "output_tokens": 2}),
        observation("embed", "agent", seq=4, usage={"input_tokens": 5}),
    )
    (trace,) = read_traces(tmp_path)

    assert trace.usage is not None
    assert (trace.usage.input_tokens, trace.usage.output_tokens, trace.usage.total_tokens) == (35, 3, None)


def test_a_file_of_foreign_lines_is_counted_in_bounded_memory(tmp_path, monkeypatch):
    """
    All places are counted, and a limited number is remembered, whatever the size of the file.
    """
    monkeypatch.setattr(fluxloop.reading.day_index, "MAX_SKIPPED", 3)
    (tmp_path / "observations_20260117.jsonl").write_bytes(b"no record\n" * 50)
    reader = TraceReader(tmp_path)

    assert list(reader) == []
    assert (reader.skipped_count, [place.line for place in reader.skipped]) == (50, [1, 2, 3])


def test_reading_again_includes_records_added_since(tmp_path):
    """
    A reader keeps nothing from one pass to the next, and its counts describe the last pass.
    """
    written(tmp_path, observation("a"))
    with (tmp_path / "observations_20260117.jsonl").open("ab") as file:
        file.write(b"torn\n")
    reader = TraceReader(tmp_path)
    before = len(list(reader))
    written(tmp_path, observation("b", trace="t2"))

    assert (before, len(list(reader)), reader.skipped_count) == (1, 2, 1)


def test_memory_follows_the_largest_trace_and_not_the_file(tmp_path):
    """
    Each further trace adds only an index entry to the memory in use.
    """
    few = written(tmp_path / "few", *(observation("a", trace=f"t{n}", output="x" * 2000) for n in range(100)))
    many = written(tmp_path / "many", *(observation("a", trace=f"t{n}", output="x" * 2000) for n in range(1000)))

    assert _peak(many) < _peak(few) + 900 * 600


def _peak(folder: Path) -> int:
    tracemalloc.start()
    for _ in read_traces(folder):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_every_observation_belongs_to_a_trace_of_its_id():
    """
    Every observation of the golden files joins a trace by ``trace_id``.
    """
    folder = GOLDEN / "schema_1"
    ids = {json.loads(text)["trace_id"] for text in (folder / "traces_20260117.jsonl").read_text("utf-8").splitlines()}

    assert {o.trace_id for trace in read_traces(folder) for o in trace.observations} == ids
