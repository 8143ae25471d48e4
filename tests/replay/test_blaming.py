"""
Blame: model calls are sampled again, and ranked by how often the outcome of the run flips.
"""

from __future__ import annotations

import itertools
from typing import Any

import pytest

import fluxloop
from fluxloop.errors import ReplayError
from fluxloop.models import Trace
from fluxloop.replay import blame
from fluxloop.testing import capture

plans = itertools.cycle([""])
words = itertools.cycle([""])


@fluxloop.prompt
def plan(question: str) -> str:
    return next(plans)


@fluxloop.prompt
def greet(question: str) -> str:
    return next(words)


@fluxloop.tool
def refund(order: str) -> str:
    return f"refunded {order}"


@fluxloop.agent
def support(question: str) -> str:
    hello = greet(question)
    if plan(question) == "refund":
        return f"{hello}, {refund('7')}"
    return f"{hello}, nothing to do"


def refunded(trace: Trace) -> bool:
    return "refunded" in str(trace.output)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Trace:
    """A run that did not refund; its models answer differently from now on."""
    use(monkeypatch, ["wait"], ["hi"])
    with capture() as captured:
        support("Where is my money?")
    use(monkeypatch, ["refund", "wait", "refund", "refund"], ["hi", "hello"])
    return captured.trace


def use(monkeypatch: pytest.MonkeyPatch, plan_answers: list[str], greet_answers: list[str]) -> None:
    monkeypatch.setitem(globals(), "plans", itertools.cycle(plan_answers))
    monkeypatch.setitem(globals(), "words", itertools.cycle(greet_answers))


def test_the_call_that_decides_is_first(recorded):
    """
    The plan flips the outcome in three of four runs; the greeting changes its answer, but never the outcome.
    """
    result = blame(recorded, refunded, samples=4, target=support)

    assert not result.outcome
    first, second = result.steps
    assert (first.name, first.flips, first.samples, first.changed) == ("plan", 3, 4, 3)
    assert (second.name, second.flips, second.samples, second.changed) == ("greet", 0, 4, 2)
    assert first.interval == pytest.approx((0.3006, 0.9544), abs=1e-3)
    assert result.has_found
    assert result.is_complete


def test_progress_is_reported_after_each_sample(recorded):
    """
    The numbers are the samples taken and all samples.
    """
    seen: list[tuple[int, int]] = []
    blame(recorded, refunded, samples=2, target=support, on_sample=lambda *numbers: seen.append(numbers))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_an_assertion_is_a_check_too(recorded):
    """
    A failed assert is a wrong outcome; a check that returns nothing accepts.
    """

    def check(trace: Trace) -> None:
        assert refunded(trace)

    assert blame(recorded, check, samples=1, target=support).steps[0].flips == 1


def test_a_budget_ends_the_sampling(recorded, monkeypatch):
    """
    The price of the calls that run counts; the steps have equally many samples, or one less.
    """
    monkeypatch.setattr("fluxloop.replay.blaming._price", lambda traces, live: 0.01 * len(live))
    result = blame(recorded, refunded, samples=50, target=support, budget=0.1)

    assert not result.is_complete
    assert result.spent == pytest.approx(0.1, abs=0.03)
    counts = sorted(step.samples for step in result.steps)
    assert counts[1] - counts[0] <= 1


def test_only_calls_that_ran_have_a_price(monkeypatch):
    """
    Answers from the recording cost nothing.
    """

    @fluxloop.prompt
    def priced(text: str) -> Any:
        return {"choices": [], "model": "gpt-4o", "usage": {"prompt_tokens": 1_000_000, "completion_tokens": 0}}

    @fluxloop.agent
    def run(text: str) -> None:
        priced(text)
        priced(text + "!")

    with capture() as captured:
        run("x")
    if captured.trace.cost is None or not captured.trace.cost.calls:
        pytest.skip("no prices are installed")
    result = blame(captured.trace, lambda trace: True, samples=1, target=run)
    assert result.spent == pytest.approx(captured.trace.cost.dollars)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": 0}, "samples must be at least 1"),
        ({}, "the entry point of trace .* is not recorded"),
        ({"target": support, "check": lambda trace: 1 / 0}, "raised ZeroDivisionError"),
    ],
)
def test_what_cannot_be_blamed_is_an_error(recorded, options, message):
    """
    The message says what is needed.
    """
    options = {"check": refunded, **options}
    with pytest.raises(ReplayError, match=message):
        blame(recorded, options.pop("check"), **options)


def test_a_program_that_no_longer_makes_the_call_does_not_count(recorded):
    """
    Runs that miss before the step are failures, not flips.
    """

    @fluxloop.agent
    def changed(question: str) -> str:
        return greet("something else")

    result = blame(recorded, refunded, samples=1, target=changed)

    assert [step.samples for step in result.steps] == [0, 0]
    assert "no recorded answer for GENERATION greet" in result.steps[0].failures[0]
    assert not result.has_found
