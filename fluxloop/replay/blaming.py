"""
Find the model calls that decide how a run ends: each is sampled again several times, and the outcomes are compared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..enums import ObservationType
from ..errors import ReplayError
from ..models import Trace
from .block import Replay, replay
from .entry import Entry, entry_of
from .forks import Rest, model_steps
from .matching import Match
from .recording import Place, tree_of

Check = Callable[[Trace], Any]
"""
Takes the trace of a run, and returns whether its outcome is right; None counts as true, an AssertionError as false.
"""

MODEL_CALLS = frozenset({ObservationType.GENERATION, ObservationType.EMBEDDING})


@dataclass(slots=True)
class BlamedStep:
    """A recorded model call, and how often the outcome flips if it is sampled again."""

    id: str
    number: int
    """Its position among the model calls of the trace, from 1."""
    name: str
    path: str
    """The names of the observations around it."""
    samples: int = 0
    """The runs whose outcome could be compared."""
    flips: int = 0
    """The runs with another outcome than the recorded one."""
    changed: int = 0
    """The runs in which the step had another output than the recorded one."""
    failures: list[str] = field(default_factory=list)
    """The messages of runs that did not reach the step, or ended without a trace."""

    @property
    def rate(self) -> float:
        """The share of runs with another outcome."""
        return self.flips / self.samples if self.samples else 0.0

    @property
    def interval(self) -> tuple[float, float] | None:
        """The Wilson interval of the rate, at 95 %; None without samples."""
        from ..experiments.evaluation.statistics import wilson

        return wilson(self.flips, self.samples)


@dataclass(slots=True)
class Blame:
    """The result of `blame`."""

    trace_id: str
    outcome: bool
    """What the check says about the recorded run."""
    steps: list[BlamedStep]
    """The model calls; those with the highest rate first."""
    spent: float = 0.0
    """The price of the model calls that ran for real, in dollars, as far as it is known."""
    is_complete: bool = True
    """False if the budget was used up before all samples were taken."""

    @property
    def has_found(self) -> bool:
        """Whether the outcome flipped in any run."""
        return any(step.flips for step in self.steps)


def blame(
    trace: Trace,
    check: Check,
    *,
    samples: int = 5,
    target: str | Callable[..., Any] | None = None,
    budget: float | None = None,
    rest: Rest = "recorded",
    match: Match = "strict",
    on_sample: Callable[[int, int], None] | None = None,
) -> Blame:
    """
    Fork *trace* at each model call, and rank the calls by how often the outcome of the run flips.

    A sample serves what was recorded before the step, runs the step for real, and continues as *rest* says. The samples
    of all steps are taken in turns, so that a budget that ends early leaves the steps comparable.

    Args:
        trace: The recorded trace.
        check: Takes a trace and returns whether its outcome is right; an AssertionError counts as false.
        samples: The runs per step.
        target: What to run: a function, or ``module:function``; by default the recorded entry point.
        budget: The most that the model calls may cost, in dollars; no more samples are taken once it is spent.
        rest: How the calls after the step are answered; see `fluxloop.replay.replay`.
        match: See `fluxloop.replay.replay`.
        on_sample: Is called after each sample with the number of samples taken and of all.

    Raises:
        ConfigError: If the target cannot be imported.
        ReplayError: If the trace has no model call, the entry point is not known, or the check fails with an error.
    """
    if samples < 1:
        raise ReplayError(f"samples must be at least 1, got {samples}")
    places = model_steps(tree_of([trace]))
    if not places:
        raise ReplayError(f"expected model calls to sample, but trace {trace.trace_id} has none: name another trace")
    entry = _entry(trace, target)
    steps = [_step(place, number) for number, place in enumerate(places, 1)]
    result = Blame(trace.trace_id, passes(check, trace), steps)
    taken = 0
    for _ in range(samples):
        for step, place in zip(list(steps), places, strict=True):
            if budget is not None and result.spent >= budget:
                result.is_complete = False
                break
            block = replay(trace, match=match, fork_at=step.id, rest=rest)
            _sample(entry, block, step, place, check, result)
            taken += 1
            if on_sample is not None:
                on_sample(taken, samples * len(steps))
    result.steps = sorted(steps, key=lambda step: (-step.rate, -step.flips, step.number))
    return result


def _entry(trace: Trace, target: str | Callable[..., Any] | None) -> Entry:
    if target is None or isinstance(target, str):
        return entry_of(trace, target)
    root = next(iter(trace.roots))
    return Entry(getattr(target, "__qualname__", repr(target)), target, root.input, root.error)


def _step(place: Place, number: int) -> BlamedStep:
    recorded = place.observation
    around = place.parent.path() if place.parent is not None else ""
    return BlamedStep(recorded.id, number, recorded.name, around)


def _sample(entry: Entry, block: Replay, step: BlamedStep, place: Place, check: Check, result: Blame) -> None:
    """Run a fork, and count its outcome."""
    captured, error = entry.run(block)
    forked = next((trace for trace in captured.traces() if "forked_from" in trace.metadata), None)
    result.spent += _price(captured.traces(), block.session.live_ids)
    if forked is None or block.misses:
        step.failures.append((error or "the run did not reach the step").splitlines()[0])
        return
    step.samples += 1
    step.flips += passes(check, forked) is not result.outcome
    sampled = next((one for one in forked.observations if one.metadata.get("fork")), None)
    step.changed += sampled is None or sampled.output != place.observation.output


def _price(traces: list[Trace], live: set[str]) -> float:
    """Return the price of the model calls with these ids, as far as it is known."""
    spent = 0.0
    for trace in traces:
        ran = [one for one in trace.observations if one.type in MODEL_CALLS and one.id in live]
        cost = trace.model_copy(update={"observations": ran}).cost if ran else None
        spent += cost.dollars if cost is not None else 0.0
    return spent


def passes(check: Check, trace: Trace) -> bool:
    """
    Return whether *check* accepts *trace*.

    Raises:
        ReplayError: If it raises something else than an AssertionError.
    """
    try:
        found = check(trace)
    except AssertionError:
        return False
    except Exception as error:
        name = getattr(check, "__qualname__", repr(check))
        raise ReplayError(
            f"the check {name} raised {type(error).__name__}: {error}. It takes a fluxloop Trace, and returns "
            "whether the outcome is right"
        ) from error
    return found is None or bool(found)
