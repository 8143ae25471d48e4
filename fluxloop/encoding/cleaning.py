"""
The careful way to JSON: one walk over a value that leaves it JSON-safe and short enough.

Taken by the values orjson refuses or that are too long as they are. Nothing is consumed, containers are copied
before they are walked, and each node catches its own failure, so that a bad attribute costs that attribute.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Any, Protocol, TypeAlias

import orjson

from ..interruptions import was_raised_from_outside
from .converters import converter_for
from .dumps import AS_IT_IS, dumps
from .introspection import MASK, Opened, Shortened, left_out, name_of, snapshot

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"
"""What `json.loads` can return, without NaN and the infinities."""


class Redacting(Protocol):
    """What finds secrets, see `fluxloop.redaction`."""

    def suspects(self, encoded: bytes) -> bool:
        """Return False where *encoded* JSON certainly holds nothing to mask. Fast, as every value passes here."""

    def redact(self, value: JSON) -> tuple[JSON, int]:
        """Return a masked copy of *value*, of the same shape, and how many places were masked."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of one captured value is kept."""

    leaf_bytes: int = 65_536
    """UTF-8 bytes of one string; a longer one keeps its beginning."""
    value_bytes: int = 1_048_576
    """Bytes of JSON; of a longer value the first items are kept, and each field of a dict gets its share."""
    depth: int = 100
    """Containers inside each other. Data that needs no cleaning may go to the 254 levels orjson takes."""
    objects: int = 500
    """Objects of unknown classes that are opened: a client with its connection pool has an end."""
    object_depth: int = 4
    """Such objects inside each other."""


