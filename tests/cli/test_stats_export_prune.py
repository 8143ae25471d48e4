"""
``fluxloop stats``, ``export`` and ``prune``: what they print and write, in terminals and pipes, and how they refuse.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from pathlib import Path

import pytest
from cli.commands import completed, in_terminal
from reading_aids import observation, trace_line, written
from rich.cells import cell_len

from fluxloop.reading import read_traces

PRICES = "[tool.fluxloop.prices]\ngpt-4o = { input = 2.5, output = 10 }\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten traces on two days, each with an agent, a model call and a tool; the tool failed in two of them."""
    (tmp_path / "pyproject.toml").write_text(PRICES)
    for number in range(10):
        trace, day = f"t{number}", 17 + number // 5
        start = f"2026-01-{day}T14:30:{number:02d}.000000Z"
        failed = {"status": "error", "error": "no network"} if number in (3, 8) else {}
        usage = {"input_tokens": 1_000, "output_tokens": 100, "total_tokens": 1_100}
        common = {"trace": trace, "start_time": start}
        written(
            tmp_path / "traces",
            observation(
                f"m{number}", f"r{number}", type="GENERATION", name="answer", model="gpt-4o", usage=usage, **common
            ),
            observation(
                f"w{number}", f"r{number}", name="search", duration_ms=100.0 * (number + 1), **failed, **common
            ),
            observation(f"r{number}", type="AGENT", name="Planner", input={"q": number}, **common),
            trace_line(
                trace, name="Planner", usage=usage, start_time=start, user_id=f"user{number % 2}", input={"q": number}
            ),
            day=f"202601{day}",
        )
    return tmp_path / "traces"


def test_stats_add_up_by_agent_tool_model_and_day(fluxloop_, folder):
    """
    Counts, error rates, latencies, tokens and cost, each once; a bar shows the share of the count.
    """
    done = fluxloop_("stats", folder, "--utc")

    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "all traces     count  errors      p50      p95          in        out       cost",
        "all               10           333 ms   333 ms      10,000      1,000    $0.0350  ████████████",
        "",
        "agent          count  errors      p50      p95          in        out       cost",
        "Planner           10           333 ms   333 ms      10,000      1,000    $0.0350  ████████████",
        "",
        "tool           count  errors      p50      p95          in        out       cost",
        "search            10  20.0 %   500 ms   1.00 s                                    ████████████",
        "",
        "model          count  errors      p50      p95          in        out       cost",
        "gpt-4o            10           333 ms   333 ms      10,000      1,000    $0.0350  ████████████",
        "",
        "day            count  errors      p50      p95          in        out       cost",
        "2026-01-17         5           333 ms   333 ms       5,000        500    $0.0175  ████████████",
        "2026-01-18         5           333 ms   333 ms       5,000        500    $0.0175  ████████████",
    ]


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo"])
def test_times_at_the_ends_of_the_calendar_are_counted_and_exported(fluxloop_, tmp_path, zone):
    """
    A day that does not exist in local time is that of UTC; the year 1 has four digits.
    """
    times = ("0001-01-01T00:00:00.000000Z", "9999-12-31T23:59:59.000000Z")
    for number, time in enumerate(times):
        common = {"trace": f"t{number}", "start_time": time, "end_time": time}
        written(tmp_path / "traces", observation("a", **common), trace_line(**common))

    done = completed("stats", tmp_path / "traces", "--by", "day", TZ=zone)
    assert (done.code, done.err) == (0, "")
    assert [line[:10] for line in done.out.splitlines()[-2:]] == [time[:10] for time in times]
    shown = fluxloop_("export", "csv", tmp_path / "traces").out + fluxloop_("list", tmp_path / "traces", "--json").out
    assert [shown.count(f'"start_time":"{time}"') + shown.count(f",{time},") for time in times] == [2, 2]


def test_stats_as_json(fluxloop_, folder):
    """
    One object with the same sums, for the sections asked for and the traces that match.
    """
    found = json.loads(fluxloop_("stats", folder, "--json", "--by", "user", "--by", "tool", "--has-error").out)

    assert found["total"]["count"] == 2
    assert found["total"]["cost"] == pytest.approx(0.007)
    assert [(user["name"], user["count"], user["input_tokens"]) for user in found["by_user"]] == [
        ("user1", 1, 1000),
        ("user0", 1, 1000),
    ]
    (tool,) = found["by_tool"]
    assert (tool["errors"], tool["error_rate"], tool["p50_ms"], tool["p99_ms"]) == (2, 1.0, 400.0, 900.0)


@pytest.mark.parametrize("columns", [60, 100, 200])
def test_stats_fit_a_terminal(folder, columns):
    """
    No line is wider than the terminal; a wide one has more columns.
    """
    shown = re.sub(r"\x1b\[[\d;]*m", "", in_terminal("stats", folder, columns=columns))

    assert all(cell_len(line) <= columns for line in shown.split("\r\n"))
    assert ("█" in shown, "p99" in shown) == (columns >= 100, columns == 200)
    assert "search" in shown


def test_stats_in_an_ascii_locale_and_in_a_pipe(folder):
    """
    Bars have an ASCII form; a pipe gets no colors.
    """
    done = completed("stats", folder, PYTHONUTF8="0", PYTHONIOENCODING="ascii")

    assert (done.code, done.out.isascii(), "####" in done.out) == (0, True, True)


