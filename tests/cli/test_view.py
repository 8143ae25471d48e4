"""
``fluxloop view``: what it selects, prints and returns, in this process and as a real command.
"""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import offline
import pytest
from cli.commands import completed, everything, in_terminal, process, runner
from reading_aids import GOLDEN, head, line, observation, running, trace_line, written
from rich.cells import cell_len

import fluxloop.cli

SCHEMA_1 = GOLDEN / "schema_1"


@pytest.fixture
def fluxloop_(monkeypatch, capsys):
    return runner(monkeypatch, capsys)


def test_the_newest_trace_follows_a_line_for_each_before_it(fluxloop_):
    """
    Without options: the newest trace as a tree, and the ones before it as one line each.
    """
    done = fluxloop_("view", SCHEMA_1)

    assert (done.code, done.err) == (0, "")
    assert done.out.split("\n") == [
        "2026-01-17 14:30:22  ✓ success      WeatherAgent    1.33 s    1,523→129  …00000001",
        "2026-01-17 14:30:24  ✗ error        TravelAgent     222 ms               …00000002  no such city: P…",
        "─" * 100,
        'instrumented "scope" ☂  ✓ success  1.00 ms',
        "2026-01-17 14:30:25 UTC · trace trace_abc · session any string",
        "",
        'SPAN        instrumented "scope" ☂                               1.00 ms               ✓ success',
        "",
    ]


def test_the_configured_folder_is_the_default(fluxloop_, tmp_path, monkeypatch):
    """
    ``fluxloop view`` reads the folder that a program started here writes to.
    """
    written(tmp_path / "elsewhere", observation("found"))
    (tmp_path / "pyproject.toml").write_text('[tool.fluxloop]\nbase_path = "elsewhere"\n')

    assert "TOOL        found" in fluxloop_("view").out


def test_the_last_traces_are_shown_oldest_first(fluxloop_):
    """
    ``--last`` shows that many trees, the newest at the bottom.
    """
    out = fluxloop_("view", SCHEMA_1, "--last", 2).out

    assert out.index("TravelAgent  ✗ error") < out.index("instrumented")
    assert "WeatherAgent" not in out


@pytest.mark.parametrize("part", ["5f0cbb9a-3f52-8d1c-9c5e-000000000002", "…00000002", "000002"])
def test_a_trace_is_found_by_a_part_of_its_id(fluxloop_, part):
    """
    The whole id, or its end as printed.
    """
    out = fluxloop_("view", SCHEMA_1, "--trace", part).out

    assert out.startswith("TravelAgent  ✗ error")
    assert out.count("trace 5f0c") == 1


def test_json_is_one_object_per_line_and_nothing_else(fluxloop_):
    """
    The output is only JSON, in the order of the trees.
    """
    done = fluxloop_("view", SCHEMA_1, "--last", 9, "--json")
    traces = [json.loads(text) for text in done.out.splitlines()]

    assert [trace["name"] for trace in traces] == ["WeatherAgent", "TravelAgent", 'instrumented "scope" ☂']
    assert traces[0]["observations"][0]["children"][0]["children"][0]["name"] == "embed"
    assert done.err == ""


@pytest.mark.parametrize("depth", [900, 990])
def test_deep_values_are_printed(fluxloop_, tmp_path, depth):
    """
    A value that is nested almost as deeply as a line can be decoded is printed as JSON and as a tree.
    """
    deep = "[" * depth + "]" * depth
    path = written(tmp_path, observation("a")) / "observations_20260117.jsonl"
    path.write_bytes(line(observation("a", output="deep")).replace(b'"deep"', deep.encode()))

    assert f'"output":{deep}' in fluxloop_("view", tmp_path, "--json").out
    assert "[[[[" in fluxloop_("view", tmp_path).out
    assert fluxloop_("view", tmp_path, "--full").out.count("[") >= depth


