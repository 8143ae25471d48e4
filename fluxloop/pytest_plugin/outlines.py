"""
Golden outlines: the tree of a trace as a text file beside the test.

``assert trace == outline_snapshot`` compares the outline with the file, without the ids and times in values.
``pytest --fluxloop-update`` writes the files.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from ..outlines import OutlineFile
from ..trajectory import Calls
from .names import file_name, test_name

FOLDER = "__outlines__"


class OutlineSnapshot(OutlineFile):
    """
    A golden outline; see the fixture ``outline_snapshot``. Each comparison of a test has a file of its own.

    Call it to choose what is compared: ``trace == outline_snapshot(inputs=True)``.
    """

    how_to_update = "pytest --fluxloop-update"

    def __init__(self, item: pytest.Item) -> None:
        base = item.path.parent / FOLDER / item.path.stem / file_name(test_name(item))
        super().__init__(base, update=bool(item.config.getoption("fluxloop_update")))
        self.used = 0
        """The comparisons so far."""

    def __call__(self, *, inputs: bool = False, outputs: bool = True) -> OutlineSnapshot:
        """Compare also the inputs, or not the outputs, from now on."""
        self._inputs, self._outputs = inputs, outputs
        return self

    def _compare(self, path: Path, found: str) -> bool:
        self.used += 1
        number = "" if self.used == 1 else f"-{self.used}"
        return super()._compare(path.with_name(f"{path.name}{number}.txt"), found)

    def __repr__(self) -> str:
        return f"outline_snapshot({self.path.name})"


def explain(left: object, right: object) -> list[str] | None:
    """Return what pytest shows for a trace that differs from its golden outline, and for calls; else None."""
    if isinstance(left, Calls) and not isinstance(right, OutlineFile):
        return [f"{left!r} == {right!r}", *(f"{call.name}: {call.error}" for call in left if call.error)]
    for snapshot in (left, right):
        if isinstance(snapshot, OutlineFile) and snapshot.difference:
            return snapshot.difference
    return None
