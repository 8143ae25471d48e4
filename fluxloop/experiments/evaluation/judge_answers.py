"""
Read the score and the reason in the answer of a judge.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import orjson


class Answer(NamedTuple):
    """What a judge answered."""

    score: float
    """From 0 to 1."""
    passed: bool | None
    value: float | None
    """The number in the answer."""
    reason: str


def first_number(text: str, max_score: float) -> Answer | None:
    """Read the first number from 0 to *max_score*, and what follows ``reason:``; a ``7/10`` is seven of ten."""
    for match in _NUMBER.finditer(text):
        value = float(match[1])
        if 0 <= value <= max_score:
            return Answer(value / max_score, None, value, _reason(text))
    return None


def json_object(text: str, max_score: float) -> Answer | None:
    """Read a JSON object with ``score`` and ``reason``, also within a fenced block or other text."""
    start, end = text.find("{"), text.rfind("}")
    try:
        data: Any = orjson.loads(text[start : end + 1]) if 0 <= start < end else None
    except orjson.JSONDecodeError:
        return None
    if not isinstance(data, dict):
        return None
    value = data.get("score")
    reason = str(data.get("reason") or data.get("comment") or data.get("explanation") or "")
    if isinstance(value, bool):
        return Answer(float(value), value, None, reason)
    if isinstance(value, int | float) and 0 <= value <= max_score:
        return Answer(value / max_score, None, float(value), reason)
    return None


def pass_fail(text: str, max_score: float) -> Answer | None:
    """Read the first PASS, PARTIAL or FAIL; yes and no are accepted too."""
    match = _WORD.search(text)
    if match is None:
        return None
    score = _WORDS[match[1].lower()]
    return Answer(score, score == 1.0, None, _reason(text))


PARSERS: Mapping[str, Callable[[str, float], Answer | None]] = {
    "first_number_1_10": first_number,
    "first_number": first_number,
    "json": json_object,
    "pass_fail": pass_fail,
}
"""How an answer is read, by the name in the configuration."""

_NUMBER = re.compile(r"(?<![\w.-])(\d+(?:\.\d+)?)(?![\w]|\.\d)")
_REASON = re.compile(r"reason(?:ing)?\s*:\s*(.+)", re.IGNORECASE | re.DOTALL)
_WORDS = {"pass": 1.0, "passed": 1.0, "yes": 1.0, "partial": 0.5, "fail": 0.0, "failed": 0.0, "no": 0.0}
_WORD = re.compile(rf"\b({'|'.join(_WORDS)})\b", re.IGNORECASE)

MAX_REASON = 1_000
"""Characters of a reason that are kept."""


def _reason(text: str) -> str:
    match = _REASON.search(text)
    return (match[1] if match else text).strip()[:MAX_REASON]