@pytest.mark.parametrize("options", [["--json"], [], ["--full"]], ids=str)
def test_nothing_recorded_acts_on_the_terminal(fluxloop_, tmp_path, options):
    """
    C1 controls and direction marks in names, values, keys, errors and ids are printed as escapes.
    """
    active = "\x9b31m\u202egpj\x1b[2J\u2066\x85"
    fields = {"name": active, "error": active, "metadata": {"error_type": active, "traceback": active, active: 1}}
    written(
        tmp_path,
        observation(active, trace=active, input={active: active}, output=active, model=active, **fields),
        trace_line(active, tags=[active], session_id=active),
    )
    out = fluxloop_("view", tmp_path, *options).out

    assert {*out} & {*"\x9b\u202e\x1b\u2066\x85"} == set()
    assert r"\u009b31m\u202egpj\u001b[2J\u2066" in out


def test_full_adds_tracebacks(fluxloop_):
    """
    ``--full`` adds the traceback to an error.
    """
    short, full = (fluxloop_("view", SCHEMA_1, "--trace", "2", *more).out for more in ([], ["--full"]))

    assert 'File "agent.py", line 12' in full
    assert 'File "agent.py", line 12' not in short


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nowhere"], 2, "nowhere: no such file or folder. Expected a folder with traces_YYYYMMDD.jsonl"),
        (["empty"], 1, "empty: no traces yet. Next step: run a program with @fluxloop.agent"),
        (["filled", "--trace", "zzz"], 1, "no trace id begins or ends with 'zzz'. Next step: fluxloop list"),
        (["filled", "--trace", "\ud800"], 1, "no trace id begins or ends with"),
        (["filled", "--trace", "t1", "--user", "anna"], 2, "'t1' selects a trace by its id; leave out the filters"),
        (["none.jsonl"], 1, "none.jsonl: no traces in this file. Expected JSON lines"),
    ],
)
def test_an_empty_result_is_one_line_with_the_next_step(fluxloop_, tmp_path, arguments, code, message):
    """
    A wrong path: exit code 2; an empty folder, an unknown id: 1. Nothing on stdout.
    """
    (tmp_path / "empty").mkdir()
    (tmp_path / "none.jsonl").touch()
    written(tmp_path / "filled", observation("a"))
    done = fluxloop_("view", *arguments)

    assert (done.code, done.out, done.err.count("\n")) == (code, "", 1)
    assert message in done.err


@pytest.mark.parametrize(
    "arguments", [["view", "--last", "0"], ["view", "--nonsense"], ["nonsense"], ["view", "a", "b"]]
)
def test_wrong_usage_has_the_exit_code_2(fluxloop_, arguments):
    """
    A typing error and a missing trace have different exit codes.
    """
    assert fluxloop_(*arguments).code == 2


def test_help_teaches_by_examples(fluxloop_):
    """
    The help of each command has its options, its exit codes and examples to copy.
    """
    general, of_view, of_doctor = (fluxloop_(*command, "--help").out for command in ([], ["view"], ["doctor"]))

    assert all(word in general for word in ("view", "doctor", "--version"))
    assert "fluxloop view --last 3 --full" in of_view
    assert all(option in of_view for option in ("--trace", "--last", "--json", "--follow", "--full", "--no-color"))
    assert all("Exit codes" in text and "Examples" in text for text in (of_view, of_doctor))


def test_the_version_is_that_of_the_package(fluxloop_):
    """
    ``fluxloop --version`` prints ``fluxloop.__version__``.
    """
    assert fluxloop_("--version").out == f"fluxloop {fluxloop.__version__}\n"


def test_without_its_libraries_the_command_names_the_extra(monkeypatch, capsys):
    """
    Without typer and rich, the command names the extra that installs them.
    """
    monkeypatch.setitem(sys.modules, "typer", None)
    for name in [name for name in sys.modules if name.startswith("fluxloop.cli.")]:
        monkeypatch.delitem(sys.modules, name)

    assert fluxloop.cli.main() == 2
    assert "pip install 'fluxloop[cli]'" in capsys.readouterr().err