def test_csv_of_traces_and_of_observations(fluxloop_, folder):
    """
    A row per trace, or per observation in the order of the tree, with whole values as JSON.
    """
    traces = list(csv.DictReader(io.StringIO(fluxloop_("export", "csv", folder, "--user", "user0").out)))
    steps = list(
        csv.DictReader(io.StringIO(fluxloop_("export", "csv", folder, "--observations", "--text", "no network").out))
    )

    assert [(row["trace_id"], row["input"], row["cost"]) for row in traces[:2]] == [
        ("t0", '{"q":0}', "0.0035"),
        ("t2", '{"q":2}', "0.0035"),
    ]
    assert [(row["id"], row["type"], row["error"], row["cost"]) for row in steps[:3]] == [
        ("r3", "AGENT", "", ""),
        ("m3", "GENERATION", "", "0.0035"),
        ("w3", "TOOL", "no network", ""),
    ]


def test_jsonl_is_a_file_that_is_read_like_a_folder(fluxloop_, folder, tmp_path):
    """
    The exported traces are those of the folder, in every field.
    """
    output = tmp_path / "shared.jsonl"
    done = fluxloop_("export", "jsonl", folder, "--since", "2026-01-18", "-o", output)

    assert (done.code, done.out, done.err) == (0, "", f"fluxloop: 5 traces written to {output}\n")
    assert output.stat().st_mode & 0o777 == 0o600
    original = [trace for trace in read_traces(folder) if trace.start_time and trace.start_time.day == 18]
    assert [trace.model_dump() for trace in read_traces(output)] == [trace.model_dump() for trace in original]
    assert fluxloop_("view", output, "--trace", "t9").out.startswith("Planner")


def test_a_file_is_not_replaced_without_being_asked_for(fluxloop_, folder, tmp_path):
    """
    An existing file stays, also one of the records; with ``--force`` it is replaced when the new one is complete.
    """
    output = tmp_path / "traces.csv"
    output.write_text("mine")

    refused = fluxloop_("export", "csv", folder, "-o", output)
    assert (refused.code, output.read_text()) == (2, "mine")
    assert "exists already" in refused.err
    assert fluxloop_("export", "csv", folder, "-o", output, "--force").code == 0
    assert output.read_text().startswith("trace_id,")
    assert fluxloop_("export", "csv", folder, "-o", tmp_path / "missing" / "x.csv").code == 2
    assert [path.name for path in tmp_path.glob(".*.part")] == []


def test_prune_prints_what_it_deletes(fluxloop_, folder):
    """
    ``--dry-run`` deletes nothing; without it the files are gone, and the list has only the other day.
    """
    for path in folder.glob("*20260117.jsonl"):
        os.utime(path, (1_768_690_000, 1_768_690_000))
    dry = fluxloop_("prune", folder, "--older-than", "1d", "--dry-run")
    assert dry.out.splitlines()[0].startswith("would delete 2026-01-17  2 files")
    assert len([*folder.glob("*.jsonl")]) == 4
    fluxloop_("list", folder)

    done = fluxloop_("prune", folder, "--older-than", "1d")

    assert done.code == 0
    assert done.out.splitlines()[0].startswith("deleted 2026-01-17  2 files")
    assert "kept 2026-01-18  it was written to within the last hour" in done.out
    assert sorted(path.name for path in folder.glob("*.jsonl")) == [
        "observations_20260118.jsonl",
        "traces_20260118.jsonl",
    ]
    assert fluxloop_("list", folder).out.count("\n") == 5


def test_prune_as_json(fluxloop_, folder):
    """
    One object with the files of each day, and the reason why an old day is kept.
    """
    found = json.loads(fluxloop_("prune", folder, "--keep", "0B", "--json").out)

    assert found["deleted"] == []
    assert [(day["day"], len(day["files"])) for day in found["kept"]] == [("2026-01-17", 2), ("2026-01-18", 2)]
    assert found["kept"][0]["reason"] == "it was written to within the last hour"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["stats", "nowhere"], 2, "no such file or folder"),
        (["stats", "--by", "colour"], 2, "by must be one of agent, tool, model, day, user, session, got 'colour'"),
        (["stats", "--user", "unknown"], 1, "no trace matches"),
        (["export", "csv", "--user", "unknown"], 1, "no trace matches"),
        (["export", "jsonl", "nowhere"], 2, "no such file or folder"),
        (["export", "jsonl", "--since", "soon"], 2, "since must be"),
        (["export", "csv", "none.txt"], 1, "none.txt: no traces in this file"),
        (["export", "csv", "-o", "traces", "--force"], 2, "traces cannot be written: it is a folder"),
        (["stats", "http://127.0.0.1:9"], 2, "http://127.0.0.1:9: this is the address of a collector"),
        (["prune", "http://127.0.0.1:9", "--keep", "1GB"], 2, "this is the address of a collector"),
        (["prune"], 2, "--older-than 30d, or --keep 50GB"),
        (["prune", "--older-than", "old"], 2, "older_than must be"),
        (["prune", "--older-than", "30"], 2, "a duration with its unit, such as 12h, 30d or 2w, got '30'"),
        (["prune", "--keep", "much"], 2, "keep must be a size such as 500MB or 50GB, got 'much'"),
        (["prune", "nowhere", "--keep", "1GB"], 2, "no such file or folder"),
        (["prune", "traces/traces_20260117.jsonl", "--keep", "1GB"], 2, "prune needs the folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_done_is_one_line(fluxloop_, folder, arguments, code, message):
    """
    A wrong path, filter or value: one line on stderr, nothing on stdout, the right exit code, and nothing changed.
    """
    Path("none.txt").touch()
    before = sorted(folder.glob("*.jsonl"))
    done = fluxloop_(*arguments)

    assert (done.code, done.out, done.err.count("\n")) == (code, "", 1)
    assert message in done.err
    assert sorted(folder.glob("*.jsonl")) == before
