"""
Folders of experiments with values of other types, as after a change by hand, and inputs that JSON libraries refuse.
"""

from __future__ import annotations

import json
import stat

import pytest
from experiments.evaluation_aids import experiment, lines_of, write_lines
from experiments.projects import fluxloop_in, newest, project, rows

from fluxloop import experiments
from fluxloop.errors import ConfigError, ReadError

BAD_ROWS = [
    {
        "trace_id": None,
        "run": 10,
        "duration_ms": "x",
        "token_usage": [1],
        "cost": "free",
        "error": 5,
        "conversation": [1],
    },
    {
        "trace_id": 7,
        "run": 11,
        "duration_ms": 1e308,
        "cost": -1e308,
        "token_usage": {"total_tokens": 1e300},
        "status": 5,
    },
    {
        "trace_id": "../../x",
        "run": 12,
        "conversation": [1],
        "status": 5,
        "attempts": "often",
        "metadata": "m",
        "persona": {"a": 1},
        "iteration": "x",
    },
    {"trace_id": "t", "run": 10**30, "token_usage": {"prompt_tokens": 10**30}, "expected": [[[]]]},
    {},
]


def test_rows_with_values_of_other_types_are_parsed_evaluated_and_compared(tmp_path):
    """
    What is not a number where one must be is left out.
    """
    good, bad = experiment(tmp_path / "good"), experiment(tmp_path / "bad")
    write_lines(bad / "trace_summary.jsonl", [])
    text = "".join(f"{json.dumps(row)}\n" for row in [*BAD_ROWS, *lines_of(good / "trace_summary.jsonl")])
    (bad / "trace_summary.jsonl").write_text(text)

    parsed = experiments.parse(bad)
    evaluation = experiments.evaluate(bad, baseline=good)

    assert parsed.runs == evaluation.summary["total_traces"] == 7
    assert 0 < evaluation.summary["cost"] < 1
    assert experiments.compare(good, bad).result.inputs == 2


@pytest.mark.parametrize("name", ["observations.jsonl", "traces.jsonl"])
@pytest.mark.parametrize("value", ["x", [1], {"input_tokens": "many"}, 12, True, None])
@pytest.mark.parametrize("field", ["duration_ms", "metadata", "name", "type", "usage", "status"])
def test_records_with_values_of_other_types_are_parsed_and_evaluated(tmp_path, name, field, value):
    """
    As `fluxloop view` shows them: without the value.
    """
    folder = experiment(tmp_path / "edited")
    path = folder / "artifacts" / name
    write_lines(path, [{**record, field: value} for record in lines_of(path)])

    assert experiments.parse(folder).runs == 2
    assert experiments.evaluate(folder).summary["total_traces"] == 2


@pytest.mark.parametrize("name", ["plan", "source", "results", "config", "process"])
@pytest.mark.parametrize("value", [[1], "x", 5, None])
def test_a_summary_with_a_value_of_another_type_is_one_clear_message(tmp_path, name, value):
    """
    The experiment is evaluated, and resumed if its plan is known.
    """
    project(tmp_path, "def agent(input): return input", "base_inputs: [a, b]")
    folder = experiments.run(config=tmp_path / "setting.yaml", output=tmp_path / "out").folder
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps({**summary, name: value}))

    assert experiments.evaluate(folder).passed
    if name == "plan":
        with pytest.raises(Exception, match=r"has no plan in summary\.json, so it cannot be resumed"):
            experiments.run(config=tmp_path / "setting.yaml", resume=folder)
    else:
        assert experiments.run(config=tmp_path / "setting.yaml", resume=folder).successful == 2


@pytest.mark.parametrize("value", ["\ud800 lone", 10**30, {"a": [10**30]}, {"k": "\udfff"}])
def test_inputs_that_no_json_library_of_ours_takes_are_run(tmp_path, value):
    """
    Inputs with a lone surrogate or a number beyond 64 bits are run, and their experiment can be resumed.
    """

    def agent(input):
        return "done"

    inputs = [{"input": value, "id": "a"}, {"input": "b", "expected": value, "metadata": {"x": value}}]
    ran = experiments.run(agent, inputs, output=tmp_path)

    assert ran.successful == 2
    assert experiments.run(agent, inputs, resume=ran.folder).successful == 2
    assert experiments.evaluate(ran.folder).passed


def test_counts_that_no_size_can_hold_are_refused(tmp_path):
    """
    The message names the key and the largest value.
    """
    project(tmp_path, "def agent(input): return input", "base_inputs: [a]\niterations: 99999999999999999999")

    done = fluxloop_in(tmp_path, "run", "experiment")

    assert done.code == 2
    assert "iterations must be less than or equal to 1000000000, got 99999999999999999999" in done.err