def test_a_missing_module_of_fluxloop_is_not_reported_as_a_missing_extra(monkeypatch):
    """
    A missing module of FluxLoop itself raises.
    """
    monkeypatch.setitem(sys.modules, "fluxloop.cli.app", None)

    with pytest.raises(ModuleNotFoundError):
        fluxloop.cli.main()


def test_the_command_runs_as_a_module():
    """
    ``python -m fluxloop`` is the same command, with the same exit codes.
    """
    assert completed("view", SCHEMA_1).code == 0
    assert completed("view", "nowhere").code == 2


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_a_pipe_without_unicode_gets_ascii(encoding):
    """
    No recorded text causes an error; the tree is drawn in ASCII.
    """
    done = completed("view", SCHEMA_1, "--last", "9", PYTHONIOENCODING=encoding, PYTHONUTF8="0")

    assert (done.code, done.err) == (0, "")
    assert "|- find_pages" in done.out
    assert r"\u2602" in done.out


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_json_is_valid_in_every_encoding(encoding):
    """
    Characters that the output cannot hold are written as JSON escapes.
    """
    arguments = ("view", SCHEMA_1, "--last", "9", "--json")
    done = completed(*arguments, PYTHONIOENCODING=encoding, PYTHONUTF8="0")
    traces = [json.loads(text) for text in done.out.splitlines()]

    assert traces[2]["name"] == 'instrumented "scope" ☂'


def test_a_closed_pipe_is_not_an_error():
    """
    ``fluxloop view | head -1`` prints a line and leaves nothing on stderr.
    """
    done = subprocess.run(
        f"'{sys.executable}' -m fluxloop view '{SCHEMA_1}' --last 9 --full | head -1",
        shell=True,
        capture_output=True,
        encoding="utf-8",
        env=offline.environment(),
    )

    assert done.stdout.startswith("WeatherAgent")
    assert done.stderr == ""


def test_colors_are_for_terminals(tmp_path):
    """
    A terminal gets colors, unless ``--no-color`` or ``NO_COLOR`` is given; a pipe gets none.
    """
    assert re.search(r"\x1b\[[\d;]*3\d", in_terminal("view", SCHEMA_1))
    assert "\x1b[" not in in_terminal("view", SCHEMA_1, "--no-color")
    assert not re.search(r"\x1b\[[\d;]*3\d", in_terminal("view", SCHEMA_1, NO_COLOR="1"))
    assert "\x1b[" not in completed("view", SCHEMA_1).out


@pytest.mark.parametrize("width", [60, 100, 200])
@pytest.mark.parametrize("options", [[], ["--full"], ["--only", "errors"], ["--depth", "2"]], ids=" ".join)
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_tree_fits_every_terminal(width, options, encoding):
    """
    In a terminal of any width, no line is wider, and an ASCII locale gets ASCII.
    """
    shown = in_terminal("view", SCHEMA_1, "--last", 9, *options, columns=width, PYTHONIOENCODING=encoding)
    lines = [re.sub(r"\x1b\[[\d;]*m", "", line) for line in shown.splitlines()]

    assert max(map(cell_len, lines)) <= width
    assert shown.isascii() or encoding == "utf-8"
    assert ("━" in shown) == (width == 200 and encoding == "utf-8")
    assert "TravelAgent" in shown


def test_what_is_taller_than_the_terminal_is_paged():
    """
    The command in PAGER gets the lines, with colors; not if they fit, with ``--no-pager``, or in a pipe.
    """
    pager = {"PAGER": "sed s/^/paged:/"}
    paged = in_terminal("view", SCHEMA_1, "--last", 9, rows=20, **pager)

    assert {line[:6] for line in paged.splitlines()} == {"paged:"}
    assert "\x1b[" in paged
    assert "paged:" not in in_terminal("view", SCHEMA_1, "--last", 9, rows=200, **pager)
    assert "paged:" not in in_terminal("view", SCHEMA_1, "--last", 9, "--no-pager", rows=20, **pager)
    assert "paged:" not in completed("view", SCHEMA_1, "--last", "9", LINES="20", **pager).out


