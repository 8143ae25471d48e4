"""
Lines of a file back into records, whatever has happened to the file.

A line that was cut off by a killed process or a full disk is left out; a whole record that stands behind such a
piece on the same line is found.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

_BEGINNING = re.compile(rb'\{"(?:id":"[^"]*","trace_id|trace_id)":"')
"""How each record we write begins, be it an observation or a trace."""


def decoded(line: bytes) -> list[dict[str, Any]]:
    """Return the records on *line*: one, as a rule; none if it is torn or foreign; two where a newline was cut off."""
    record = _object(line)
    if record is not None:
        return [record]
    for beginning in _BEGINNING.finditer(line, 1):
        start = beginning.start()
        record = _object(line[start:])
        if record is not None:
            return [found for found in (_object(line[:start]), record) if found is not None]
    return []


def _object(text: bytes) -> dict[str, Any] | None:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None
