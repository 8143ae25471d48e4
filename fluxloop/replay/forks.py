"""
Forks: a replay in which one recorded step is changed, and the run continues from there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from ..answering import UNCHANGED, Answer, Change, Question, as_recorded
from ..enums import ObservationType, Status
from ..errors import ReplayError
from ..models import ObservationData
from ..tracing.recorder import NOTHING
from .recording import Place

Rest = Literal["live", "recorded", "offline"]
"""How the calls after a fork are answered; see `fluxloop.replay.replay`."""

_OUTCOME_DETAILS = frozenset({"replay", "stream", "traceback", "error_type", "status_code", "response_id"})
"""Metadata of the recorded outcome, which a given output replaces."""

LISTED = 10
"""Steps that an error message lists."""


@dataclass(slots=True)
class Fork:
    """
    The step at which a replay changes one thing.

    Args:
        at: The recorded step.
        trace_id: The trace that has it.
        output: The outcome that the step gets; `NOTHING` to run it.
        change: The input or the model with which the step runs.
        rest: How the calls after it are answered.
    """

    at: Place
    trace_id: str
    output: Any = NOTHING
    change: Change | None = None
    rest: Rest = "live"
    is_reached: bool = False
    _before: set[int] = field(default_factory=set)
    _around: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        root = self.at
        while root.parent is not None:
            root = root.parent
            self._around.add(id(root))
        started = _order(self.at)
        self._before = {id(place) for place in root.walk() if _order(place) < started and id(place) not in self._around}

    def precedes(self, place: Place) -> bool:
        """Whether *place* was recorded before the fork, so that its answer is served."""
        return id(place) in self._before

    def is_inside(self, place: Place) -> bool:
        """Whether the fork is inside the call of *place*, which therefore runs."""
        return id(place) in self._around

    @property
    def changed(self) -> str:
        """What the fork changes: output, input, model, or nothing, if the step only runs again."""
        if self.output is not NOTHING:
            return "output"
        if self.change is not None:
            return "input" if self.change.has_input else "model"
        return "nothing"

    def changed_input(self, recorded: Any) -> Any:
        """Return the input of the step: a mapping changes members of the *recorded* one."""
        given = self.change.input if self.change is not None else recorded
        return {**recorded, **given} if isinstance(given, dict) and isinstance(recorded, dict) else given

    def origin(self) -> dict[str, Any]:
        """Return what the resulting trace records about the fork."""
        step = self.at.observation
        return {
            "trace_id": self.trace_id,
            "observation_id": step.id,
            "step": f"{step.type.name} {step.name}",
            "changed": self.changed,
        }

    def answer(self, question: Question) -> Answer:
        """Return the given output as the answer of *question*."""
        recorded: ObservationData = self.at.observation
        metadata = {name: item for name, item in recorded.metadata.items() if name not in _OUTCOME_DETAILS}
        if shape := (recorded.metadata.get("replay") or {}).get("shape"):  # what kind of object the function returns
            metadata["replay"] = {"shape": shape}
        output = None if isinstance(self.output, BaseException) else as_recorded(self.output, question.parent)
        fields = {"output": output, "error": None, "status": Status.SUCCESS, "metadata": metadata, "usage": None}
        return Answer(recorded.model_copy(update={**fields, "finish_reasons": None}), given=self.output)


def _order(place: Place) -> Any:
    recorded = place.observation
    return str(recorded.start_time or ""), recorded.seq if recorded.seq is not None else -1


def check_rest(rest: str) -> Rest:
    """
    Return *rest*.

    Raises:
        ReplayError: If it is none of the choices.
    """
    choices = get_args(Rest)
    if rest not in choices:
        raise ReplayError(f"rest must be one of {', '.join(choices)}, got {rest!r:.100}")
    return rest  # type: ignore[return-value]


def check_change(fork_at: str | None, output: Any, given: Any, model: Any) -> Change | None:
    """
    Return what a fork changes in the call that runs; None if it gives the output, or changes nothing.

    Raises:
        ReplayError: If more than one thing is changed, or something without a fork.
    """
    changed = [name for name, is_set in _changes(output, given, model) if is_set]
    if fork_at is None and changed:
        raise ReplayError(f"{changed[0]}= changes the step of a fork: name the step with fork_at=")
    if len(changed) > 1:
        raise ReplayError(f"a fork changes one thing, got {' and '.join(changed)}: give one of them")
    if given is NOTHING and model is None:
        return None
    return Change(UNCHANGED if given is NOTHING else given, model)


def _changes(output: Any, given: Any, model: Any) -> list[tuple[str, bool]]:
    return [("output", output is not NOTHING), ("input", given is not NOTHING), ("model", model is not None)]


def place_at(root: Place, step: str) -> tuple[Place, str]:
    """
    Return the recorded call whose id begins or ends with *step*, and the id of its trace.

    Raises:
        ReplayError: If no call has this id, or several do; the message lists the steps that can be forked.
    """
    ids = [(place, place.observation.id) for place in root.walk()] if step else []
    found = [place for place, own_id in ids if own_id.startswith(step) or own_id.endswith(step)]
    exact = [place for place in found if place.observation.id == step]
    found = exact or found
    if len(found) == 1 and found[0].is_answer():
        return found[0], str(found[0].observation.trace_id)
    steps = [place for place in root.walk() if place.is_answer()]
    if len(found) == 1:
        one = found[0].observation
        problem = f"{one.type.name} {one.name!r} cannot be forked, because the program's own code runs in it"
    elif found:
        problem = f"{len(found)} recorded steps have an id that begins or ends with {step!r}: give the whole id"
        steps = found
    else:
        problem = f"no recorded step has the id {step!r}"
    raise ReplayError(f"fork_at: {problem}. {_listing(steps)}")


def _listing(steps: list[Place]) -> str:
    if not steps:
        return "The recording has no model call, tool call, retrieval or embedding"
    shown = [f"  {place.observation.id}  {place.observation.type.name} {place.observation.name}" for place in steps]
    more = [f"  … {len(steps) - LISTED} more"] if len(steps) > LISTED else []
    return "\n".join(["Steps that can be forked:", *shown[:LISTED], *more])


def model_steps(root: Place) -> list[Place]:
    """Return the recorded model calls that a run makes again, in the order of their start."""
    from .recording import is_expected

    found = [place for place in root.walk() if place.observation.type is ObservationType.GENERATION]
    return sorted(filter(is_expected, found), key=_order)
