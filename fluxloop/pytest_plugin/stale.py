"""
Golden outlines and cassettes whose tests are gone.

They are looked for beside the files of tests that a session collected. An outline can be written again at no cost, so
``--fluxloop-update`` removes stale ones; a cassette may have cost money, so it is only reported.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..replay import cassettes
from . import outlines
from .names import file_name, test_name

STALE = pytest.StashKey[list[str]]()
"""The stale files, in the configuration of a session."""


class Collected:
    """The tests of a session, by the file that they are in, also those that are not selected."""

    def __init__(self) -> None:
        self._names: dict[Path, set[str]] = {}
        self._cassettes: set[Path] = set()

    def add(self, item: pytest.Item, cassette: Path) -> None:
        """Add a test, with the path of the cassette that it would have."""
        self._names.setdefault(item.path, set()).add(file_name(test_name(item)))
        self._cassettes.add(cassette)

    def stale(self) -> Iterator[Path]:
        """Yield the outlines and the cassettes that belong to no test."""
        for path, names in sorted(self._names.items()):
            for golden in sorted((path.parent / outlines.FOLDER / path.stem).glob("*.txt")):
                if golden.stem not in names and re.sub(r"-\d+$", "", golden.stem) not in names:
                    yield golden
            for cassette in sorted((path.parent / cassettes.FOLDER / path.stem).glob("*.jsonl")):
                if cassette not in self._cassettes:
                    yield cassette


def stale_lines(config: pytest.Config, of_workers: list[str], *, remove: bool) -> Iterator[str]:
    """Yield a line per stale file, found in this process or by workers; *remove* the outlines among them."""
    for path in of_workers or config.stash.get(STALE, []):
        if path.endswith(".jsonl"):
            yield f"stale cassette {path}: its test is gone; delete it, or give it the new name of the test"
        elif remove:
            Path(path).unlink(missing_ok=True)
            yield f"removed stale outline {path}"
        else:
            yield f"stale outline {path}: its test is gone; --fluxloop-update removes it"
