"""
Compare the inputs of calls: as recorded, and with what changes from run to run replaced.

Ids, times and addresses in memory differ in every run. They are replaced by placeholders in a second form of an input,
which is used when no recorded call has exactly the same one.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable
from typing import Any

import orjson

from ..errors import ReplayError

Normalize = Callable[[Any], Any]

_VOLATILE = re.compile(
    r"(?P<uuid>[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}|\b[0-9a-f]{32}\b)"
    r"|(?P<time>\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?)"
    r"|(?P<address>\b0x[0-9a-f]{6,16}\b)"
)
_VOLATILE_KEYS = frozenset({"id", "run_id", "request_id", "created", "created_at", "timestamp"})
"""Members whose values differ in every run, if they are texts or numbers."""

DIFF_LINES = 12
"""Lines of a difference in a message."""


def exact_key(value: Any) -> bytes:
    """
    Return a form of *value* that equal inputs share.

    Raises:
        ReplayError: If *value* is not JSON, or is nested too deeply.
    """
    return _encoded(value, "an input")


def stable_key(value: Any, normalize: Normalize | None = None) -> bytes:
    """Return a form of *value* that inputs share which differ only in ids, times and the like."""
    what = "an input"
    if normalize is not None:
        value, what = normalize(value), "what normalize= returned"
    try:
        value = normalized(value)
    except RecursionError:
        raise _too_deep(what) from None
    return _encoded(value, what)


def _encoded(value: Any, what: str) -> bytes:
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS, default=str)
    except TypeError:  # large integers, lone surrogates and deep nesting, which files may have
        pass
    try:
        return json.dumps(value, sort_keys=True, default=str).encode()
    except RecursionError:
        raise _too_deep(what) from None
    except Exception as problem:
        raise ReplayError(f"{what} cannot be compared, because it is not JSON: {problem}") from None


def _too_deep(what: str) -> ReplayError:
    return ReplayError(f"{what} cannot be compared, because it is nested too deeply")


def normalized(value: Any) -> Any:
    """Return *value* without ids and times; in texts, they are replaced by their kind."""
    if type(value) is str:
        return _VOLATILE.sub(lambda found: f"<{found.lastgroup}>", value)
    if type(value) is float and value.is_integer():
        return int(value)
    if type(value) is list:
        return [normalized(item) for item in value]
    if type(value) is dict:
        return {key: normalized(item) for key, item in value.items() if not _is_volatile(key, item)}
    return value


_CUT = re.compile(r"…\[truncated: ([\d,]+) of (?:more than )?([\d,]+) (bytes kept|items left out|fields left out)\]$")
"""The end of a text that was cut, or an item or member of a list or mapping that was."""


def agree(one: Any, other: Any) -> bool:
    """Whether two inputs may be the same, where a part of one was cut when it was recorded: all that is left agrees."""
    if type(one) is not type(other):
        return False
    if type(one) is str:
        return one == other or _texts_agree(one, other) or _texts_agree(other, one)
    if type(one) is list:
        return _lists_agree(one, other) or _lists_agree(other, one)
    if type(one) is dict:
        return _mappings_agree(one, other) or _mappings_agree(other, one)
    return bool(one == other)


def _number(text: str) -> int:
    return int(text.replace(",", ""))


def _texts_agree(cut: str, whole: str) -> bool:
    found = _CUT.search(cut)
    if found is None:
        return False
    beginning = cut[: found.start()]
    if (also := _CUT.search(whole)) is not None:  # both were cut, perhaps with other limits
        shared = min(len(beginning), also.start())
        return found[2] == also[2] and beginning[:shared] == whole[:shared]
    return whole.startswith(beginning) and len(whole.encode()) == _number(found[2])


def _lists_agree(cut: list[Any], whole: list[Any]) -> bool:
    for at, item in enumerate(cut):
        found = _CUT.fullmatch(item) if isinstance(item, str) else None
        if found is not None and found[3] == "items left out":
            after = len(cut) - at - 1
            beside = [*whole[:at], *whole[len(whole) - after :]]
            kept = [*cut[:at], *cut[at + 1 :]]
            return len(whole) == _number(found[2]) and all(map(agree, kept, beside))
    return len(cut) == len(whole) and all(map(agree, cut, whole))


def _mappings_agree(cut: dict[str, Any], whole: dict[str, Any]) -> bool:
    found = _CUT.fullmatch(str(cut.get("…", "")))
    if found is None:
        return cut.keys() == whole.keys() and all(agree(item, whole[name]) for name, item in cut.items())
    kept = {name: item for name, item in cut.items() if name != "…"}
    is_inside = all(name in whole and agree(item, whole[name]) for name, item in kept.items())
    return is_inside and len(whole) == _number(found[2])


def _is_volatile(key: str, item: Any) -> bool:
    """Whether a member is an id, a time, or says no more than a missing one."""
    if item is None or item == [] or (key == "status" and item == "completed"):
        return True
    return key in _VOLATILE_KEYS and isinstance(item, str | int | float)


def difference(recorded: Any, asked: Any) -> list[str]:
    """Return the lines that differ between two inputs, those of *recorded* with ``-`` and of *asked* with ``+``."""
    before, after = _lines(recorded), _lines(asked)
    changed = [line for line in difflib.ndiff(before[:400], after[:400]) if line[:2] in ("- ", "+ ")]
    left_out = len(changed) - DIFF_LINES
    return [line[:200] for line in changed[:DIFF_LINES]] + ([f"… {left_out} more lines"] if left_out > 0 else [])


def _lines(value: Any) -> list[str]:
    return json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True, default=str).splitlines()


def similarity(one: bytes, other: bytes) -> float:
    """Return how similar two canonical inputs are, from 0 to 1."""
    if one == other:
        return 1.0
    return difflib.SequenceMatcher(None, one[:2_000], other[:2_000], autojunk=False).quick_ratio()


def shown(value: Any, limit: int = 100) -> str:
    """Return *value* as one line."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= limit else text[: limit - 1] + "…"