@pytest.mark.parametrize("command", ["", "cat", "no-such-pager", "'"])
def test_without_a_usable_pager_everything_is_printed(command):
    """
    With an empty, missing or malformed PAGER, the lines are printed directly.
    """
    assert "instrumented" in in_terminal("view", SCHEMA_1, "--last", 9, rows=20, PAGER=command)


def test_a_pager_that_quits_early_is_not_an_error(tmp_path):
    """
    A reader may quit in the middle of a long trace.
    """
    written(tmp_path, *(observation(f"o{n}", "o0" if n else None, seq=n) for n in range(5_000)))
    shown = in_terminal("view", tmp_path, "--full", rows=20, PAGER="head -2")

    assert len(shown.splitlines()) == 2
    assert "Traceback" not in shown


def test_times_are_local_unless_utc_is_asked_for(tmp_path):
    """
    Header, summaries and lines of ``--follow`` have local time; ``--utc`` has UTC.
    """
    local = completed("view", SCHEMA_1, TZ="Asia/Kolkata").out
    utc = completed("view", SCHEMA_1, "--utc", TZ="Asia/Kolkata").out

    assert "2026-01-17 20:00:22  ✓ success      WeatherAgent" in local
    assert "2026-01-17 20:00:25 +05:30 · trace trace_abc" in local
    assert "2026-01-17 14:30:22  ✓ success      WeatherAgent" in utc
    assert "2026-01-17 14:30:25 UTC · trace trace_abc" in utc


def test_a_caught_error_is_visible_above_a_successful_trace(fluxloop_, tmp_path):
    """
    Errors inside, a tripped guardrail and warnings are named in the header, and visible in their rows.
    """
    written(
        tmp_path,
        observation("root", type="AGENT", seq=0),
        observation("search", "root", seq=1, status="error", level="ERROR", error="no page"),
        observation("no_homework", "root", seq=2, type="EVALUATION", level="WARNING", output={"triggered": True}),
        observation("retry", "root", seq=3, level="WARNING", status_message="took two attempts"),
        trace_line(name="root"),
    )
    lines = fluxloop_("view", tmp_path).out.split("\n")

    assert lines[2] == "1 error inside (search) · guardrail tripped (no_homework) · 1 warning (retry)"
    assert [line.split("ms")[-1].strip() for line in lines if line[:1].isupper()] == [
        "✓ success",
        "✗ error",
        "▲ tripped",
        "▲ warning",
    ]
    assert "                  took two attempts" in lines


def test_a_document_in_the_metadata_is_a_note(fluxloop_, tmp_path):
    """
    The diagram of a graph takes one line of the header, and all of its lines with ``--full``.
    """
    diagram = "---\nconfig:\n  flowchart:\n    curve: linear\n---\ngraph TD;\n"
    written(tmp_path, observation("a"), trace_line(metadata={"topology": diagram, "version": "1.4"}))
    short, full = (fluxloop_("view", tmp_path, *options).out for options in ([], ["--full"]))

    assert 'metadata topology="(7 lines, --full shows them)", version="1.4"' in short
    assert "curve" not in short
    assert "             curve: linear\n" in full


def test_an_enormous_error_is_cut_except_in_full(fluxloop_, tmp_path):
    """
    The first hundred lines of an error are printed, with its size.
    """
    written(tmp_path, observation("a", status="error", error="\n".join(f"line {n}" for n in range(5_000))))
    short, full = (fluxloop_("view", tmp_path, *options).out for options in ([], ["--full"]))

    assert "line 99\n" in short
    assert "line 100\n" not in short
    assert "(48,889 characters, --full shows all)" in short
    assert "line 4999" in full


