"""
Encode values as JSON text that is safe to print.

The result is always strict JSON on one line, at any depth: characters that act on a terminal or reorder text are
written as ``\\uXXXX``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import orjson


def encode(value: Any) -> str:
    """Return *value* as strict JSON on one line; a value that JSON cannot represent becomes null or text."""
    try:
        text = orjson.dumps(value, default=str).decode()
    except TypeError:  # a number beyond 64 bits, or deeper than orjson goes
        text = "".join(pieces(value))
    return escaped(text)


def pieces(value: Any, *, comma: str = ",", colon: str = ":") -> Iterator[str]:
    """Yield the JSON text of *value* in pieces, without recursion, so that its depth does not matter."""
    pending: list[tuple[Iterator[tuple[str, Any]], str, int]] = []
    open_ids: set[int] = set()
    entries: Iterator[tuple[str, Any]] = iter([("", value)])
    end, own_id = "", 0
    while True:
        for label, item in entries:
            yield label
            if not isinstance(item, dict | list | tuple):
                yield _scalar(item)
            elif id(item) in open_ids:
                yield '"<circular>"'
            else:
                pending.append((entries, end, own_id))
                own_id = id(item)
                open_ids.add(own_id)
                entries, end = _entries(item, comma, colon), "}" if isinstance(item, dict) else "]"
                yield "{" if isinstance(item, dict) else "["
                break
        else:
            yield end
            if not pending:
                return
            open_ids.discard(own_id)
            entries, end, own_id = pending.pop()


def _entries(container: Any, comma: str, colon: str) -> Iterator[tuple[str, Any]]:
    """Yield the items of *container*, each with the text before it."""
    before = ""
    for item in container:
        if isinstance(container, dict):
            yield f"{before}{_scalar(str(item))}{colon}", container[item]
        else:
            yield before, item
        before = comma


def _scalar(value: Any) -> str:
    if isinstance(value, float) and value - value != 0:  # NaN and the infinities become null, as orjson does
        return "null"
    return json.dumps(value, ensure_ascii=False, default=str)


def escaped(text: str) -> str:
    """Return *text* with every character that acts on a terminal or reorders text written as ``\\uXXXX``."""
    if text.isprintable():  # quicker; none of these characters is printable
        return text
    return _ACTIVE.sub(lambda sign: f"\\u{ord(sign[0]):04x}", text)


_ACTIVE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
"""Control characters, line separators, marks that set the direction of text, and lone surrogates."""


def in_ascii(text: str) -> str:
    """Return JSON *text* with every other character written as ``\\uXXXX``, for an output that cannot hold it."""
    return _NOT_ASCII.sub(lambda match: json.dumps(match[0])[1:-1], text)


_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