class Cleaning:
    """
    One walk, with what it has left to spend.

    `left` counts bytes of JSON; a container that finds it used up leaves out the rest of its items, and says so.
    """

    __slots__ = (
        "_finishing",
        "_limits",
        "_objects",
        "_opened",
        "_path",
        "_redactor",
        "_short",
        "left",
        "redacted",
        "truncated",
    )

    def __init__(self, limits: Limits, budget: int, redactor: Redacting, *, finishing: bool) -> None:
        self._limits = limits
        self._finishing = finishing
        self._redactor = redactor
        self._short = min(limits.leaf_bytes, SHORT)
        self._path: set[int] = set()
        self._objects = limits.objects
        self._opened = 0
        self.left = budget
        self.redacted = 0
        self.truncated = 0

    def clean(self, value: Any) -> JSON:
        """Return *value* as JSON-safe data, taking what it needs from `left`."""
        kind = type(value)
        if kind is str:
            return self._text(value)
        if value is None or kind is bool:
            self.left -= 6
            return value  # type: ignore[no-any-return]
        if kind is int:
            return self._integer(value)
        if kind is float:
            self.left -= 20
            return value if isfinite(value) else None
        return self._node(value, kind)

    def _node(self, value: Any, kind: type) -> JSON:
        me = id(value)
        if me in self._path:
            return self._text(f"<circular: {name_of(kind)}>")
        if len(self._path) >= self._limits.depth:
            return self._cut_off(f"<nested too deep: {name_of(kind)}>")
        self._path.add(me)
        opened = self._opened
        try:
            if kind is dict:
                return self._fields(value)
            if kind is list or kind is tuple:
                return self._items(value)
            return self._converted(value, kind)
        except Exception as error:  # of user code, or of a stack that is nearly full
            if was_raised_from_outside(error):
                raise
            return self._text(f"<{name_of(kind)}: unreadable, {name_of(type(error))}>")
        finally:
            self._opened = opened
            self._path.discard(me)

    def _converted(self, value: Any, kind: type) -> JSON:
        made = converter_for(kind)(value)
        if type(made) is Opened:
            if self._opened >= self._limits.object_depth or self._objects <= 0:
                return self._cut_off(f"<{name_of(kind)}>")
            self._opened += 1
            self._objects -= 1
            made = {"__class__": name_of(kind), **made.attributes}
        elif type(made) is Shortened:
            self.truncated += 1
            made = made.value
        elif made is MASK:
            self.redacted += 1
        if type(made) is dict:
            return self._encoded(made) or self._fields(made)
        if type(made) is list or type(made) is tuple:
            return self._items(made)
        return self.clean(made)

    def _encoded(self, made: dict[Any, Any]) -> Any:
        """Return the fields of an object as finished JSON, if JSON can say them and they are short; else None."""
        if not self._finishing:
            return None
        try:
            encoded = dumps(made, None, AS_IT_IS)
        except Exception as exc:  # JSON cannot say them all
            if was_raised_from_outside(exc):
                raise
            return None
        if len(encoded) > min(self.left, self._limits.leaf_bytes):
            return None
        self.left -= len(encoded)
        return orjson.Fragment(encoded)

    def _items(self, value: list[Any] | tuple[Any, ...]) -> JSON:
        kept: list[JSON] = []
        total = len(value)
        for item in value[: max(self.left, 0) + 1]:
            if self.left <= 0:
                break
            if type(item) is str and len(item) <= self._short and item.isascii():  # most items, without two calls
                self.left -= len(item) + 3
                kept.append(item)
            else:
                kept.append(self.clean(item))
        missing = total - len(kept)
        if missing > 0:
            kept.append(self._cut_off(left_out(missing, total)))
        return kept

    def _fields(self, value: dict[Any, Any]) -> JSON:
        most = max(self.left, 0) + 1
        # A copy, since other threads may change the original while we walk.
        items = value.copy().items() if len(value) < most else snapshot(value.items, most)
        missing = total = max(len(value), len(items))
        kept: dict[str, JSON] = {}
        for key, item in items:
            if self.left <= 0:
                break
            missing -= 1
            if type(key) is str and len(key) <= self._short and key.isascii() and key not in kept:
                self.left -= len(key) + 4
                name = key
            else:
                name = self._key(key, kept)
            if type(item) is str and len(item) <= self._short and item.isascii():
                self.left -= len(item) + 3
                kept[name] = item
                continue
            # A quarter stays for the fields behind this one, so that a long history leaves room for the question.
            reserve = self.left >> 2 if missing else 0
            self.left -= reserve
            kept[name] = self.clean(item)
            self.left += reserve
        if missing > 0:
            kept[_unused("…", kept)] = self._cut_off(left_out(missing, total, "fields"))
        return kept

    def _key(self, key: Any, taken: dict[str, JSON]) -> str:
        """Keys that are no strings get the text JSON has for their value, as in ``"1"``, ``"null"``, ``"[1,2]"``."""
        if type(key) is not str:
            name = self.clean(key)
            key = name if isinstance(name, str) else orjson.dumps(name).decode()
        name = self._text(key, KEY_BYTES)
        return _unused(name, taken) if name in taken else name

    def _integer(self, value: int) -> JSON:
        bits = value.bit_length()
        self.left -= bits // 3 + 3
        if -(2**63) <= value < 2**64:
            return value
        return str(value) if bits <= MOST_BITS else self._cut_off(f"<int of {bits:,} bits>")

    def _cut_off(self, marker: str) -> str:
        """Return *marker*, which stands for something left out because of the limits."""
        self.truncated += 1
        self.left -= len(marker) + 5
        return marker

    def _text(self, text: str, most: int | None = None) -> str:
        most = self._limits.leaf_bytes if most is None else most
        if text.isascii():
            size = len(text)
        elif len(text) > most:
            size = sum(len(text[at : at + SLICE].encode(errors="surrogatepass")) for at in range(0, len(text), SLICE))
        else:
            text = mended(text)
            size = len(text.encode())
        if size > most or size > self.left + MARKER_BYTES:
            return self._shortened(text, size, min(most, max(self.left, 0)))
        self.left -= size + 3
        return text

    def _shortened(self, text: str, size: int, keep: int) -> str:
        """
        Return the first *keep* bytes of *text*, and a marker.

        Secrets are masked before the cut, as half a secret looks like none. For the same reason the end of
        what was searched is never kept.
        """
        if text[:5].lower() == "data:":  # half an image shows nothing, so its header and first bytes will do
            keep = min(keep, text.find(",", 0, 256) + 1 + HEADER_BYTES)
        searched = mended(text[: keep + MARGIN_CHARS])
        head = _first_bytes(searched, keep)
        masked, count = self._redactor.redact(searched)
        if count and isinstance(masked, str):
            self.redacted += count
            behind = len(searched) - len(head)
            head = _first_bytes(masked[: max(len(masked) - behind, 0)], keep)
        kept = len(head.encode())
        self.left -= kept
        return head + self._cut_off(f"…[truncated: {kept:,} of {size:,} bytes kept]")


SHORT = 256
"""Characters of ASCII text that is kept without asking whether it fits: the limit of a value is far above."""
KEY_BYTES = 1_024
"""A longer key of a dict is cut like any string."""
MARKER_BYTES = 64
"""A string that is too long by less than its marker is kept whole."""
HEADER_BYTES = 64
"""Payload kept of a ``data:`` URL that is too long."""
MARGIN_CHARS = 16_384
"""Searched for secrets beyond the cut; longer than any key or certificate."""
SLICE = 65_536
"""Characters encoded at a time to find how long a long text is, so that no copy of it is made."""
MOST_BITS = 10_000
"""Longer integers are not written out: Python itself stops at 4,300 digits, for what they cost."""


def mended(text: str) -> str:
    """Return *text* as UTF-8 can hold it: surrogate pairs joined, lone ones replaced by U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _first_bytes(text: str, count: int) -> str:
    """Return the longest beginning of *text* that has at most *count* bytes in UTF-8."""
    return text[:count].encode()[:count].decode(errors="ignore")


def _unused(name: str, taken: dict[str, JSON]) -> str:
    """Return *name*, numbered if need be, so that it is not among *taken*."""
    number = len(taken) + 1
    while name in taken:
        name, number = f"{name} ({number})", number + 1
    return name
