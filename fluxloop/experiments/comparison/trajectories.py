"""
Compare what two runs did: their trees as lines, and the lines that one has and the other lacks.
"""

from __future__ import annotations

from difflib import SequenceMatcher
from typing import NamedTuple

from ...reading.json_text import escaped
from ...reading.values import first_words
from ..run_data import Run

MOST_STEPS = 400
"""Steps of a run that are compared."""

CONTEXT = 2
"""Equal lines that are shown around each difference."""

LONGEST_VALUE = 80
"""Characters of the arguments of a tool that a line shows."""


class Step(NamedTuple):
    """A line of a tree."""

    key: tuple[int, str, str, bool, str]
    """Depth, type, name, whether it succeeded, and the arguments of a tool: two steps with the same key are equal."""
    text: str


class DiffLine(NamedTuple):
    """A line of a difference: ``-`` only before, ``+`` only after, a space for both, ``…`` for equal lines left out."""

    sign: str
    text: str


def outline(run: Run) -> list[Step]:
    """Return the steps of *run*, parents before children."""
    steps: list[Step] = []
    for depth, record in run.tree:
        if len(steps) == MOST_STEPS:
            break
        kind, name = str(record.get("type", "")), escaped(str(record.get("name", "")))
        succeeded = record.get("status") == "success"
        arguments = first_words(record.get("input"), LONGEST_VALUE) if kind == "TOOL" else ""
        text = f"{'  ' * min(depth, 40)}{kind} {name}"
        if arguments:
            text += f" {arguments}"
        if not succeeded:
            text += f" [{record.get('status') or 'running'}: {first_words(record.get('error') or '', LONGEST_VALUE)}]"
        # The runner's root is named after the experiment and the iteration, which is not a difference.
        compared = "" if depth == 0 and kind == "SPAN" else name
        steps.append(Step((depth, kind, compared, succeeded, arguments), text))
    return steps


def tree_diff(before: list[Step], after: list[Step]) -> list[DiffLine]:
    """Return the difference of two outlines, with `CONTEXT` equal lines around each change; empty if they are equal."""
    matcher = SequenceMatcher(None, [step.key for step in before], [step.key for step in after], autojunk=False)
    lines: list[DiffLine] = []
    groups = [*matcher.get_grouped_opcodes(CONTEXT)]
    position = 0
    for group in groups:
        if skipped := group[0][1] - position:
            lines.append(DiffLine("…", f"{skipped} equal step{'' if skipped == 1 else 's'}"))
        for tag, first, first_end, second, second_end in group:
            if tag == "equal":
                lines += [DiffLine(" ", step.text) for step in before[first:first_end]]
                continue
            lines += [DiffLine("-", step.text) for step in before[first:first_end]]
            lines += [DiffLine("+", step.text) for step in after[second:second_end]]
        position = group[-1][2]
    if groups and (skipped := len(before) - position):
        lines.append(DiffLine("…", f"{skipped} equal step{'' if skipped == 1 else 's'}"))
    return lines
