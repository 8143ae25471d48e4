"""
`fluxloop evaluate experiment`: scores, gates, files, configuration, baselines, and what can go wrong.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import offline
import orjson
import pytest
from cli.commands import runner
from docs_blocks import blocks
from experiments.evaluation_aids import experiment, hasty_agent, lines_of
from ruamel.yaml import YAML

from fluxloop import experiments
from fluxloop.errors import ConfigError, WriteError
from fluxloop.experiments.evaluation.configuration import load_config


@pytest.fixture
def fluxloop_(monkeypatch, capsys):
    """The command, run in this process, without keys of judges."""
    for name in ("FLUXLOOP_LLM_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    return runner(monkeypatch, capsys)


@pytest.fixture
def demo(tmp_path):
    """An experiment with a run that fails."""
    return experiment(tmp_path / "demo", ["Rome", "Oslo", "nowhere"])


CONFIG = """
evaluation_goal: {text: Books the right hotel}
evaluators:
  - name: basics
    type: rule_based
    rules:
      - check: output_not_empty
        target: output
      - contains: {keywords: [Ritz]}
  - name: tools
    weight: 3
    rules:
      - tool_before: {first: search, then: book}
  - name: quality
    type: llm_judge
    model: gpt-5-mini
aggregate: {method: weighted_sum, threshold: 0.7}
success_criteria:
  performance:
    all_traces_successful: true
    error_rate: {enabled: true, threshold_percent: 50}
    max_response_time: {enabled: false, threshold_ms: 1}
  quality:
    intent_recognition: true
  functionality:
    tool_calling: {enabled: true, all_calls_successful: true}
