"""
The labels of an index by number, each read when it is first needed.
"""

from __future__ import annotations

import sqlite3

import orjson

from .facts import MOST_KNOWN, Label


class Labels(dict[int, Label]):
    """The labels by number."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._models: dict[frozenset[int], str] = {}

    def __missing__(self, number: int) -> Label:
        (text,) = self._connection.execute("SELECT label FROM labels WHERE number = ?", (number,)).fetchone()
        if len(self) >= MOST_KNOWN:
            self.clear()
        label = self[number] = Label.of(*orjson.loads(text))
        return label

    def models(self, numbers: frozenset[int]) -> str:
        """Return the models of these labels as a JSON list in order; computed once for each set of labels."""
        try:
            return self._models[numbers]
        except KeyError:
            models = sorted({model for number in numbers if (model := self[number].model)})
        if len(self._models) >= MOST_KNOWN_SETS:
            self._models.clear()
        text = self._models[numbers] = orjson.dumps(models).decode()
        return text


MOST_KNOWN_SETS = 1_000
"""Sets of labels whose models are kept in memory; a set may be as large as a trace."""
