"""
The rule on the whole trajectory: the tools a run called, against a reference.

The modes are those of agentevals.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from ...run_data import Run, ToolCall
from ..scores import NotApplicable, Verdict
from .tools import matches
from .values import value_at

Step = tuple[str, Any]
"""The name of a tool, and its arguments or None where any are accepted."""


def trajectory(
    run: Run,
    *,
    expected: Sequence[Any] | str | None = None,
    expected_path: str = "metadata.trajectory",
    mode: Literal["strict", "unordered", "subset", "superset"] = "strict",
    arguments: Literal["ignore", "match"] = "ignore",
) -> Verdict:
    """
    The calls of tools match a reference.

    Args:
        run: The run.
        expected: The reference: names of tools, or mappings with ``tool`` and ``arguments``.
        expected_path: Where the reference is in the run, if it is not given here.
        mode: ``strict``: the same calls in the same order; ``unordered``: the same calls; ``subset``: no call that the
            reference lacks; ``superset``: every call of the reference, and possibly more.
        arguments: ``ignore``, or ``match``: the arguments in the reference must be among those of the call.
    """
    reference = value_at(run, expected_path) if expected is None else expected
    if reference is None:
        raise NotApplicable(f"the input has no value at {expected_path}")
    steps = [_step(one) for one in ([reference] if isinstance(reference, str) else reference)]

    def is_same(call: ToolCall, step: Step) -> bool:
        return call.name == step[0] and (arguments == "ignore" or step[1] is None or matches(call.arguments, step[1]))

    return MODES[mode](run.tools, steps, is_same)


IsSame = Callable[[ToolCall, Step], bool]


def _strict(calls: list[ToolCall], steps: list[Step], is_same: IsSame) -> Verdict:
    for number, (call, step) in enumerate(zip(calls, steps, strict=False), start=1):
        if not is_same(call, step):
            return _verdict(number - 1, len(steps), f"step {number} is {call.name}, expected {_shown(step)}")
    if len(calls) != len(steps):
        missing, extra = steps[len(calls) :], calls[len(steps) :]
        text = f"lacks {_shown(missing[0])}" if missing else f"has {extra[0].name} after the expected end"
        return _verdict(min(len(calls), len(steps)), max(len(calls), len(steps)), text)
    return Verdict(1.0, True, "the same calls in the same order")


def _unordered(calls: list[ToolCall], steps: list[Step], is_same: IsSame) -> Verdict:
    missing, extra = unmatched(calls, steps, is_same)
    if not missing and not extra:
        return Verdict(1.0, True, "the same calls")
    total = len(steps) + len(extra)
    return _verdict(len(steps) - len(missing), total, _difference(missing, extra))


def _subset(calls: list[ToolCall], steps: list[Step], is_same: IsSame) -> Verdict:
    _, extra = unmatched(calls, steps, is_same)
    if not extra:
        return Verdict(1.0, True, "no call that the reference lacks")
    return _verdict(len(calls) - len(extra), len(calls), _difference([], extra))


def _superset(calls: list[ToolCall], steps: list[Step], is_same: IsSame) -> Verdict:
    missing, _ = unmatched(calls, steps, is_same)
    if not missing:
        return Verdict(1.0, True, "every call of the reference")
    return _verdict(len(steps) - len(missing), len(steps), _difference(missing, []))


MODES: Mapping[str, Callable[[list[ToolCall], list[Step], IsSame], Verdict]] = {
    "strict": _strict,
    "unordered": _unordered,
    "subset": _subset,
    "superset": _superset,
}


def unmatched(calls: list[ToolCall], steps: list[Step], is_same: IsSame) -> tuple[list[Step], list[ToolCall]]:
    """
    Pair calls with steps, as many as possible; return the steps and the calls that are left over.

    A step that accepts any arguments could take the call that another step needs, so pairs are found by augmenting
    paths (Kuhn's algorithm) and not in order.
    """
    call_of_step: dict[int, int] = {}
    step_of_call: dict[int, int] = {}

    def place(step: int) -> None:
        """Pair *step*, moving steps that are paired already to other calls where needed."""
        reached_from: dict[int, int] = {}
        pending = deque([step])
        while pending:
            current = pending.popleft()
            for number, call in enumerate(calls):
                if number in reached_from or not is_same(call, steps[current]):
                    continue
                reached_from[number] = current
                if number not in step_of_call:
                    reassign(number, reached_from, step)
                    return
                pending.append(step_of_call[number])

    def reassign(number: int, reached_from: dict[int, int], first: int) -> None:
        while True:
            step = reached_from[number]
            previous = call_of_step.get(step, -1)
            call_of_step[step], step_of_call[number] = number, step
            if step == first:
                return
            number = previous

    for step in range(len(steps)):
        place(step)
    missing = [step for number, step in enumerate(steps) if number not in call_of_step]
    return missing, [call for number, call in enumerate(calls) if number not in step_of_call]


def _step(given: Any) -> Step:
    if isinstance(given, str):
        return given, None
    if isinstance(given, Mapping) and isinstance(name := given.get("tool", given.get("name")), str):
        return name, given.get("arguments", given.get("args"))
    raise ValueError(f"a step must be the name of a tool, or a mapping with tool and arguments, got {given!r:.60}")


def _verdict(done: int, total: int, reason: str) -> Verdict:
    return Verdict(done / total if total else 0.0, False, reason)


def _difference(missing: list[Step], extra: list[ToolCall]) -> str:
    parts = [f"lacks {', '.join(map(_shown, missing))}"] if missing else []
    parts += [f"has {', '.join(call.name for call in extra)} besides"] if extra else []
    return "; ".join(parts)


def _shown(step: Step) -> str:
    return step[0] if step[1] is None else f"{step[0]}({step[1]})"
