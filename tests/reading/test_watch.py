"""
`Watch`: each look tells what ended since the last one and what is open, and nothing twice.
"""

from __future__ import annotations

import shutil

from reading_aids import died, drawn, head, line, observation, running, trace_line, written

import fluxloop.reading.watch
from fluxloop.reading.watch import Watch


def summary(changes):
    """What a look found: ended observations with their traces, ended traces, running traces."""
    return (
        [f"{trace}/{o.name} [{o.status}]" for trace, o in changes.observations],
        [drawn(trace) for trace in changes.ended],
        [drawn(trace) for trace in changes.running],
    )


def test_what_ended_before_is_passed_over(tmp_path):
    """
    Following begins now: yesterday's traces, and runs that crashed long ago, are not told again.
    """
    written(tmp_path, observation("a"), trace_line())
    died(tmp_path, head("old", trace="t0"))
    watch = Watch(tmp_path)

    assert summary(watch.poll()) == ([], [], [])


def test_a_trace_is_running_until_its_line_is_written(tmp_path):
    """
    First the root is open, then a child ends, then root and trace; each look tells the difference.
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
    What had ended in a running trace before we looked is in its tree, and is not told as news.
    """
    written(tmp_path, observation("child", "root", seq=1))
    with running(tmp_path, head("root")):
        changes = summary(Watch(tmp_path).poll())

    assert changes == ([], [], [["Agent [running]", "TOOL root [running]", "  TOOL child [success]"]])


def test_a_process_that_dies_ends_its_traces_as_crashed(tmp_path):
    """
    A killed program's trace does not stay on the screen for ever.
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
    A background task that ends after its trace is told, and that is all.
    """
    watch = Watch(tmp_path)
    written(tmp_path, observation("root"), trace_line())
    watch.poll()
    written(tmp_path, observation("late", "root", seq=1))

    assert summary(watch.poll()) == (["/late [success]"], [], [])


def test_a_line_still_being_written_waits_for_its_end(tmp_path):
    """
    Half a line is no record yet; the rest of it makes it one.
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


def test_the_folder_may_come_into_being_later(tmp_path):
    """
    Following can begin before the program does.
    """
    watch = Watch(tmp_path / "traces")
    before = (watch.is_waiting, summary(watch.poll()))
    written(tmp_path / "traces", observation("a"))

    assert before == (True, ([], [], []))
    assert (summary(watch.poll())[0], watch.is_waiting) == (["/a [success]"], False)


def test_a_new_day_is_a_new_file_and_no_gap(tmp_path):
    """
    Files that appear while we watch are read from their beginning.
    """
    written(tmp_path, observation("a"))
    watch = Watch(tmp_path)
    written(tmp_path, observation("b", trace="t2"), day="20260118")

    assert summary(watch.poll())[0] == ["/b [success]"]


def test_only_the_wanted_traces_are_summary(tmp_path):
    """
    ``--trace`` holds for running programs too.
    """
    watch = Watch(tmp_path, "t2".__eq__)
    written(tmp_path, observation("a"), observation("b", trace="t2"))
    with running(tmp_path, head("c"), head("d", trace="t2")):
        changes = summary(watch.poll())

    assert changes == (["Agent/b [success]"], [], [["Agent [running]", "TOOL d [running]", "TOOL b [success]"]])


def test_a_file_that_was_removed_begins_anew(tmp_path):
    """
    Who clears the folder between two runs sees the second run whole.
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


def test_a_folder_that_was_removed_is_awaited(tmp_path):
    """
    Clearing everything between two runs does not end the watching.
    """
    folder = written(tmp_path / "traces", observation("a"))
    watch = Watch(folder)
    shutil.rmtree(folder)
    gone = summary(watch.poll())
    written(folder, observation("b"))

    assert (gone, summary(watch.poll())[0]) == (([], [], []), ["/b [success]"])


def test_watching_for_long_does_not_fill_the_memory(tmp_path, monkeypatch):
    """
    Only so many ended traces are remembered, and traces nobody ends do not pile up.
    """
    monkeypatch.setattr(fluxloop.reading.watch, "MAX_REMEMBERED", 3)
    watch = Watch(tmp_path)
    written(tmp_path, *(observation("a", trace=f"open{n}") for n in range(9)))
    written(tmp_path, *(trace_line(f"ended{n}") for n in range(9)))
    watch.poll()

    assert len(watch.poll().running) == 3
