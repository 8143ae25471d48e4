"""
``fluxloop list``: what it selects, how a line fits a terminal, JSON and CSV, and what it says when it cannot answer.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import sqlite3
from pathlib import Path

import pytest
from cli.commands import completed, in_terminal
from reading_aids import head, observation, running, trace_line, written
from rich.cells import cell_len

PRICES = """
[tool.fluxloop.prices]
gpt-4o = { input = 2.5, output = 10, cache_read = 1.25 }
"local-*" = { input = 0, output = 0 }
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four traces: a success, a failure, a success with a failure inside, and one without a model."""
    usage = {"input_tokens": 1_000, "output_tokens": 100, "total_tokens": 1_100, "cache_read_tokens": 400}
    failed = {"status": "error", "error": "no such city: Atlantis"}
    (tmp_path / "pyproject.toml").write_text(PRICES)
    return written(
        tmp_path / "traces",
        observation("m1", "r1", trace="id-000000000001", type="GENERATION", model="gpt-4o", usage=usage),
        observation("r1", type="AGENT", trace="id-000000000001"),
        line("id-000000000001", "Planner", 10, user_id="anna", tags=["beta"], usage=usage, input={"q": "to Lyon"}),
        observation("w2", "r2", trace="id-000000000002", name="weather", **failed),
        observation("r2", type="AGENT", trace="id-000000000002", **failed),
        line("id-000000000002", "Forecaster", 11, user_id="bert", **failed),
        observation("w3", "r3", trace="id-000000000003", name="search", **failed),
        observation("m3", "r3", trace="id-000000000003", type="GENERATION", model="unheard-of", usage=usage),
        observation("r3", type="AGENT", trace="id-000000000003"),
        line("id-000000000003", "Planner", 12, session_id="s2", usage=usage, output="14 °C, ☂"),
        observation("r4", type="AGENT", trace="id-000000000004"),
        line("id-000000000004", "Quick", 13, duration_ms=5_000.0),
    )


def line(trace: str, name: str, hour: int, **fields: object) -> dict[str, object]:
    """The line of a trace that began at this hour."""
    return trace_line(trace, name=name, start_time=f"2026-01-17T{hour}:00:00.000000Z", **fields)


def listed(out: str) -> list[str]:
    """The last digit of the id of each line."""
    return [text[5] for text in out.splitlines()]


def test_a_line_per_trace_the_newest_first(fluxloop_, folder):
    """
    Id, status, time, name, duration, tokens, cost, and what went in, out or wrong.
    """
    done = fluxloop_("list", folder, "--utc")

    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "000004  ✓ success  01-17 13:00  Quick        5.00 s",
        "000003  ✓ success  01-17 12:00  Planner      333 ms    1,000→100   unknown  1 error inside (search)…",
        "000002  ✗ error    01-17 11:00  Forecaster   333 ms                         weather: no such city: …",
        '000001  ✓ success  01-17 10:00  Planner      333 ms    1,000→100   $0.0030  q="to Lyon"',
    ]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (60, "000002  ✗ error  01-17 11:00  Forecaster   333 ms  weather:…"),
        (80, "000002  ✗ error  01-17 11:00  Forecaster   333 ms  weather: no such city: Atlan…"),
        (100, "000002  ✗ error        2026-01-17 11:00:00  Forecaster    333 ms  bert  weather: no such city: Atla…"),
    ],
)
def test_what_failed_in_which_tool_and_for_whom(fluxloop_, folder, monkeypatch, columns, expected):
    """
    Columns without a value leave their space to the tool and the reason; the user follows where there is enough.
    """
    monkeypatch.setenv("COLUMNS", str(columns))

    done = fluxloop_("list", folder, "--utc", "--status", "error")

    assert done.out.splitlines() == [expected]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], '000003  ✓ success  01-17 12:00  Planner   333 ms  1 error inside (search)  → "1…'),
        (["--sort", "cost"], "000003  ✓ success  01-17 12:00  Planner   333 ms    1,000→100   unknown  1 erro…"),
    ],
)
def test_tokens_and_cost_leave_their_space_to_what_failed(fluxloop_, folder, monkeypatch, options, expected):
    """
    At 80 columns, a failed tool is named; tokens and cost are shown instead in a list that is sorted by them.
    """
    monkeypatch.setenv("COLUMNS", "80")

    done = fluxloop_("list", folder, "--utc", "--session", "s2", *options)

    assert done.out.splitlines() == [expected]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--status", "error"], "2"),
        (["--status", "error", "--status", "success"], "4321"),
        (["--status", "crashed,error"], "2"),
        (["--name", "planner"], "31"),
        (["--name", "P*"], "31"),
        (["--name", "Plan"], ""),
        (["--name", "100%"], ""),
        (["--session", "s2"], "3"),
        (["--user", "anna", "--user", "bert"], "21"),
        (["--tag", "beta"], "1"),
        (["--tag", "b*"], "1"),
        (["--model", "gpt-4o"], "1"),
        (["--model", "gpt-*"], "1"),
        (["--model", "gpt"], ""),
        (["--since", "2026-01-17T11:00", "--utc"], "432"),
        (["--until", "2026-01-17T11:00Z"], "1"),
        (["--until", "2026-01-17", "--utc"], "4321"),
        (["--since", "2026-01-18"], ""),
        (["--min-duration", "1s"], "4"),
        (["--min-tokens", "1100"], "31"),
        (["--has-error"], "32"),
        (["--text", "atlantis"], "32"),
        (["--text", "14 °c"], "3"),
        (["--name", "Planner", "--has-error", "--min-tokens", "5"], "3"),
        (["--sort", "duration", "--limit", "1"], "4"),
        (["--sort", "start", "--reverse"], "1234"),
        (["--sort", "cost", "--limit", "1"], "1"),
        (["--sort", "errors", "--limit", "1"], "2"),
        (["--limit", "2"], "43"),
        (["-n", "0"], "4321"),
    ],
    ids=" ".join,
)
def test_filters_and_orders(fluxloop_, folder, options, expected):
    """
    Every filter and order; filters of different kinds must all match, values of one kind are alternatives.
    """
    done = fluxloop_("list", folder, *options)

    assert listed(done.out) == [*expected]
    assert done.code == (0 if expected else 1)


def test_a_limit_says_how_many_there_are(fluxloop_, folder):
    """
    A line on stderr reports that there are more; stdout has only traces.
    """
    assert fluxloop_("list", folder, "--limit", "3").err == "fluxloop: 3 of 4 traces; --limit 0 lists all\n"
    assert fluxloop_("list", folder, "--limit", "4").err == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--status", "sucess"], "status must be one of success, error,"),
        (["--status", "sucess"], "got 'sucess', did you mean 'success'?"),
        (["--since", "yesteday"], "since must be a span before now (30m, 2h, 7d), today, yesterday,"),
        (["--until", "2026-13-01"], "until must be a span before now"),
        (["--min-duration", "5 parsecs"], "min_duration must be a duration such as 500ms, 2s, 1m30s or 1h"),
        (["--min-tokens", "many"], "min_tokens must be a whole number from 0 up, got 'many'"),
        (["--text", ""], "text must be a text that is not empty, got ''"),
        (["--sort", "size"], "sort must be one of start, duration, tokens,"),
        (["--json", "--csv"], "--json and --csv exclude each other"),
    ],
    ids=" ".join,
)
def test_a_filter_that_cannot_be_parsed_is_named(fluxloop_, folder, options, message):
    """
    One line names the filter, the value and what is accepted; the exit code is that of wrong usage.
    """
    done = fluxloop_("list", folder, *options)

    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert message in done.err


@pytest.mark.parametrize("option", ["--name", "--session", "--user", "--tag", "--model", "--text"])
@pytest.mark.parametrize("text", [os.fsdecode(b"Lyon\xff"), "\ud800"], ids=ascii)
def test_a_filter_that_is_not_unicode_matches_nothing(fluxloop_, folder, option, text):
    """
    Bytes of the command line that no encoding accepts: an answer, as for any other text.
    """
    for command in (["list"], ["view"], ["stats"], ["export", "csv"]):
        done = fluxloop_(*command, folder, option, text)

        assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
        assert "no trace matches" in done.err


def test_filters_are_utf_8_where_the_locale_is_ascii(tmp_path):
    """
    Python keeps such bytes of the command line as surrogates. Records have the text.
    """
    folder = written(tmp_path, observation("o", trace="t"), trace_line("t", user_id="李雷", name="Zoë"))
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}

    for options in (["--user", "李雷"], ["--name", "zo*ë"], ["--text", "Zoë"]):
        assert len(completed("list", folder, *options, **ascii_only).out.splitlines()) == 1
    assert completed("view", folder, "--trace", "…t", **ascii_only).code == 0


def test_a_number_larger_than_those_of_a_database_is_no_limit(fluxloop_, folder):
    """
    The same for ``--last`` of ``view``, which counts.
    """
    assert len(fluxloop_("list", folder, "--limit", 10**20).out.splitlines()) == 4
    assert fluxloop_("view", folder, "--last", 10**20).out.count("trace id-") == 4


def test_bad_folders_are_one_line(fluxloop_, tmp_path, folder):
    """
    What is missing or no record: exit code 2; a folder without traces: 0; filters that nothing matches: 1. Each time
    nothing on stdout.
    """
    (tmp_path / "empty").mkdir()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "notes.txt").write_text("hello")
    (tmp_path / "foreign" / "traces_20260117.jsonl").write_text("hello\n")
    for path, code, message in [
        (tmp_path / "missing", 2, "no such file or folder"),
        (tmp_path / "empty", 0, "no traces yet"),
        (tmp_path / "foreign", 0, "no traces yet"),
        (tmp_path / "foreign" / "notes.txt", 2, "no traces in this file"),
    ]:
        for command in ("list", "stats"):
            done = fluxloop_(command, path)
            assert (done.code, done.out, done.err.count("\n")) == (code, "", 1), (command, path)
            assert message in done.err
    for where in (folder, tmp_path / "empty"):
        assert fluxloop_("list", where, "--user", "unknown").code == 1
    assert "no trace matches" in fluxloop_("list", folder, "--user", "unknown").err


def test_a_mistake_in_the_price_table_is_one_line(fluxloop_, tmp_path, folder):
    """
    The line names the entry and what is accepted; the exit code is that of wrong usage.
    """
    for table, message in [
        ("gpt-4o = { inptu = 2 }", "'gpt-4o' has no price 'inptu' (accepted: input, output, cache_read"),
        ('gpt-4o = { input = "2" }', "input of 'gpt-4o' must be a number of dollars per million tokens, got '2'"),
        ("gpt-4o = { input = -1 }", "got -1"),
        ("gpt-4o = 2.5", "'gpt-4o' must be a table with prices"),
    ]:
        (tmp_path / "pyproject.toml").write_text(f"[tool.fluxloop.prices]\n{table}\n")
        done = fluxloop_("list", folder)
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1), table
        assert message in done.err


def test_new_prices_apply_to_old_traces(fluxloop_, tmp_path, folder):
    """
    A cost is computed when it is read: a changed table changes it, also after it was listed.
    """
    costs = []
    for price in (1, 3):
        (tmp_path / "pyproject.toml").write_text(
            f"[tool.fluxloop.prices]\ngpt-4o = {{ input = {price}, output = 0 }}\n"
        )
        (trace,) = map(json.loads, fluxloop_("list", folder, "--model", "gpt-4o", "--json").out.splitlines())
        costs.append(trace["cost"])

    assert costs == [0.001, 0.003]


def test_json_has_everything_of_a_line(fluxloop_, folder):
    """
    One object per trace, all traces by default, with null for what is unknown.
    """
    traces = [json.loads(text) for text in fluxloop_("list", folder, "--json").out.splitlines()]

    assert [trace["short_id"] for trace in traces] == ["000004", "000003", "000002", "000001"]
    assert traces[3] | {"cost": None} == {
        "trace_id": "id-000000000001",
        "short_id": "000001",
        "name": "Planner",
        "status": "success",
        "start_time": "2026-01-17T10:00:00.000000Z",
        "duration_ms": 333.0,
        "session_id": "s1",
        "user_id": "anna",
        "tags": ["beta"],
        "models": ["gpt-4o"],
        "observations": 2,
        "errors": 0,
        "failed_tools": [],
        "warnings": 0,
        "input_tokens": 1000,
        "output_tokens": 100,
        "total_tokens": 1100,
        "cost": None,
        "unpriced_models": [],
        "error": None,
        "input": 'q="to Lyon"',
        "output": None,
    }
    assert traces[3]["cost"] == pytest.approx((600 * 2.5 + 400 * 1.25 + 100 * 10) / 1e6)
    assert (traces[1]["cost"], traces[1]["unpriced_models"], traces[1]["errors"]) == (None, ["unheard-of"], 1)
    assert traces[0]["cost"] is None


def test_csv_is_a_table_without_formulas(fluxloop_, folder):
    """
    A heading and a row per trace; a text that a spreadsheet would take for a formula is quoted.
    """
    written(folder, trace_line("evil", name="=HYPERLINK(1)", start_time="2026-01-17T15:00:00.000000Z"))
    rows = list(csv.DictReader(io.StringIO(fluxloop_("list", folder, "--csv").out)))

    assert [row["name"] for row in rows] == ["'=HYPERLINK(1)", "Quick", "Planner", "Forecaster", "Planner"]
    assert rows[4]["tags"] == "beta"
    assert rows[4]["cost"] == "0.003"


def test_a_running_trace_is_listed(fluxloop_, tmp_path):
    """
    A trace of a living process is ``running``, and can be selected by that word.
    """
    written(tmp_path, trace_line("done"))
    with running(tmp_path, head("r", trace="now", name="Agent")):
        out = fluxloop_("list", tmp_path, "--status", "running").out

    assert out.startswith("now  ● running")
    assert out.count("\n") == 1


def test_the_answer_comes_without_the_index_where_it_is_in_use(fluxloop_, folder, monkeypatch):
    """
    One line says that the index cannot be used, and the traces are listed.
    """
    fluxloop_("list", folder)
    written(folder, trace_line("id-000000000005", start_time="2026-01-17T15:00:00.000000Z"))
    monkeypatch.setattr("fluxloop.reading.catalog.store.WAIT_S", 0.05)
    other = sqlite3.connect(folder / ".index.sqlite", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    done = fluxloop_("list", folder)
    other.close()

    assert listed(done.out) == [*"54321"]
    assert re.fullmatch(r"fluxloop: the index .* cannot be used \(database is locked\); reading .*\n", done.err)


@pytest.mark.parametrize("columns", [60, 100, 200])
def test_a_line_fits_a_terminal(folder, columns):
    """
    In a terminal of any width, each trace is one line that is not wider, with its id, status, time and name.
    """
    shown = in_terminal("list", folder, "--utc", columns=columns)
    lines = [re.sub(r"\x1b\[[\d;]*m", "", text) for text in shown.split("\r\n") if text]

    assert len(lines) == 4
    assert all(cell_len(text) <= columns for text in lines)
    assert all(text.startswith(f"00000{number}  ") for text, number in zip(lines, "4321", strict=True))
    assert ("✗ error" in lines[2], "01-17 11:00" in lines[2], "Forecaster" in lines[2]) == (True, True, True)
    assert ("1,000→100" in lines[1]) == (columns >= 80)
    assert ("weather: no such city: Atlantis" in lines[2]) == (columns == 200)


def test_colors_are_for_terminals(folder):
    """
    A terminal gets colors, unless ``--no-color`` or ``NO_COLOR`` is given; a pipe gets none.
    """
    colored = re.compile(r"\x1b\[[\d;]*3\d")

    assert colored.search(in_terminal("list", folder))
    assert "\x1b[" not in in_terminal("list", folder, "--no-color")
    assert not colored.search(in_terminal("list", folder, NO_COLOR="1"))
    assert "\x1b[" not in completed("list", folder).out


def test_an_ascii_locale_gets_ascii(folder):
    """
    Signs have an ASCII form, and other characters are escaped; nothing fails.
    """
    done = completed("list", folder, "--utc", PYTHONUTF8="0", PYTHONIOENCODING="ascii", COLUMNS="200")

    assert done.code == 0
    assert done.out.isascii()
    assert "x error" in done.out
    assert r"14 \xb0C" in done.out


def test_a_reader_that_stops_early_is_no_error(folder):
    """
    ``fluxloop list | head -1`` prints a line and no traceback.
    """
    from cli.commands import process

    for number in range(3_000):
        written(folder, trace_line(f"more-{number}"))
    started = process("list", folder, "--limit", "0", "--json")
    assert started.stdout is not None
    assert started.stderr is not None
    started.stdout.readline()
    started.stdout.close()

    assert "Traceback" not in started.stderr.read()
    started.stderr.close()
    started.wait(timeout=30)


def test_times_are_local(folder):
    """
    Times are printed, and days in filters are read, in the local time zone, or in UTC with ``--utc``.
    """
    local = completed("list", folder, "--since", "2026-01-17 13:30", TZ="Etc/GMT-3")
    utc = completed("list", folder, "--since", "2026-01-17 13:30", "--utc", TZ="Etc/GMT-3")

    assert "2026-01-17 16:00:00" in local.out
    assert listed(local.out) == [*"432"]
    assert utc.code == 1


def test_the_configured_folder_is_the_default(fluxloop_, tmp_path):
    """
    ``fluxloop list`` reads the folder that a program started here writes to.
    """
    written(tmp_path / "elsewhere", trace_line("found"))
    (tmp_path / "pyproject.toml").write_text('[tool.fluxloop]\nbase_path = "elsewhere"\n')

    assert fluxloop_("list").out.startswith("found  ")


def test_the_id_of_a_line_is_accepted_by_view(fluxloop_, tmp_path, folder):
    """
    A short id selects its trace, as an argument and as an option; one that matches several lists them.
    """
    (tmp_path / "pyproject.toml").write_text('[tool.fluxloop]\nbase_path = "traces"\n')

    assert fluxloop_("view", "000002").out.startswith("Forecaster  ✗ error")
    assert fluxloop_("view", folder, "--trace", "000002").out.startswith("Forecaster  ✗ error")
    several = fluxloop_("view", "id-0000")
    assert (several.code, listed(several.out)) == (1, [*"4321"])
    assert several.err == "fluxloop: 4 traces match 'id-0000'. Next step: fluxloop view with one of their ids\n"
    assert fluxloop_("view", "--trace", "id-0000", "--json").out == ""


def test_a_prefix_of_thousands_lists_a_few(fluxloop_, tmp_path):
    """
    A prefix that all ids have never prints thousands of trees.
    """
    for number in range(300):
        written(tmp_path, trace_line(f"0b8f-{number:06d}"))
    done = fluxloop_("view", tmp_path, "--trace", "0b8f")

    assert done.out.count("\n") == 20
    assert "300 traces match '0b8f', the newest 20 of them above" in done.err


def test_view_takes_the_same_filters(fluxloop_, folder):
    """
    The newest trace that matches is drawn, and those before it are listed; ``--last`` draws several.
    """
    out = fluxloop_("view", folder, "--name", "Planner").out
    assert out.startswith("2026-01-17 10:00:00  ✓ success      Planner")
    assert out.count("trace id-00000000000") == 1
    assert fluxloop_("view", folder, "--has-error", "--last", "5").out.count("trace id-00000000000") == 2
    assert "no trace matches" in fluxloop_("view", folder, "--user", "unknown").err
    assert fluxloop_("view", folder, "--since", "never").code == 2
    assert fluxloop_("view", folder, "--follow", "--user", "anna").code == 2


@pytest.mark.parametrize("command", ["list", "view", "stats", "export csv", "export jsonl", "prune", "doctor"])
def test_help_has_examples(fluxloop_, command):
    """
    The help of each command has examples and exit codes.
    """
    out = fluxloop_(*command.split(), "--help").out

    assert f"fluxloop {command}" in out
    assert "Exit codes" in out


def test_completion_knows_the_commands_and_their_options(folder):
    """
    The shell completes commands, options of a command, and choices.
    """
    variables = {"_FLUXLOOP_COMPLETE": "complete_bash", "COMP_WORDS": "fluxloop li", "COMP_CWORD": "1"}

    assert completed(**variables).out.split() == ["list"]
    variables |= {"COMP_WORDS": "fluxloop list --min", "COMP_CWORD": "2"}
    assert completed(**variables).out.split() == ["--min-duration", "--min-tokens"]


def test_version_and_help_load_no_command(tmp_path):
    """
    Neither needs pydantic, SQLite or a command's module.
    """
    import subprocess
    import sys

    import offline

    script = (
        "import sys\n"
        "from fluxloop.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print([name for name in ('pydantic', 'sqlite3', 'fluxloop.cli.view', 'rich.markdown') if name in sys.modules])"
    )
    for option in ("--version", "--help"):
        command = [sys.executable, "-c", script, option]
        done = subprocess.run(command, capture_output=True, text=True, env=offline.environment())
        assert done.stdout.endswith("[]\n"), done.stdout
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("columns", [60, 100])
@pytest.mark.parametrize("command", ["list", "stats"])
def test_a_line_fits_where_characters_are_escaped(tmp_path, command, columns):
    """
    Characters that the output cannot hold are escaped before lines are measured.
    """
    fields = {"name": "漢字のエージェント 👩‍👩‍👧", "input": "ü" * 100}
    written(tmp_path, observation("o", trace="t", **fields), trace_line("t", **fields, session_id="é" * 30))

    done = completed(command, tmp_path, PYTHONIOENCODING="ascii", COLUMNS=str(columns))

    assert "\\u6f22" in done.out
    assert max(map(len, done.out.splitlines())) <= columns