"""


def test_without_a_configuration_a_run_passes_if_it_succeeded_with_an_output(demo, fluxloop_):
    """
    The defaults; the failed run is in every result, and the exit code is 0.
    """
    done = fluxloop_("evaluate", "experiment", demo)

    assert done.code == 0
    assert done.out.startswith("2 of 3 runs passed (66.7 %), average score 0.778, threshold 0.7\n")
    lines = lines_of(demo / "evaluation/per_trace.jsonl")
    assert [(line["meta"]["input"], line["pass"], line["status"]) for line in lines] == [
        ("Rome", True, "success"),
        ("Oslo", True, "success"),
        ("nowhere", False, "error"),
    ]
    assert lines[2]["reasons"]["run"] == "the run ended with error: LookupError: no such city"
    assert sorted(path.name for path in (demo / "evaluation").iterdir()) == [
        "per_trace.jsonl",
        "report.html",
        "report.md",
        "summary.json",
    ]
    assert (demo / "per_trace_analysis/per_trace.jsonl").is_file()


def test_a_configuration_of_the_published_packages_is_evaluated(demo, tmp_path, monkeypatch, fluxloop_):
    """
    Weights, criteria, and a judge without a key, which is skipped and not counted.
    """
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/evaluation.yaml").write_text(CONFIG)

    done = fluxloop_("evaluate", "experiment", demo, "--json")

    summary = orjson.loads(done.out)
    assert done.code == 0
    assert summary == orjson.loads((demo / "evaluation/summary.json").read_bytes())
    assert summary["config"] == "configs/evaluation.yaml"
    assert summary["by_evaluator"] == {"basics": pytest.approx(2 / 3), "tools": 1.0, "quality": None}
    assert summary["average_score"] == pytest.approx((1 + 1 + 3 / 4) / 3)
    assert summary["evaluator_stats"]["quality"]["skipped"] == 3
    assert summary["evaluator_stats"]["quality"]["note"] == "no API key: set FLUXLOOP_LLM_API_KEY or OPENAI_API_KEY"
    assert summary["success_criteria_results"] == {
        "performance": {
            "all_traces_successful": {"met": False, "detail": "1 of 3 runs failed"},
            "error_rate": {"met": True, "detail": "33.3 % failed, 50 % allowed"},
        },
        "quality": {
            "intent_recognition": {
                "met": None,
                "detail": "not evaluated: add an evaluator with the name intent_recognition",
            }
        },
        "functionality": {"all_calls_successful": {"met": False, "detail": "1 of 5 tool calls failed"}},
        "overall_success": False,
    }
    assert summary["evaluation_goal"] == "Books the right hotel"
    assert summary["tools"] == {"book": {"calls": 2, "errors": 0}, "search": {"calls": 3, "errors": 1}}


@pytest.mark.parametrize(
    ("options", "code", "gate"),
    [
        (["--fail-under", "0.7"], 0, None),
        (["--fail-under", "0.8"], 1, "the average score is 0.778, 0.800 is required"),
        (["--strict"], 0, None),
        (["--config", "evaluation.yaml"], 0, None),
        (["--config", "evaluation.yaml", "--strict"], 1, "performance.all_traces_successful: 1 of 3 runs failed"),
    ],
)
def test_gates_decide_the_exit_code(demo, tmp_path, monkeypatch, fluxloop_, options, code, gate):
    """
    0 if all gates are met, 1 if one is not; the reason is printed and in summary.json.
    """
    (tmp_path / "evaluation.yaml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path if "--config" in options else demo)

    done = fluxloop_("evaluate", "experiment", demo, *options)

    summary = orjson.loads((demo / "evaluation/summary.json").read_bytes())
    assert done.code == code
    assert summary["pass_fail_status"] == ("fail" if code else "pass")
    if gate:
        assert f"FAILED: {gate}" in done.out
        assert gate in summary["failed_gates"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("evaluators: [", "line 1, column 14: this is not valid YAML"),
        ("evaluatorz: []", "line 1: unknown key 'evaluatorz', did you mean 'evaluators'?"),
        ("evaluators: 3", "line 1: evaluators must be a list, got 3"),
        ("evaluators:\n  - {name: a, type: rule_bsed}", "line 2: type must be one of rule_based, llm_judge, python"),
        ("evaluators:\n  - name: a\n    rulez: []", "line 3: unknown key 'rulez', did you mean 'rules'?"),
        (
            "evaluators:\n  - name: a\n    rules:\n      - succes",
            "line 4: unknown rule 'succes', did you mean 'success'?",
        ),
        ("evaluators:\n  - {name: a, rules: []}", "line 2: rules must be a list with at least one rule"),
        ("evaluators:\n  - {name: a, type: llm_judge}", "line 2: evaluator 'a' needs model"),
        ("evaluators:\n  - {name: a, model: m, parser: p}", "parser must be one of first_number_1_10"),
        ("rules: [success]\nevaluators:\n  - {name: rules, rules: [success]}", "two evaluators have the name 'rules'"),
        ("aggregate:\n  threshold: 7", "line 2: threshold must be a number from 0 to 1, got 7"),
        ("aggregate: {method: median}", "method must be one of weighted_sum, average, got 'median'"),
        ("limits: {sample_rate: 2}", "sample_rate must be a number from 0 to 1, got 2"),
        ("evaluators:\n  - {name: a, target: nothing_here:f}", "nothing_here:f: module 'nothing_here' not found in "),
        ("evaluators:\n  - {name: a, target: 'json:lods'}", "json has no 'lods', did you mean 'loads'?"),
        ("evaluators:\n  - {name: a, target: json}", "json: a target must have the form module:name"),
    ],
)
def test_a_mistake_in_the_configuration_is_one_line_with_its_place(demo, tmp_path, fluxloop_, text, message):
    """
    File, line, what was found and what is accepted; exit code 2 and nothing written.
    """
    path = tmp_path / "bad.yaml"
    path.write_text(text)

    done = fluxloop_("evaluate", "experiment", demo, "--config", path)

    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"fluxloop: {path}")
    assert message in done.err
    assert not (demo / "evaluation").exists()


def test_keys_without_effect_are_reported_once(demo, tmp_path, fluxloop_):
    """
    Keys of the published packages that do nothing here are accepted, with a notice.
    """
    path = tmp_path / "old.yaml"
    path.write_text("report: {tone: formal, output: md}\nadvanced: {outliers: true}\n")

    done = fluxloop_("evaluate", "experiment", demo, "--config", path)

    assert done.code == 0
    assert f"fluxloop: {path}, line 1: tone has no effect" in done.err
    assert f"fluxloop: {path}, line 2: advanced has no effect" in done.err
    assert not (demo / "evaluation/report.html").exists()


def test_evaluators_in_python_are_used_from_code_and_from_yaml(demo, tmp_path):
    """
    Functions, with the name of the function, and their scores beside those of rules.
    """
    (tmp_path / "my_evals.py").write_text(
        "def short(outputs): return len(outputs or '') < 25\n"
        "def at_least(n):\n    def long(output): return {'score': min(1, len(output or '') / n), 'comment': 'len'}\n"
        "    return long\n"
    )
    config = tmp_path / "evaluation.yaml"
    config.write_text(
        "evaluators:\n  - {type: python, target: 'my_evals:short'}\n"
        "  - {name: long, target: 'my_evals:at_least', arguments: {n: 46}}\n"
    )

    found = experiments.evaluate(demo, config=config, evaluators=[lambda run: "label"], rules=["success"])

    (first, *_) = lines_of(found.output / "per_trace.jsonl")
    assert first["scores"] == {"rules": 1.0, "short": 1.0, "long": 0.5, "<lambda>": None}
    assert found.summary["evaluator_stats"]["<lambda>"]["labels"] == {"label": 3}


def test_an_evaluator_that_exits_or_leaves_the_range_is_stated_and_ends_nothing(demo):
    """
    ``sys.exit(0)`` in an evaluator does not pass a gate, and a number that is not a score is not ignored silently.
    """

    def leaves(outputs):
        raise SystemExit(0)

    def counts(outputs):
        return 7

    found = experiments.evaluate(demo, evaluators=[leaves, counts], strict=True)

    stats = found.summary["evaluator_stats"]
    assert stats["leaves"]["errors"] == found.summary["total_traces"]
    assert stats["leaves"]["note"] == "SystemExit: 0"
    assert stats["counts"]["out_of_range"] == found.summary["total_traces"]
    assert stats["counts"]["note"] == "7 is outside 0 to 1: give max_score"
    assert not found.passed


def test_scores_of_one_name_are_kept_apart(demo):
    """
    Results are kept by name; a second one of the same name, also of another evaluator, gets a number.
    """

    def several(run):
        return [0.25, {"key": "rules", "score": 1, "comment": "mine"}, 0.75]

    found = experiments.evaluate(demo, evaluators=[several], rules=["output_not_empty"])

    (first, *_) = lines_of(found.output / "per_trace.jsonl")
    assert first["scores"] == {"rules": 1.0, "several": 0.25, "rules (2)": 1.0, "several (2)": 0.75}
    assert first["results"]["rules (2)"] == {"score": 1.0, "reason": "mine"}
    assert first["final_score"] == 0.75
    assert found.summary["by_evaluator"]["several"] == 0.25
    assert found.summary["evaluator_stats"]["several (2)"]["count"] == 3


def test_secrets_in_what_an_evaluator_returns_or_raises_are_masked(demo, fluxloop_):
    """
    Reports are published by CI systems, and the exception of an HTTP client may have a key in it.
    """
    key = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789ABCD"

    def leaking(run):
        raise RuntimeError(f"401 for https://api.example.com/?api_key={key}")

    def quoting(run):
        return {"score": 0.1, "comment": f"it used {key}"}

    def labelling(run):
        return key

    found = experiments.evaluate(demo, evaluators=[leaking, quoting, labelling])

    written = {path.name: path.read_text(encoding="utf-8") for path in found.output.iterdir()}
    assert "it used [redacted]" in written["per_trace.jsonl"]
    assert [name for name, text in written.items() if key in text] == []
    assert key not in repr(found.summary)


def test_frequent_reasons_and_types_of_errors_are_ordered_by_their_count(tmp_path):
    """
    The page lists both together, the most frequent first.
    """
    demo = experiment(tmp_path / "demo", ["Rome", "nowhere", "nowhere else", "Oslo"])

    found = experiments.evaluate(demo, rules=["output_not_empty", {"not_contains": {"keywords": ["Oslo"]}}])

    page = (found.output / "report.html").read_text(encoding="utf-8")
    rows = re.findall(r'<tr><td class="text">(.*?)</td><td class="number">(\d+)</td></tr>', page)
    assert ("error type LookupError", "2") in rows
    assert [count for _, count in rows] == ["2", "2", "2", "1"]


def test_labels_are_counted_in_the_terminal(demo, tmp_path, fluxloop_):
    """
    An evaluator that returns labels has no average, which is not all there is to show.
    """
    (tmp_path / "tones.py").write_text("def tone(outputs):\n    return 'kind' if outputs else 'none'\n")
    config = tmp_path / "evaluation.yaml"
    config.write_text("evaluators: [{name: tone, type: python, target: 'tones:tone'}]")

    done = fluxloop_("evaluate", "experiment", demo, "--config", config)

    assert [line.split() for line in done.out.splitlines() if ": " in line and "x" not in line][:2] == [
        ["kind:", "2"],
        ["none:", "1"],
    ]


def test_evaluating_works_inside_a_running_loop(demo):
    """
    As in a notebook: asynchronous evaluators run in a loop of their own.
    """

    async def polite(outputs):
        await asyncio.sleep(0)
        return True

    async def cell():
        return experiments.evaluate(demo, evaluators=[polite])

    assert asyncio.run(cell()).average_score == 1.0


def test_a_required_rule_fails_the_run_whatever_its_score(demo):
    """
    Its other rules may outweigh it; the run does not pass.
    """
    rules = [{"check": "contains", "keywords": ["Rome"], "required": True}, *["success"] * 9]

    found = experiments.evaluate(demo, rules=rules)

    passed = [line["pass"] for line in lines_of(found.output / "per_trace.jsonl")]
    assert passed == [True, False, False]


def test_repeats_show_flaky_inputs(tmp_path):
    """
    pass@k, pass^k and the inputs that pass sometimes.
    """
    folder = experiment(tmp_path / "demo", ["Rome", "Oslo"], iterations=2)
    rows = lines_of(folder / "trace_summary.jsonl")
    rows[1] |= {"status": "error", "error": {"type": "TimeoutError", "message": "late"}}
    (folder / "trace_summary.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))

    repeats = experiments.evaluate(folder, rules=["success"]).summary["repeats"]

    assert repeats["pass_at_k"] == {"1": 0.75, "2": 1.0}
    assert repeats["pass_hat_k"] == {"1": 0.75, "2": 0.5}
    assert repeats["flaky"] == [{"input_id": "input-0", "persona": None, "input": "Rome", "passed": 1, "runs": 2}]


def test_a_baseline_shows_regressions_and_fixes(tmp_path):
    """
    Inputs are paired; the baseline stays as it is.
    """
    cities = [f"city {number}" for number in range(8)]
    before = experiment(tmp_path / "before", [*cities, "nowhere"])
    after = experiment(tmp_path / "after", [*[{"input": city} for city in cities], {"input": "somewhere"}], hasty_agent)
    files = sorted(before.rglob("*"))

    found = experiments.evaluate(after, rules=["success", {"tool_called": {"tool": "search"}}], threshold=0.9,
                                 baseline=before, strict=True)  # fmt: skip

    comparison = found.summary["analysis"]["comparison"]
    assert (comparison["regression_count"], comparison["fix_count"]) == (8, 0)
    assert comparison["trajectory_changes"] == 9
    assert comparison["metrics"]["pass_rate"]["difference"] == pytest.approx(-8 / 9)
    assert comparison["metrics"]["pass_rate"]["significant"] is True
    assert found.failed_gates == ("8 inputs broke since the baseline",)
    with pytest.raises(AssertionError, match="8 inputs broke"):
        found.require_passed()
    assert sorted(before.rglob("*")) == files


def test_personas_are_broken_down(tmp_path):
    """
    Counts and rates of each persona, also where some runs have none.
    """
    cases = [{"input": "Rome", "persona": "expert"}, {"input": "nowhere", "persona": "novice"}, "Oslo"]
    summary = experiments.evaluate(experiment(tmp_path / "demo", cases), rules=["success"]).summary

    rates = {name: one["pass_rate"] for name, one in summary["persona_breakdown"].items()}
    assert rates == {"expert": 1.0, "novice": 0.0, "(no persona)": 1.0}


def test_test_cases_for_ci_are_valid_xml(demo, tmp_path, fluxloop_):
    """
    A failed run is an error, a run that did not pass a failure; control characters do not break the file.
    """
    rows = lines_of(demo / "trace_summary.jsonl")
    rows[1]["input"] = "a\x00b <&> ]]> \ud7ff"
    (demo / "trace_summary.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))

    fluxloop_("evaluate", "experiment", demo, "--junit", tmp_path / "out/results.xml", "--threshold", "1")

    suites = ElementTree.parse(tmp_path / "out/results.xml").getroot()
    assert suites.attrib["tests"] == "3"
    assert [[inner.tag for inner in case] for case in suites.iter("testcase")] == [[], [], ["error"]]


def test_a_full_disk_keeps_the_earlier_evaluation(demo):
    """
    The files of an evaluation are replaced together, when all are written.
    """
    experiments.evaluate(demo)
    before = {path.name: path.read_bytes() for path in (demo / "evaluation").iterdir()}

    def full(run, score):
        raise OSError(28, os.strerror(28))

    with pytest.raises(WriteError, match="No space left on device"):
        experiments.evaluate(demo, rules=[{"not_contains": {"keywords": ["x"]}}], on_run=full)

    assert {path.name: path.read_bytes() for path in (demo / "evaluation").iterdir()} == before


def test_options_out_of_range_are_refused(demo):
    """
    From Python as from the command line.
    """
    with pytest.raises(ConfigError, match="fail_under must be a number from 0 to 1, got 80"):
        experiments.evaluate(demo, fail_under=80)
    with pytest.raises(ConfigError, match="report must be one of both, html, md, got 'pdf'"):
        experiments.evaluate(demo, report="pdf")
    with pytest.raises(ConfigError, match="two evaluators have the name '<lambda>'"):
        experiments.evaluate(demo, evaluators=[lambda run: True, lambda run: False])


def test_an_experiment_that_still_runs_is_evaluated_as_far_as_it_is(tmp_path):
    """
    The state is in the report: its runs are not complete.
    """
    process = {"pid": os.getpid(), "host": os.uname().nodename}
    folder = experiment(tmp_path / "demo", state="running", process=process)

    assert experiments.evaluate(folder).summary["state"] == "running"
    assert "demo, running" in (folder / "evaluation/report.html").read_text()


def test_markdown_in_inputs_stays_text(tmp_path):
    """
    A pipe or a link in an input does not change the tables of the report.
    """
    folder = experiment(tmp_path / "demo", [{"input": "nowhere | [x](javascript:alert(1)) <b>"}])

    experiments.evaluate(folder)

    assert r"nowhere \| \[x\](javascript:alert(1)) \<b\>" in (folder / "evaluation/report.md").read_text()


@pytest.mark.slow
def test_the_commands_of_the_guides_work_in_a_fresh_folder(tmp_path):
    """
    Run, parse and evaluate as they are printed, with the pattern expanded by the shell, twice.
    """
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/simulation.yaml").write_text('runner:\n  target: "my_module:my_agent"\n  iterations: 3\n')
    (tmp_path / "my_module.py").write_text(
        "import fluxloop\n\n@fluxloop.tool()\ndef find(q):\n    return q\n\n"
        "@fluxloop.agent()\ndef my_agent(message):\n    return find(message)\n"
    )
    command = f"{sys.executable} -m fluxloop"
    steps = ("run experiment", "parse experiment experiments/latest_*/", "evaluate experiment experiments/latest_*/")
    for _ in range(2):
        for step in steps:
            done = subprocess.run(
                f"{command} {step}", shell=True, cwd=tmp_path, env=offline.environment(), capture_output=True, text=True
            )
            assert (done.returncode, done.stderr.count("Traceback")) == (0, 0), done.stderr

    (folder,) = (tmp_path / "experiments").glob("latest_*")
    lines = lines_of(folder / "evaluation/per_trace.jsonl")
    assert [(line["iteration"], line["pass"]) for line in lines] == [(0, True), (1, True), (2, True)]
    (parsed, *_) = lines_of(folder / "per_trace_analysis/per_trace.jsonl")
    assert [step["name"] for step in parsed["timeline"] if step["type"] == "TOOL"] == ["find"]
    assert (folder / "evaluation/report.html").is_file()


def test_every_configuration_of_the_page_is_valid():
    """
    Each YAML block of the documentation of evaluations is read without a mistake.
    """
    page = Path(__file__).parents[2].joinpath("docs/evaluation.md").read_text()
    found = [block.code for block in blocks(page) if block.language == "yaml"]

    configs = [load_config(read_yaml_text(text)) for text in found]

    assert len(configs) == 5
    assert configs[0].goal == "The agent books the hotel that was asked for"
    assert len(configs[1].rule_evaluators[0].rules) == 21


def read_yaml_text(text):
    """Return YAML as plain data."""
    return YAML(typ="safe").load(text)
