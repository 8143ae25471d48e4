"""
Sequences of three characters, by which the indexes of texts find what may contain a text.
"""

from __future__ import annotations

from ...reading.catalog.text import searched_text
from ...storage.decoding import decode

MAX_INDEXED = 16_384
"""Characters of a record that are indexed; a record with more is always a candidate."""

LONG = "\ue001\ue002\ue003"
"""Is added to the indexed text of a record with more than `MAX_INDEXED` characters."""

_MOST = 32
"""Sequences of a text that are looked up; they make candidates, so more of them gain little."""


def sequences_of(text: str) -> list[str]:
    """Return sequences that every record with *text* has; none for a text that is too short."""
    wanted = text.casefold()
    starts = [*range(0, len(wanted) - 2, 3), max(0, len(wanted) - 3)]  # each character once
    return list(dict.fromkeys(part for at in starts if len(part := wanted[at : at + 3]) == 3))[:_MOST]


def indexed_text(line: bytes) -> str:
    """Return the text of a record's line that is indexed."""
    try:
        text = searched_text(decode(line))
    except ValueError:
        return ""
    text = text.replace("\0", " ")
    return text if len(text) <= MAX_INDEXED else f"{text[:MAX_INDEXED]}\n{LONG}"
