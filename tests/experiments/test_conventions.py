"""
Evaluators written for other libraries: as functions in their conventions, and the real ones where they are installed.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from types import SimpleNamespace

import pytest
from experiments.evaluation_aids import run_of, tool_run

from fluxloop.experiments.evaluation.conventions import evaluator_of
from fluxloop.experiments.evaluation.time_limits import TimeLimit

RUN = tool_run(
    ("search", {"query": "Rome"}),
    input={"question": "Where?"},
    output="Rome",
    expected="Rome",
    metadata={"level": 2},
    duration_ms=1500.0,
)


def scores(evaluator, run=RUN, **options):
    """Return what *evaluator* finds in *run*."""
    with TimeLimit(60) as limit:
        return asyncio.run(evaluator_of(evaluator, **options).scores(run, limit))


def only(evaluator, run=RUN, **options):
    """Return the one score of *evaluator*."""
    (score,) = scores(evaluator, run, **options)
    return score


def langsmith(inputs: dict, outputs: dict, reference_outputs: dict) -> bool:
    return inputs["question"] == "Where?" and outputs["output"] == reference_outputs["output"]


def openevals(*, inputs, outputs, reference_outputs, **kwargs):
    return {"key": "exact", "score": outputs == reference_outputs, "comment": f"of {inputs}", "metadata": None}


def autoevals(output, expected=None, *, input=None, **kwargs):
    return SimpleNamespace(name="Exact", score=float(output == expected), metadata={"rationale": "they are equal"})


async def asynchronous(output):
    await asyncio.sleep(0)
    return 0.25


def whole(run):
    return [call.name for call in run.tools] == ["search"]


class Callable:
    def __call__(self, outputs):
        return "polite"


@pytest.mark.parametrize(
    ("evaluator", "name", "score", "passed", "reason"),
    [
        (langsmith, "langsmith", 1.0, True, ""),
        (openevals, "exact", 1.0, True, "of {'question': 'Where?'}"),
        (autoevals, "Exact", 1.0, None, "they are equal"),
        (asynchronous, "asynchronous", 0.25, None, ""),
        (whole, "whole", 1.0, True, ""),
        (partial(openevals, extra=1), "exact", 1.0, True, "of {'question': 'Where?'}"),
        (lambda output, metadata: metadata["level"] == 3, "<lambda>", 0.0, False, ""),
    ],
)
def test_a_function_receives_what_its_parameters_name(evaluator, name, score, passed, reason):
    """
    Functions in the conventions of LangSmith, openevals and autoevals work as they are.
    """
    found = only(evaluator)

    assert (found.name, found.score, found.passed, found.reason) == (name, score, passed, reason)


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (True, [("e", 1.0, True, None)]),
        (0.5, [("e", 0.5, None, None)]),
        ("good", [("e", 0.9, None, "good")]),
        ("unknown", [("e", None, None, "unknown")]),
        ({"score": 0.5, "key": "k"}, [("k", 0.5, None, None)]),
        ({"value": True, "reason": "r"}, [("e", 1.0, True, None)]),
        ({"polite": True, "length": 0.25}, [("polite", 1.0, True, None), ("length", 0.25, None, None)]),
        (Decimal("0.5"), [("e", 0.5, None, None)]),
        ([{"key": "a", "score": 1}, {"key": "b", "score": 0}], [("a", 1.0, None, None), ("b", 0.0, None, None)]),
        ({"results": [{"key": "a", "score": 1}]}, [("a", 1.0, None, None)]),
        (SimpleNamespace(key="o", score=0.5, comment="c"), [("o", 0.5, None, None)]),
    ],
)
def test_a_result_of_any_form_becomes_scores(result, expected):
    """
    A bool is a check, a number a score, a text a label; mappings, objects and lists have several.
    """
    found = scores(lambda run: result, name="e", labels={"good": 0.9})

    assert [(one.name, one.score, one.passed, one.label) for one in found] == expected


def test_numbers_on_another_scale_are_divided_by_their_maximum():
    """
    A score of 7 of 10 counts as 0.7; without a maximum it is kept as a value, and does not count.
    """
    scaled, unscaled = only(lambda run: 7, max_score=10), only(lambda run: 7)

    assert (scaled.score, scaled.value) == (0.7, 7)
    assert (unscaled.score, unscaled.value, unscaled.reason) == (None, 7, "7 is outside 0 to 1: give max_score")


@pytest.mark.parametrize("result", [None, {"score": None}])
def test_an_evaluator_without_an_answer_is_skipped(result):
    """
    None means that there was nothing to judge, as in autoevals.
    """
    assert only(lambda run: result).skipped


def raising(error):
    """Return an evaluator that raises *error*."""

    def evaluator(run):
        raise error

    return evaluator


def raising_later(error):
    """Return an async evaluator that raises *error* after it was suspended once."""

    async def evaluator(run):
        await asyncio.sleep(0)
        raise error

    return evaluator


@pytest.mark.parametrize(
    ("evaluator", "error"),
    [
        (lambda run: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda run: object(), "TypeError: an evaluator must return a bool, a number, a text or a score"),
        (lambda run: float("nan"), "the evaluator returned nan"),
        (lambda run: b"1", "TypeError: an evaluator must return a bool, a number, a text or a score"),
        (lambda run: pytest.fail("not polite"), "Failed: not polite"),
        (lambda run: pytest.skip("no answer"), "Skipped: no answer"),
        (raising(asyncio.CancelledError("by a library")), "CancelledError: by a library"),
        (raising(GeneratorExit("early")), "GeneratorExit: early"),
        (raising(SystemExit(4)), "SystemExit: 4"),
        (raising_later(pytest.fail.Exception("not polite")), "Failed: not polite"),
        (raising_later(asyncio.CancelledError("by a library")), "CancelledError: by a library"),
        (raising_later(SystemExit(4)), "SystemExit: 4"),
    ],
)
def test_an_evaluator_that_fails_is_not_a_failure_of_the_run(evaluator, error):
    """
    Its exception is in the score, which does not count.
    """
    found = only(evaluator)

    assert found.score is None
    assert found.error.startswith(error)


@pytest.mark.parametrize("make", [raising, raising_later])
def test_ctrl_c_in_an_evaluator_ends_the_evaluation(make):
    """
    It is not an error of the evaluator that happens to run.
    """
    with pytest.raises(KeyboardInterrupt):
        only(make(KeyboardInterrupt()))


def test_a_cancelled_evaluation_is_not_an_error_of_its_evaluator():
    """
    The cancellation of the task goes on.
    """

    async def endless(run):
        await asyncio.sleep(60)

    async def main(limit):
        task = asyncio.ensure_future(evaluator_of(endless).scores(RUN, limit))
        await asyncio.sleep(0.01)
        task.cancel()
        await task

    with TimeLimit(60) as limit, pytest.raises(asyncio.CancelledError):
        asyncio.run(main(limit))


def test_an_evaluator_with_an_unknown_parameter_is_refused():
    """
    The message names the parameter and what is available.
    """
    with pytest.raises(TypeError, match="has the parameters temperature, which no run has a value for"):
        evaluator_of(lambda output, temperature: True, "warm")
    with pytest.raises(TypeError, match="an evaluator must be a function"):
        evaluator_of(3)


def test_a_class_is_instantiated():
    """
    A class whose objects can be called is an evaluator too.
    """
    assert only(Callable).label == "polite"


def test_pydantic_evals_evaluators_work_as_they_are():
    """
    Built-in and own evaluators, with scores, checks, labels, reasons and several results.
    """
    evaluators = pytest.importorskip("pydantic_evals.evaluators", reason="pydantic-evals is not installed")

    @dataclass
    class Checks(evaluators.Evaluator):
        async def evaluate(self, ctx):
            return {
                "same": ctx.output == ctx.expected_output,
                "quick": evaluators.EvaluationReason(0.5, f"took {ctx.duration} s"),
                "kind": "city",
            }

    assert only(evaluators.EqualsExpected()).passed
    assert only(evaluators.Contains(value="Paris")).passed is False
    same, quick, kind = scores(Checks())
    assert (same.passed, quick.score, quick.reason, kind.label) == (True, 0.5, "took 1.5 s", "city")


def test_autoevals_scorers_work_as_they_are():
    """
    Objects and classes, synchronous inside.
    """
    package = pytest.importorskip("autoevals", reason="autoevals is not installed")

    assert only(package.ExactMatch()).score == 1
    assert only(package.Levenshtein, run_of(output="Rome", expected="Roma")).score == 0.75
    assert only(package.NumericDiff(), run_of(output=10, expected=10)).name == "NumericDiff"


def test_openevals_functions_work_as_they_are():
    """
    The exact match, synchronous and asynchronous.
    """
    exact = pytest.importorskip("openevals.exact", reason="openevals is not installed")

    assert only(exact.exact_match).passed
    assert only(exact.exact_match_async, run_of(output="a", expected="b")).passed is False


@pytest.mark.parametrize(("mode", "tool", "passed"), [("strict", "search", True), ("strict", "book", False)])
def test_agentevals_receive_the_trajectory_as_messages(mode, tool, passed):
    """
    The input, the calls of tools and the answer are the messages; the reference is the expected of the input.
    """
    match = pytest.importorskip("agentevals.trajectory.match", reason="agentevals is not installed")
    reference = [
        {"role": "user", "content": "Where?"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {"id": "1", "type": "function", "function": {"name": tool, "arguments": '{"query": "Rome"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "1", "content": "found"},
        {"role": "assistant", "content": "Rome"},
    ]
    run = tool_run(("search", {"query": "Rome"}), input="Where?", output="Rome", expected=reference)
    evaluator = match.create_trajectory_match_evaluator(trajectory_match_mode=mode)

    assert only(evaluator, run).passed is passed


def test_deepeval_metrics_work_as_they_are(monkeypatch):
    """
    A metric that needs no model; each run has a copy of it, since it keeps its last result.
    """
    monkeypatch.setenv("DEEPEVAL_TELEMETRY_OPT_OUT", "1")
    metrics = pytest.importorskip("deepeval.metrics", reason="deepeval is not installed")
    run = run_of(input="Where?", output="Rome", expected="Rome")

    assert only(metrics.ExactMatchMetric(), run).passed
    assert only(metrics.ExactMatchMetric(), run_of(input="Where?", output="Rome", expected="Oslo")).passed is False
