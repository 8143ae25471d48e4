"""
The labels of an index by number, each read when it is first needed, and what codes of observations add up to.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import orjson

from .facts import ERROR, MOST_KNOWN, Label, status_of_code


class Totals(NamedTuple):
    """What some observations add up to, according to their codes."""

    errors: int
    warnings: int
    models: str
    """In order, as a JSON list."""
    failed_tools: str
    """In the order of the observations, as a JSON list."""


class Labels(dict[int, Label]):
    """The labels by number."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._totals: dict[tuple[int, ...], Totals] = {}

    def __missing__(self, number: int) -> Label:
        (text,) = self._connection.execute("SELECT label FROM labels WHERE number = ?", (number,)).fetchone()
        if len(self) >= MOST_KNOWN:
            self.clear()
        label = self[number] = Label.of(*orjson.loads(text))
        return label

    def totals(self, codes: Sequence[int]) -> Totals:
        """Return what observations with these codes add up to; computed once for short traces that are alike."""
        if len(codes) > LONGEST_KNOWN:
            return self._added_up(codes)
        alike = tuple(codes)
        try:
            return self._totals[alike]
        except KeyError:
            if len(self._totals) >= MOST_KNOWN:
                self._totals.clear()
            totals = self._totals[alike] = self._added_up(codes)
            return totals

    def _added_up(self, codes: Sequence[int]) -> Totals:
        errors = warnings = 0
        failed_tools: dict[str, None] = {}
        models: set[str] = set()
        for code, count in Counter(codes).items():
            label = self[code >> 4]
            if label.model:
                models.add(label.model)
            if code & 1:
                warnings += count
            if status_of_code(code) == ERROR:
                errors += count
                if label.type == "TOOL":
                    failed_tools[label.name] = None
        return Totals(errors, warnings, orjson.dumps(sorted(models)).decode(), orjson.dumps([*failed_tools]).decode())


LONGEST_KNOWN = 30
"""Observations of a trace whose totals are kept in memory."""
