"""
Golden outlines: the tree of a trace as a text file beside the test.

``assert trace == outline_snapshot`` compares the outline with the file, without the ids and times in values.
``pytest --fluxloop-update`` writes the files.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Set
from pathlib import Path

import pytest

from ..models import Trace
from ..testing import outline
from ..trajectory import Calls
from .names import file_name, test_name

FOLDER = "__outlines__"
STALE = pytest.StashKey[list[str]]()
"""The outlines whose tests are gone, in the configuration of a session."""

_VOLATILE = [
    (re.compile(r"\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b"), "<id>"),
    (re.compile(r"\b(call|run|msg|resp|chatcmpl|fc|toolu|lc_run)[-_]+[0-9A-Za-z-]{8,}"), r"<\1 id>"),
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)?"), "<time>"),
    (re.compile(r"\b0x[0-9a-f]{6,}\b"), "<address>"),
]
"""What differs between two equal runs, and what an outline has instead."""


class OutlineSnapshot:
    """
    A golden outline; see the fixture ``outline_snapshot``. Each comparison of a test has a file of its own.

    Call it to choose what is compared: ``trace == outline_snapshot(inputs=True)``.
    """

    def __init__(self, base: Path, *, update: bool) -> None:
        self._base = base
        self._update = update
        self._inputs, self._outputs = False, True
        self._used = 0
        self.difference: list[str] = []

    @classmethod
    def of_test(cls, item: pytest.Item) -> OutlineSnapshot:
        """Return the snapshot of *item*."""
        base = item.path.parent / FOLDER / item.path.stem / file_name(test_name(item))
        return cls(base, update=bool(item.config.getoption("fluxloop_update")))

    def __call__(self, *, inputs: bool = False, outputs: bool = True) -> OutlineSnapshot:
        """Compare also the inputs, or not the outputs, from now on."""
        self._inputs, self._outputs = inputs, outputs
        return self

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Trace):
            return NotImplemented
        self._used += 1
        path = self._base.with_name(f"{self._base.name}{'' if self._used == 1 else f'-{self._used}'}.txt")
        shown = outline(other, inputs=self._inputs, outputs=self._outputs, normalize=normalized)
        found = normalized(shown)
        if self._update:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(found + "\n", encoding="utf-8")
            return True
        try:
            golden = path.read_text(encoding="utf-8").removesuffix("\n")
        except FileNotFoundError:
            self.difference = [f"there is no golden outline {path}; pytest --fluxloop-update writes it", *_lines(found)]
            return False
        self.difference = [
            f"the trace differs from {path}; if it is right, pytest --fluxloop-update rewrites it",
            *difflib.unified_diff(_lines(golden), _lines(found), "expected", "recorded", lineterm="", n=3),
        ]
        return found == golden

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"outline_snapshot({self._base.name})"


def normalized(text: str) -> str:
    """Return *text* with ids, times and addresses replaced."""
    for pattern, replacement in _VOLATILE:
        text = pattern.sub(replacement, text)
    return text


def explain(left: object, right: object) -> list[str] | None:
    """Return what pytest shows for a trace that differs from its golden outline, and for calls; else None."""
    if isinstance(left, Calls) and not isinstance(right, OutlineSnapshot):
        return [f"{left!r} == {right!r}", *(f"{call.name}: {call.error}" for call in left if call.error)]
    for snapshot in (left, right):
        if isinstance(snapshot, OutlineSnapshot) and snapshot.difference:
            return snapshot.difference
    return None


def stale(collected: Mapping[str, Set[str]]) -> Iterator[Path]:
    """Yield the outlines whose tests are gone, of the files in *collected*: the names of the tests by path."""
    for file, names in sorted(collected.items()):
        path = Path(file)
        known = {file_name(name) for name in names}
        for golden in sorted((path.parent / FOLDER / path.stem).glob("*.txt")):
            if golden.stem not in known and re.sub(r"-\d+$", "", golden.stem) not in known:
                yield golden


def stale_lines(config: pytest.Config, of_workers: list[str], *, remove: bool) -> Iterator[str]:
    """Yield a line per stale outline, found in this process or by workers, and remove the files if asked."""
    for path in of_workers or config.stash.get(STALE, []):
        if remove:
            Path(path).unlink(missing_ok=True)
            yield f"removed stale outline {path}"
        else:
            yield f"stale outline {path}: its test is gone; --fluxloop-update removes it"


def _lines(text: str) -> list[str]:
    return text.splitlines()
