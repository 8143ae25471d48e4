"""
Outlines: the tree of a trace as text, and golden outlines in files that a test compares with.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable
from pathlib import Path

from .models import ObservationData, Status, Trace


def outline(trace: Trace, *, inputs: bool = False, outputs: bool = True, normalize: Callable[[str], str] = str) -> str:
    """
    Return *trace* as text, with one line per observation and children indented by two spaces.

    A line has the form ``TYPE name -> output``. A status other than success follows the name in brackets, with the
    first line of the error. Values are cut at 60 characters.

    Args:
        trace: A trace from `fluxloop.read_traces` or `Captured.traces`.
        inputs: Whether to show inputs, in parentheses after the name.
        outputs: Whether to show outputs.
        normalize: Applied to the text of each value before it is cut.
    """

    def shown(value: object) -> str:
        return _cut(normalize(repr(value)))

    return "\n".join("  " * depth + _line(one, inputs, outputs, shown) for depth, one in trace.walk())


def _line(observation: ObservationData, inputs: bool, outputs: bool, shown: Callable[[object], str]) -> str:
    line = f"{observation.type.name} {_printable(observation.name)}"
    if inputs and observation.input is not None:
        line += f"({shown(observation.input)})"
    if observation.status is not Status.SUCCESS:
        status = observation.status.value if observation.status else "running"
        line += f" [{status}: {_first_line(observation.error)}]" if observation.error else f" [{status}]"
    if outputs and observation.output is not None:
        line += f" -> {shown(observation.output)}"
    return line


def _first_line(text: str) -> str:
    first, *more = text.splitlines() or [text]
    return _printable(f"{first} …" if more else first)


def _printable(text: str) -> str:
    """Return *text* with what is not printable, such as the codes of terminals, in the spelling of Python."""
    return text if text.isprintable() else repr(text)[1:-1]


def _cut(text: str) -> str:
    return text if len(text) <= 60 else text[:59] + "…"


_VOLATILE = [
    (re.compile(r"\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b"), "<id>"),
    (re.compile(r"\b(call|run|msg|resp|chatcmpl|fc|toolu|lc_run)[-_]+[0-9A-Za-z-]{8,}"), r"<\1 id>"),
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)?"), "<time>"),
    (re.compile(r"\b0x[0-9a-f]{6,}\b"), "<address>"),
]
"""What differs between two equal runs, and what an outline has instead."""


def normalized(text: str) -> str:
    """Return *text* with ids, times and addresses replaced by names: two equal runs have the same text."""
    for pattern, replacement in _VOLATILE:
        text = pattern.sub(replacement, text)
    return text


class OutlineFile:
    """
    The outline of a trace in a file, equal to a trace with the same outline; see `fluxloop.testing.outline`.

    Ids, times and addresses are replaced. In a failed assertion, its ``repr`` has the difference.

    Args:
        path: The file.
        inputs: Whether inputs are compared.
        outputs: Whether outputs are compared.
        update: Whether a comparison writes the file, instead of comparing. None writes it if the environment variable
            ``FLUXLOOP_UPDATE`` is set.
    """

    how_to_update = "FLUXLOOP_UPDATE=1"
    """What writes the file, in messages."""

    def __init__(
        self, path: str | os.PathLike[str], *, inputs: bool = False, outputs: bool = True, update: bool | None = None
    ) -> None:
        self.path = Path(path)
        self._inputs, self._outputs = inputs, outputs
        self._update = bool(os.environ.get("FLUXLOOP_UPDATE")) if update is None else update
        self.difference: list[str] = []
        """Of the last comparison: a line with the problem, and a unified diff; empty if it was equal."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Trace):
            return NotImplemented
        found = normalized(outline(other, inputs=self._inputs, outputs=self._outputs, normalize=normalized))
        return self._compare(self.path, found)

    __hash__ = None  # type: ignore[assignment]

    def require_equal(self, trace: Trace) -> None:
        """Raise an `AssertionError` with the difference unless *trace* is equal. (`unittest` cuts a ``repr``.)"""
        __tracebackhide__ = True
        if trace != self:
            raise AssertionError("\n".join(self.difference))

    def _compare(self, path: Path, found: str) -> bool:
        self.difference = []
        if self._update:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(found + "\n", encoding="utf-8")
            return True
        try:
            golden = path.read_text(encoding="utf-8").removesuffix("\n")
        except FileNotFoundError:
            self.difference = [
                f"golden outline not found: {path}; {self.how_to_update} writes it",
                *found.splitlines(),
            ]
            return False
        if found != golden:
            lines = difflib.unified_diff(golden.splitlines(), found.splitlines(), "expected", "recorded", lineterm="")
            self.difference = [
                f"the trace differs from {path}; if it is right, {self.how_to_update} rewrites it",
                *lines,
            ]
        return found == golden

    def __repr__(self) -> str:
        return "\n".join(self.difference) or f"{type(self).__name__}({str(self.path)!r})"
