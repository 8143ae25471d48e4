"""
`fluxloop parse experiment`: the documents, the lines, repeated and interrupted parsing, and hostile records.
"""

from __future__ import annotations

import os
import shutil

import orjson
import pytest
from cli.commands import completed, runner
from experiments.evaluation_aids import experiment, lines_of, model, run_of, search, tool_run, travel_agent, write_lines

import fluxloop
from fluxloop import experiments
from fluxloop.errors import ReadError, WriteError
from fluxloop.experiments.parsing.markdown import document


@pytest.fixture
def fluxloop_(monkeypatch, capsys):
    """The command, run in this process."""
    return runner(monkeypatch, capsys)


def test_a_run_becomes_a_document_with_its_tree(tmp_path):
    """
    Front matter, input, output, tree and every step with its values.
    """
    folder = experiment(tmp_path / "demo")

    parsed = experiments.parse(folder)

    (path, _) = sorted(parsed.output.glob("*.md"))
    text = path.read_text()
    assert text.startswith("---\ntrace_id: ")
    assert '\nsuccess: true\nstatus: "success"\ninput_tokens: 100\noutput_tokens: 20\ntotal_tokens: 120\ncost: ' in text
    tree = text.partition("```text\nAGENT travel_agent")[2].partition("```")[0]
    assert [line.split(" ")[:4] for line in tree.splitlines()[1:]] == [
        ["", "", "GENERATION", "model"],
        ["", "", "TOOL", "search"],
        ["", "", "TOOL", "book"],
    ]
    assert "### Step 3: [tool] search\n" in text
    assert '```json\n{\n  "query": "' in text
    assert "## Conversation\n\n- **User**: " in text


def test_each_run_becomes_a_line_with_its_timeline(tmp_path):
    """
    The line has the row, and the records in the order of the tree.
    """
    folder = experiment(tmp_path / "demo", ["Rome", "nowhere"])

    experiments.parse(folder)

    first, failed = lines_of(folder / "per_trace_analysis/per_trace.jsonl")
    assert first["input"] == "Rome"
    assert first["final_output"] == first["output"] == "Booked the Ritz in Rome"
    assert [(step["depth"], step["type"], step["name"]) for step in first["timeline"]] == [
        (0, "AGENT", "travel_agent"),
        (1, "GENERATION", "model"),
        (1, "TOOL", "search"),
        (1, "TOOL", "book"),
    ]
    assert first["metrics"]["total_tokens"] == 120
    assert failed["status"] == "error"
    assert failed["summary"]["errors"] == ["no such city", "no such city"]


def test_parsing_again_gives_the_same_files(tmp_path):
    """
    The results are replaced, also by fewer runs, and are the same for the same experiment.
    """
    folder = experiment(tmp_path / "demo")
    output = experiments.parse(folder).output
    before = {path.name: path.read_bytes() for path in output.iterdir()}
    (output / "00_stale.md").write_text("of an earlier run")

    experiments.parse(folder)

    assert {path.name: path.read_bytes() for path in output.iterdir()} == before
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("given", ["experiments/demo", "demo", "experiments/latest_*/", "experiments/dem*"])
def test_the_newest_experiment_of_a_name_or_pattern_is_parsed(tmp_path, monkeypatch, fluxloop_, given):
    """
    A bare name, a link, and a literal pattern that no shell has expanded.
    """
    monkeypatch.chdir(tmp_path)
    experiment(tmp_path / "experiments/demo_20260117_143022")
    newest = experiment(tmp_path / "experiments/demo_20260118_090000", ["Bern"])
    (tmp_path / "experiments/latest_demo").symlink_to(newest.name)

    done = fluxloop_("parse", "experiment", given)

    assert (done.code, done.out.splitlines()[0]) == (0, "1 run parsed, 0 failed")
    assert (newest / "per_trace_analysis/per_trace.jsonl").is_file()


def test_of_several_folders_the_newest_is_read(tmp_path, monkeypatch, fluxloop_):
    """
    A shell expands ``experiments/*`` to every experiment, the link to the newest, and files of the user.
    """
    monkeypatch.chdir(tmp_path)
    experiment(tmp_path / "experiments/demo_20260117_143022")
    newest = experiment(tmp_path / "experiments/demo_20260118_090000", ["Bern"])
    (tmp_path / "experiments/latest_demo").symlink_to(newest.name)
    (tmp_path / "experiments/notes.txt").touch()
    paths = sorted((tmp_path / "experiments").iterdir())

    assert fluxloop_("parse", "experiment", *paths).code == 0
    assert fluxloop_("evaluate", "experiment", *paths).code == 0
    assert (newest / "per_trace_analysis/per_trace.jsonl").is_file()
    assert (newest / "evaluation/summary.json").is_file()


def test_json_output_is_one_object(tmp_path, fluxloop_):
    """
    With ``--json`` nothing else is printed.
    """
    folder = experiment(tmp_path / "demo", ["Rome", "nowhere"])

    done = fluxloop_("parse", "experiment", folder, "--json")

    assert orjson.loads(done.out) | {"experiment": "", "output": ""} == {
        "experiment": "", "output": "", "runs": 2, "failed": 1, "without_records": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: shutil.rmtree(folder), "experiment not found: "),
        (lambda folder: (folder / "summary.json").write_text('{"folder_version": 99}'), "has format version 99"),
        (lambda folder: (folder / "summary.json").write_text("{"), "summary.json is not a JSON object"),
        (lambda folder: (folder / "trace_summary.jsonl").write_text(""), "has no finished runs"),
        (lambda folder: (folder / "per_trace_analysis").write_text("mine"), "does not hold results of this command"),
        (
            lambda folder: (folder / "per_trace_analysis").mkdir() or (folder / "per_trace_analysis/a").write_text(""),
            "does not hold results of this command",
        ),
    ],
)
def test_what_cannot_be_parsed_is_one_line_and_exit_code_2(tmp_path, fluxloop_, damage, message):
    """
    No traceback, and nothing of the user's is replaced.
    """
    folder = experiment(tmp_path / "demo")
    damage(folder)

    done = fluxloop_("parse", "experiment", folder)

    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("fluxloop: ")
    assert message in done.err
    assert done.err.count("\n") == 1


