"""
`Watch`: each poll returns what ended since the last one and what is open, and nothing twice.
"""

from __future__ import annotations

import shutil

from reading_aids import died, drawn, head, line, observation, running, trace_line, written

import fluxloop.reading.watch
from fluxloop.reading.watch import Watch


def summary(changes):
    """The changes of one poll: ended observations with their traces, ended traces, running traces."""
    return (
        [f"{trace}/{o.name} [{o.status}]" for trace, o in changes.observations],
        [drawn(trace) for trace in changes.ended],
        [drawn(trace) for trace in changes.running],
    )


def test_traces_that_ended_before_are_not_reported(tmp_path):
    """
    Watching starts now: traces that ended or crashed before are not reported.
    """
    written(tmp_path, observation("a"), trace_line())
    died(tmp_path, head("old", trace="t0"))
    watch = Watch(tmp_path)

    assert summary(watch.poll()) == ([], [], [])


def test_a_trace_is_running_until_its_line_is_written(tmp_path):
    """
    The root is open, then a child ends, then root and trace end; each poll returns the difference.
    """
    watch = Watch(tmp_path)
    with running(tmp_path, head("root")):
        first = summary(watch.poll())
        written(tmp_path, observation("child", "root", seq=1))
        second = summary(watch.poll())
        written(tmp_path, observation("root"), trace_line(name="Agent"))
        third = summary(watch.poll())
    fourth = summary(watch.poll())

    assert first == ([], [], [["Agent [running]", "TOOL root [running]"]])
    assert second == (
        ["Agent/child [success]"],
        [],
        [["Agent [running]", "TOOL root [running]", "  TOOL child [success]"]],
    )
    assert third == (
        ["Agent/root [success]"],
        [["Agent [success]", "TOOL root [success]", "  TOOL child [success]"]],
        [],
    )
    assert fourth == ([], [], [])


def test_a_trace_that_is_open_already_is_shown_from_its_beginning(tmp_path):
    """
    What had ended in a running trace before the first poll is in its tree, and is not reported as ended.
    """
    written(tmp_path, observation("child", "root", seq=1))
    with running(tmp_path, head("root")):
        changes = summary(Watch(tmp_path).poll())

    assert changes == ([], [], [["Agent [running]", "TOOL root [running]", "  TOOL child [success]"]])


def test_a_process_that_dies_ends_its_traces_as_crashed(tmp_path):
    """
    The trace of a killed program does not stay among the running ones.
    """
    watch = Watch(tmp_path)
    died(tmp_path, head("root"), head("child", "root", seq=1))

    assert summary(watch.poll()) == (
        ["Agent/root [crashed]", "Agent/child [crashed]"],
        [["Agent [crashed]", "TOOL root [crashed]", "  TOOL child [crashed]"]],
        [],
    )
    assert summary(watch.poll()) == ([], [], [])


def test_a_late_observation_does_not_open_its_trace_again(tmp_path):
    """
    A background task that ends after its trace is reported, and the trace is not.
    """
    watch = Watch(tmp_path)
    written(tmp_path, observation("root"), trace_line())
    watch.poll()
    written(tmp_path, observation("late", "root", seq=1))

    assert summary(watch.poll()) == (["/late [success]"], [], [])


def test_a_line_still_being_written_waits_for_its_end(tmp_path):
    """
    Half of a line is not read; the completed line is.
    """
    watch = Watch(tmp_path)
    path = tmp_path / "observations_20260117.jsonl"
    whole = line(observation("a"))
    path.write_bytes(whole[:50])
    first = summary(watch.poll())
    with path.open("ab") as file:
        file.write(whole[50:] + b"no record\n")

    assert first == ([], [], [])
    assert summary(watch.poll())[0] == ["/a [success]"]


def test_the_folder_may_be_created_later(tmp_path):
    """
    Watching can start before the program does.
    """
    watch = Watch(tmp_path / "traces")
    before = (watch.is_waiting, summary(watch.poll()))
    written(tmp_path / "traces", observation("a"))

    assert before == (True, ([], [], []))
    assert (summary(watch.poll())[0], watch.is_waiting) == (["/a [success]"], False)


def test_the_file_of_a_new_day_is_read_from_its_start(tmp_path):
    """
    Files created while watching are read from their beginning.
    """
    written(tmp_path, observation("a"))
    watch = Watch(tmp_path)
    written(tmp_path, observation("b", trace="t2"), day="20260118")

    assert summary(watch.poll())[0] == ["/b [success]"]


def test_only_matching_traces_are_reported(tmp_path):
    """
    The id filter applies to running programs, too.
    """
    watch = Watch(tmp_path, "t2".__eq__)
    written(tmp_path, observation("a"), observation("b", trace="t2"))
    with running(tmp_path, head("c"), head("d", trace="t2")):
        changes = summary(watch.poll())

    assert changes == (["Agent/b [success]"], [], [["Agent [running]", "TOOL d [running]", "TOOL b [success]"]])


def test_a_file_that_was_removed_is_read_from_its_start(tmp_path):
    """
    After the files are removed between two runs, the second run is read completely.
    """
    written(tmp_path, observation("a", output="x" * 500))
    watch = Watch(tmp_path)
    path = tmp_path / "observations_20260117.jsonl"
    path.unlink()
    watch.poll()
    written(tmp_path, observation("b", output="y" * 500))
    second = summary(watch.poll())[0]
    path.write_bytes(line(observation("c")))

    assert (second, summary(watch.poll())[0]) == (["/b [success]"], ["/c [success]"])


def test_a_removed_folder_is_watched_until_it_returns(tmp_path):
    """
    Removing the folder between two runs does not end the watching.
    """
    folder = written(tmp_path / "traces", observation("a"))
    watch = Watch(folder)
    shutil.rmtree(folder)
    gone = summary(watch.poll())
    written(folder, observation("b"))

    assert (gone, summary(watch.poll())[0]) == (([], [], []), ["/b [success]"])


def test_watching_takes_bounded_memory(tmp_path, monkeypatch):
    """
    A limited number of ended traces is remembered, and traces that never end do not accumulate.
    """
    monkeypatch.setattr(fluxloop.reading.watch, "MAX_REMEMBERED", 3)
    watch = Watch(tmp_path)
    written(tmp_path, *(observation("a", trace=f"open{n}") for n in range(9)))
    written(tmp_path, *(trace_line(f"ended{n}") for n in range(9)))
    watch.poll()

    assert len(watch.poll().running) == 3