def test_a_resumed_experiment_with_another_configuration_says_what_changed(tmp_path):
    """
    The finished runs stay as they are, so the folder has runs of both; a warning names the difference.
    """
    agent = "def agent(input): return 1\ndef other(input): return 2"
    project(tmp_path, agent, "base_inputs: [a, b]")
    assert fluxloop_in(tmp_path, "run", "experiment").code == 0
    folder = newest(tmp_path)
    lines = (folder / "trace_summary.jsonl").read_text().splitlines(keepends=True)
    (folder / "trace_summary.jsonl").write_text(lines[0])
    unchanged = fluxloop_in(tmp_path, "run", "experiment", "--resume", folder, "--parallel", "2", "--dry-run")

    timeout = fluxloop_in(tmp_path, "run", "experiment", "--resume", folder, "--timeout", "5", "--dry-run")
    project(tmp_path, agent, "base_inputs: [a, b]\nrunner: {target: app:other}")
    target = fluxloop_in(tmp_path, "run", "experiment", "--resume", folder)

    assert "changed" not in unchanged.err
    assert f"runner.timeout_seconds changed since {folder.name} was started; finished runs are kept" in timeout.err
    assert f"the target changed since {folder.name} was started, from app:agent to app:other" in target.err
    assert [row["output"] for row in rows(tmp_path)] == [1, 2]


def test_results_can_be_read_by_their_owner_only(tmp_path):
    """
    As the records that they are made from: they contain what users wrote.
    """
    folder = experiment(tmp_path / "demo")

    experiments.parse(folder)
    experiments.evaluate(folder)

    written = [path for name in ("per_trace_analysis", "evaluation") for path in (folder / name).iterdir()]
    assert len(written) == 3 + 4
    assert {stat.S_IMODE(path.stat().st_mode) for path in written} == {0o600}


def test_texts_of_evaluators_that_are_not_unicode_are_written(tmp_path):
    """
    A lone surrogate in a name, a label, a comment or an error reaches every file of the results.
    """

    def commented(output):
        return {"score": 0.1, "comment": "\ud800<", "name": "\udc00name"}

    def labelled(output):
        return "\ud800label"

    def failing(output):
        raise ValueError("\ud800")

    folder = experiment(tmp_path / "demo")
    evaluators = [commented, labelled, failing]

    evaluation = experiments.evaluate(folder, evaluators=evaluators, junit=tmp_path / "junit.xml")

    assert json.loads((evaluation.output / "summary.json").read_text())["evaluator_stats"]["\udc00name"]["count"] == 2
    assert {path.name for path in evaluation.output.iterdir()} >= {"per_trace.jsonl", "report.html", "report.md"}


@pytest.mark.parametrize("output", ["not JSON", '{"a": 1}'])
def test_a_schema_that_refers_to_another_one_fails_its_rule(tmp_path, output):
    """
    Nothing is downloaded, and the evaluation ends with a reason.
    """
    folder = experiment(tmp_path / "demo", [{"input": "Rome", "output": output}])
    rules = [{"json_schema": {"schema": {"$ref": "http://127.0.0.1:9/x"}}}]

    evaluation = experiments.evaluate(folder, rules=rules)

    assert "the schema refers to http://127.0.0.1:9/x, which is not in it" in str(evaluation.summary["top_reasons"])


@pytest.mark.parametrize(
    "config",
    [
        {"limits": {"concurrency": float("inf")}},
        {"limits": {"evaluator_timeout_seconds": float("inf")}},
        {"rules": [{"check": "success", "weight": float("nan")}]},
        {"evaluators": [{"name": "a", "rules": ["success"], "weight": float("inf")}]},
    ],
)
def test_numbers_of_a_configuration_must_be_finite(tmp_path, config):
    """
    The message names the key.
    """
    folder = experiment(tmp_path / "demo")

    with pytest.raises(ConfigError, match=r"(concurrency|evaluator_timeout_seconds|weight) must be a .*number"):
        experiments.evaluate(folder, config=config)


@pytest.mark.parametrize("name", ["artifacts", "per_trace_analysis", "summary.json"])
def test_results_replace_no_other_files(tmp_path, name):
    """
    ``--output`` with the name of a folder that `evaluate` has not written is an error.
    """
    folder = experiment(tmp_path / "demo")
    experiments.parse(folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    with pytest.raises(ReadError, match="does not hold results of this command"):
        experiments.evaluate(folder, output=name)

    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