@pytest.mark.parametrize("options", [["--only", "errors"], ["--depth", "2"]], ids=" ".join)
def test_following_shows_whole_traces(fluxloop_, options):
    """
    Options that select parts of a trace are refused with ``--follow``.
    """
    done = fluxloop_("view", SCHEMA_1, "--follow", *options)

    assert done.code == 2
    assert "--follow shows whole traces" in done.err


PROGRAM = """
import sys, time
import fluxloop

fluxloop.configure(base_path=sys.argv[1])

@fluxloop.tool
def search(q):
    return f"found {q}"

@fluxloop.agent
def agent(q):
    found = search(q)
    print("began", flush=True)
    sys.stdin.readline()
    return found

agent("cats")
"""
"""A program that waits in the middle of its agent until it gets a line."""


@contextmanager
def program(folder: Path, source: str = PROGRAM) -> Iterator[subprocess.Popen[str]]:
    """A running traced program, killed at the end if it still runs."""
    command = [sys.executable, "-c", source, str(folder)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, encoding="utf-8", env=offline.environment()) as running:
        try:
            yield running
        finally:
            running.kill()


@contextmanager
def following(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A ``fluxloop view --follow`` that has started to watch, interrupted at the end as by Ctrl-C."""
    with process("view", "--follow", *arguments) as follow:
        try:
            assert follow.stderr.readline().endswith(", Ctrl-C ends\n")
            yield follow
        finally:
            follow.send_signal(signal.SIGINT)
    assert (follow.returncode, follow.stderr.closed) == (0, True)


def test_following_prints_a_line_as_each_observation_ends(tmp_path):
    """
    While a real program runs, a line is printed when its tool ends, and another when its agent ends.
    """
    with following(tmp_path / "traces") as follow, program(tmp_path / "traces") as running:
        tool = follow.stdout.readline()
        running.stdin.write("go on\n")
        running.stdin.flush()
        agent = follow.stdout.readline()

    assert tool.split("  ")[1] == "TOOL"
    assert tool.endswith('search  in agent  → "found cats"\n')
    assert agent.endswith('agent  → "found cats"\n')


def test_following_reports_the_open_observations_of_a_killed_program(tmp_path):
    """
    A program that is killed within its agent is reported as crashed at once.
    """
    with following(tmp_path / "traces") as follow, program(tmp_path / "traces") as running:
        follow.stdout.readline()
        running.kill()
        crashed = follow.stdout.readline()

    assert "AGENT       ☠ crashed" in crashed


def test_following_as_json_prints_records(tmp_path):
    """
    ``--follow --json`` prints the record of each observation when it ends.
    """
    with following(tmp_path / "traces", "--json") as follow, program(tmp_path / "traces"):
        record = json.loads(follow.stdout.readline())

    assert (record["type"], record["name"], record["output"]) == ("TOOL", "search", "found cats")


def test_following_in_a_terminal_draws_running_traces_and_leaves_them_there(tmp_path):
    """
    In a terminal the running tree is drawn below the last ended one; after Ctrl-C it stays on the screen.
    """
    written(tmp_path, observation("before"), trace_line(name="Earlier"))
    written(tmp_path, observation("child", "root", trace="t2", seq=1), day="20260118")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "fluxloop", "view", "--follow", "--no-color", str(tmp_path)]
    environment = offline.environment(TERM="xterm-256color", COLUMNS="100", LINES="30")
    with running(tmp_path, head("root", trace="t2", start_time="2026-01-18T00:00:00.000000Z")):
        follow = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
        shown = ""
        while "Ctrl-C ends" not in shown and select.select([ours], [], [], 30)[0]:
            shown += os.read(ours, 65536).decode()
        follow.send_signal(signal.SIGINT)
        code = follow.wait(timeout=30)
    os.close(theirs)
    left = everything(ours)

    assert code == 0
    assert shown.index("Earlier  ✓ success") < shown.index("Agent  ● running") < shown.index("1 running · Ctrl-C ends")
    assert "╰─ child" in shown
    assert "Agent  ● running" in left
    assert "Traceback" not in shown + left
