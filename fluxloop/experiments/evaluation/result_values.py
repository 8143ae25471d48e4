"""
Read what an evaluator returned as scores.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from math import isfinite
from numbers import Real
from typing import Any

from .scores import Score

_VALUES = ("score", "value")
_NAMES = ("key", "name")
_REASONS = ("comment", "reason", "rationale", "explanation")


def scores_of(result: Any, name: str, max_score: float = 1.0, labels: Mapping[str, float] | None = None) -> list[Score]:
    """
    Return *result*, what the evaluator *name* returned, as scores.

    Args:
        result: A bool, a number, a text, a mapping or an object with ``score`` or ``value``, or several of them as a
            list or as a mapping by name. None means that there was nothing to judge.
        name: The name of a result that has none.
        max_score: The number that counts as 1.0.
        labels: The scores of labels.

    Raises:
        TypeError: If *result* is none of these.
    """
    if result is None:
        return [Score(name, skipped=True, reason="the evaluator returned None")]
    if isinstance(result, bool | str | Real | Decimal) or _is_numpy(result):
        return [_scalar(result, name, max_score, labels or {})]
    if isinstance(result, Sequence) and not isinstance(result, Score | bytes | bytearray | memoryview | range):
        return [score for one in result for score in scores_of(one, name, max_score, labels)]
    read: Callable[[str], Any] = result.get if isinstance(result, Mapping) else partial(_attribute, result)
    if isinstance(several := read("results"), list):
        return scores_of(several, name, max_score, labels)
    if any(_has(result, key) for key in _VALUES):
        return [_fields(read, name, max_score, labels or {})]
    if isinstance(result, Mapping) and result:
        return [score for key, one in result.items() for score in scores_of(one, str(key), max_score, labels)]
    raise TypeError(f"an evaluator must return a bool, a number, a text or a score, got {result!r:.80}")


def _fields(read: Any, name: str, max_score: float, labels: Mapping[str, float]) -> Score:
    value = next((found for key in _VALUES if (found := read(key)) is not None), None)
    own_name = next((str(found) for key in _NAMES if (found := read(key))), name)
    reason = next((str(found) for key in _REASONS if (found := read(key))), "")
    metadata = read("metadata")
    if not reason and isinstance(metadata, Mapping) and metadata.get("rationale"):
        reason = str(metadata["rationale"])  # autoevals
    if value is None:
        return Score(own_name, skipped=True, reason=reason or "the evaluator returned no score")
    score = _scalar(value, own_name, max_score, labels)
    passed = read("passed")
    return score._replace(reason=reason or score.reason, passed=passed if isinstance(passed, bool) else score.passed)


def _scalar(value: Any, name: str, max_score: float, labels: Mapping[str, float]) -> Score:
    if isinstance(value, bool) or type(value).__name__ in ("bool_", "bool"):
        return Score(name, float(bool(value)), bool(value))
    if isinstance(value, str):
        return Score(name, labels.get(value), label=value)
    if isinstance(value, Mapping | Sequence):
        return Score(name, label=str(value))
    number = float(value)
    if not isfinite(number):
        return Score(name, error=f"the evaluator returned {number}")
    score = number / max_score
    if 0 <= score <= 1:
        return Score(name, score, value=None if max_score == 1 else number)
    return Score(name, value=number, reason=f"{number:g} is outside 0 to {max_score:g}: give max_score")


def _attribute(result: Any, key: str) -> Any:
    return getattr(result, key, None)


def _has(result: Any, key: str) -> bool:
    return key in result if isinstance(result, Mapping) else hasattr(result, key)


def _is_numpy(value: Any) -> bool:
    return type(value).__module__ == "numpy" and getattr(value, "shape", None) == ()