def test_torn_lines_and_missing_records_are_survived(tmp_path):
    """
    A row that was cut off is left out; a run without records has a document too.
    """
    folder = experiment(tmp_path / "demo")
    with open(folder / "trace_summary.jsonl", "ab") as rows:
        rows.write(b'{"trace_id": "lost", "run": 7, "status": "success"}\n{"trace_id": "cut o')
    with open(folder / "artifacts/observations.jsonl", "ab") as records:
        records.write(b'{"id": "cut o')

    parsed = experiments.parse(folder)

    assert (parsed.runs, parsed.without_records) == (3, 1)
    assert "(no records of this run in the artifacts)" in (parsed.output / "00_lost.md").read_text()


def test_the_files_of_the_published_packages_are_parsed(tmp_path):
    """
    Records at the top of the folder, lower-case types, ``parent_observation_id``, and rows without a status.
    """
    folder = tmp_path / "exp_20250117_120000"
    folder.mkdir()
    root = {"id": "a", "trace_id": "t", "type": "agent", "name": "Chat", "start_time": "2025-01-17T12:00:00+00:00"}
    tool = {**root, "id": "b", "type": "tool", "name": "find", "parent_observation_id": "a", "input": {"q": 1}}
    write_lines(folder / "observations.jsonl", [tool, root])
    write_lines(folder / "traces.jsonl", [{"id": "t", "name": "x", "start_time": "2025-01-17T12:00:00+00:00"}])
    write_lines(folder / "trace_summary.jsonl", [{"trace_id": "t", "iteration": 0, "input": "hi", "success": True}])

    experiments.parse(folder)

    (line,) = lines_of(folder / "per_trace_analysis/per_trace.jsonl")
    assert line["status"] == "success"
    assert [(step["depth"], step["type"], step["name"]) for step in line["timeline"]] == [
        (0, "AGENT", "Chat"),
        (1, "TOOL", "find"),
    ]


def test_recorded_text_cannot_change_the_document():
    """
    Fences, headings and HTML in values and names stay text.
    """
    run = tool_run(("`rm` <img src=x>\n# heading", {"a": 1}), output="```\n# not a heading\n```", input="# hi\n---")

    text = document(run)

    assert "````text\n```\n# not a heading\n```\n````" in text
    assert r"[tool] \`rm\` \<img src=x\> \# heading" in text
    assert [line for line in text.splitlines() if line == "# heading"] == []


def test_an_endless_value_is_cut_in_the_document_only():
    """
    A megabyte is cut, and the document gives the length.
    """
    text = document(run_of(output="x" * 1_000_000))

    assert len(text) < 30_000
    assert "... (1,000,000 characters)" in text


def test_a_full_disk_keeps_the_earlier_results(tmp_path):
    """
    The new files get their place when all are written.
    """
    folder = experiment(tmp_path / "demo")
    output = experiments.parse(folder).output
    before = sorted(path.name for path in output.iterdir())

    def full(run):
        raise OSError(28, os.strerror(28))

    with pytest.raises(WriteError, match="No space left on device"):
        experiments.parse(folder, on_run=full)

    assert sorted(path.name for path in output.iterdir()) == before
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


def test_the_output_stays_within_the_experiment(tmp_path):
    """
    A path as the output is refused, since the folder is replaced as a whole.
    """
    folder = experiment(tmp_path / "demo")

    with pytest.raises(ReadError, match="must be the name of a folder within the experiment"):
        experiments.parse(folder, output="../elsewhere")


def test_the_help_teaches_with_examples():
    """
    As a real process, with what the seed documents print.
    """
    done = completed("parse", "experiment", "--help")

    assert done.code == 0
    assert "fluxloop parse experiment experiments/latest_*/" in done.out


def test_a_run_that_was_killed_shows_what_it_had_begun(tmp_path):
    """
    Observations without a root are roots, in their order.
    """
    folder = experiment(tmp_path / "demo", ["Rome"])
    path = folder / "artifacts/observations.jsonl"
    write_lines(path, [record for record in lines_of(path) if record["type"] != "AGENT"])

    experiments.parse(folder)

    (line,) = lines_of(folder / "per_trace_analysis/per_trace.jsonl")
    assert [(step["depth"], step["name"]) for step in line["timeline"]] == [(0, "model"), (0, "search"), (0, "book")]


def test_nested_steps_keep_their_hierarchy(tmp_path):
    """
    A tool that calls a model and another tool is their parent.
    """

    @fluxloop.tool
    def plan(city):
        model(city)
        return search(city)

    @fluxloop.agent
    def planner(city):
        return plan(city)

    folder = experiment(tmp_path / "demo", ["Rome"], planner)

    text = next(experiments.parse(folder).output.glob("*.md")).read_text()

    assert "AGENT planner" in text
    assert "\n  TOOL plan" in text
    assert "\n    GENERATION model" in text
    assert travel_agent.__name__ not in text
