"""
Clean a value for orjson: one walk that makes it JSON-safe and short enough.

The walk is for values that orjson refuses, or that are too long. It consumes nothing, copies containers before it
reads them, and replaces what cannot be read by a tagged string, so that a bad attribute costs that attribute only.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

import orjson

from ..interruptions import was_raised_from_outside
from .converters import converted_together, converter_for
from .histories import History, instructions, is_history
from .introspection import MASK, MAX_ITEMS, FirstFields, FirstItems, Opened, Shortened, first_fields, left_out, name_of
from .limits import FIELD_BYTES, INTEGER_BITS, JSON, KEY_BYTES, MARGIN_CHARS, MARKER_BYTES, Limits, Redacting
from .long_text import SHORT, byte_length, first_bytes, is_file_field, is_media, kept_bytes, unused_name, valid_utf8
from .plain_json import CHUNK, OPTIONS, dumps, dumps_with_dates, has_short_texts, is_large


class Cleaning:
    """
    One walk over a value, and how many bytes of JSON are left for it.

    A container that finds `left` used up leaves out the rest of its items and adds a marker: the walk reads no more of
    a value than it keeps.
    """

    __slots__ = ("_limits", "_objects", "_opened", "_path", "_redactor", "_short", "left", "redacted", "truncated")

    def __init__(self, limits: Limits, budget: int, redactor: Redacting) -> None:
        self._limits = limits
        self._redactor = redactor
        self._short = min(limits.leaf_bytes, SHORT)
        self._path: set[int] = set()
        self._objects = limits.objects
        self._opened = 0
        self.left = budget
        self.redacted = 0
        self.truncated = 0

    def clean(self, value: Any) -> Any:
        """Return *value* as data that orjson accepts, and reduce `left` by its size."""
        kind = type(value)
        if kind is str:
            return self._text(value)
        if value is None or kind is bool:
            self.left -= 6
            return value
        if kind is int:
            return self._integer(value)
        if kind is float:
            self.left -= 20
            return value if isfinite(value) else None
        return self._node(value, kind)

    def _node(self, value: Any, kind: type) -> Any:
        me = id(value)
        if me in self._path:
            return self._text(f"<circular: {name_of(kind)}>")
        if len(self._path) >= self._limits.depth:
            return self._cut_off(f"<nested too deep: {name_of(kind)}>")
        self._path.add(me)
        opened = self._opened
        try:
            if kind is dict:
                return self._fields(first_fields(value, max(self.left, 0) // FIELD_BYTES + 1))
            if kind is list or kind is tuple:
                return self._items(value, len(value))
            return self._newest(value, value.total) if kind is History else self._converted(value, kind)
        except Exception as error:  # of the value's own code, or RecursionError
            if was_raised_from_outside(error):
                raise
            return self._text(f"<{name_of(kind)}: unreadable, {name_of(type(error))}>")
        finally:
            self._opened = opened
            self._path.discard(me)

    def _converted(self, value: Any, kind: type) -> Any:
        made = converter_for(kind)(value)
        if type(made) is FirstItems:
            first, total = made
            return self._text(first, chars=total) if isinstance(first, str) else self._items(first, total)
        if type(made) is FirstFields:
            return self._fields(made)
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
            encoded = self._encoded(made)
            return orjson.Fragment(encoded) if encoded else self._fields(first_fields(made, MAX_ITEMS))
        return self._items(made, len(made)) if type(made) is list or type(made) is tuple else self.clean(made)

    def _encoded(self, made: Any) -> bytes | None:
        """Return *made* as JSON; None if it is not plain data, empty if it or a string in it may be too long."""
        limit = min(self.left, self._limits.leaf_bytes)
        if is_large(made, limit):
            return b""
        try:
            encoded = dumps(made, None, OPTIONS)
        except Exception as exc:  # not plain data
            if was_raised_from_outside(exc):
                raise
            dated = dumps_with_dates(made)
            if dated is None:
                return None
            encoded = dated
        if len(encoded) > limit:
            return b""
        self.left -= len(encoded) + 1
        return encoded

    def _items(self, value: list[Any] | tuple[Any, ...], total: int) -> list[Any]:
        """Return the first items that fit; of messages, the instructions and the newest."""
        messages = value if total == len(value) and is_history(value) else None
        if messages and is_large(messages, self.left):
            return self._newest(messages, total)
        before = self._state()
        value = value[: max(self.left, 0) // 2 + 1]  # a copy: other threads and converters may change the original
        kept, done = self._that_fit(value)
        if done < total and messages:
            self._restore(before)
            return self._newest(messages, total)
        return [*kept, self._cut_off(left_out(total - done, total))] if done < total else kept

    def _newest(self, messages: list[Any] | tuple[Any, ...] | History, total: int) -> list[Any]:
        """Return the instructions at the start of *messages* and the newest that fit whole, a marker between them."""
        first = instructions(messages)
        before, half = self._state(), self.left >> 1  # stays for the newest, unless all fit without it
        kept = [self.clean(one) for one in first]
        if self.left < half:
            newest, done = self._last_that_fit(messages, len(first), total)
            if len(first) + done == total and self.left >= 0:
                return [*kept, *reversed(newest)]
            self._restore(before)
            self.left -= half
            kept = [self.clean(one) for one in first]
            self.left = max(self.left, 0) + half
        self._cut_off(left_out(total, total))  # counts the marker, whose number is known at the end
        newest, done = self._last_that_fit(messages, len(first), total)
        if (missing := total - len(first) - done) > 0:
            kept.append(left_out(missing, total))
        else:
            self.truncated -= 1
        return [*kept, *reversed(newest)]

    def _last_that_fit(
        self, messages: list[Any] | tuple[Any, ...] | History, start: int, total: int
    ) -> tuple[list[Any], int]:
        """Return the messages after *start* that fit, the last one first, and their number."""
        if not isinstance(messages, History):
            rest = messages[max(start, total - max(self.left, 0) // 2 - 1) : total]
            return self._that_fit(rest, backwards=True)
        kept: list[Any] = []
        done = 0
        for encoded, begin, end in messages.newest_first(start):
            if encoded and len(encoded) < self.left and has_short_texts(encoded, self._limits.leaf_bytes):
                self.left -= len(encoded) + 1
                kept.append(orjson.Fragment(encoded))
                done += end - begin
                continue
            more, number = self._that_fit(messages.read(begin, end), backwards=True, is_first=not done)
            kept += more
            done += number
            if number < end - begin or self.left <= 0:
                break
        return kept, done

    def _that_fit(
        self, value: list[Any] | tuple[Any, ...], *, backwards: bool = False, is_first: bool = True
    ) -> tuple[list[Any], int]:
        """
        Return the first items that fit, and their number. Several items of plain data are one fragment of JSON.

        With *backwards*, they are the last, in reverse, and each is kept whole or not at all, unless it *is_first*.
        """
        kept: list[Any] = []
        done, at_once, size, are_alike = 0, CHUNK, len(value), not backwards
        while self.left > 0 and done < size:
            start, end = (max(size - done - at_once, 0), size - done) if backwards else (done, done + at_once)
            items = value[start:end]
            encoded = self._encoded(items) if len(items) > 1 else None
            if encoded:
                kept.append(orjson.Fragment(encoded[1:-1]))
                done += len(items)
                at_once = min(at_once * 4, CHUNK)
            elif encoded is not None:  # too long
                at_once = len(items) // 4 + 1
            else:
                one = items[-1 if backwards else 0]
                before = self._state()
                kept.append(self.clean(one))
                if backwards and (done or not is_first) and self.left < 0:
                    kept.pop()
                    self._restore(before)
                    break
                done += 1
                at_once = 4 if kept[-1] is one or done % 16 == 0 else 1  # seldom is only one item not plain
                if are_alike and type(kept[-1]) is orjson.Fragment:
                    number, are_alike = self._that_are_alike(value, done, before[0] - self.left, kept)
                    done += number
        return kept, done

    def _that_are_alike(self, value: Sequence[Any], start: int, size: int, kept: list[Any]) -> tuple[int, bool]:
        """
        Add the objects after *start* that are of the class of the one before, and plain data once converted.

        Returns their number, and whether later ones may be too. *size* is the number of bytes of the one before.
        """
        kind, done, at_once = type(value[start - 1]), start, 1
        # No more are converted than there is room for if they are up to twice as long as those before them.
        while (at_once := min(at_once * 4, CHUNK, min(self.left, self._limits.leaf_bytes) // size // 2)) > 1:
            made = converted_together(kind, value[done : done + at_once])
            encoded = self._encoded(made) if made else None
            if made is None or not encoded:
                return done - start, made == []
            self.left += 2  # without the brackets, as if each had been encoded by itself
            kept.append(orjson.Fragment(encoded[1:-1]))
            done, size = done + len(made), len(encoded) // len(made) + 1
        return done - start, True

    def _state(self) -> tuple[int, int, int, int]:
        return self.left, self.redacted, self.truncated, self._objects

    def _restore(self, state: tuple[int, int, int, int]) -> None:
        self.left, self.redacted, self.truncated, self._objects = state

    def _fields(self, fields: FirstFields) -> Any:
        encoded = self._many_fields(*fields) if fields.total > CHUNK else None
        return orjson.Fragment(encoded) if encoded else self._each_field(*fields)

    def _each_field(self, keys: list[Any], items: list[Any], total: int) -> dict[str, Any]:
        media = is_media(keys)
        missing = total
        kept: dict[str, Any] = {}
        for key, item in zip(keys, items, strict=True):
            if self.left <= 0:
                break
            missing -= 1
            if type(key) is str and len(key) <= self._short and key.isascii() and key not in kept:
                self.left -= len(key) + 4
                name = key
            else:
                name = self._key(key, kept)
            if type(item) is str:
                if len(item) <= self._short and item.isascii():
                    self.left -= len(item) + 3
                    kept[name] = item
                    continue
                is_file = is_file_field(name, media)
            # A quarter stays for the fields after this one, so that a long history leaves room for the question.
            reserve = self.left >> 2 if missing else 0
            self.left -= reserve
            kept[name] = self._text(item, is_file=is_file) if type(item) is str else self.clean(item)
            self.left += reserve
        if missing > 0:
            kept[unused_name("…", kept)] = self._cut_off(left_out(missing, total, "fields"))
        return kept

    def _many_fields(self, keys: list[Any], items: list[Any], total: int) -> bytes | None:
        """Return the first fields that fit as JSON, if all of them are plain data and short; else None."""
        before, parts, done, at_once = self.left, [], 0, CHUNK
        while done < len(keys) and at_once > 1:
            names = keys[done : done + at_once]
            if any(type(key) is not str for key in names):
                break
            encoded = self._encoded(dict(zip(names, items[done : done + at_once], strict=True)))
            if encoded:
                parts.append(encoded[1:-1])
                done += len(names)
            elif encoded is None:
                break
            else:
                at_once = len(names) // 4
        if done < len(keys) and self.left > before // 8:
            self.left = before
            return None
        if done < total:
            marker = self._cut_off(left_out(total - done, total, "fields"))
            parts.append(orjson.dumps({"…": marker})[1:-1])
        return b"{" + b",".join(parts) + b"}"

    def _key(self, key: Any, taken: dict[str, Any]) -> str:
        """Return the text of a *key*, as JSON has it for the key's value: ``"1"``, ``"null"``, ``"[1,2]"``."""
        if type(key) is not str:
            reserve = max(self.left - KEY_BYTES, 0)
            self.left -= reserve
            name = self.clean(key)
            self.left += reserve
            key = name if isinstance(name, str) else orjson.dumps(name).decode()
        name = self._text(key, KEY_BYTES)
        return unused_name(name, taken) if name in taken else name

    def _integer(self, value: int) -> JSON:
        bits = value.bit_length()
        self.left -= bits // 3 + 3
        if -(2**63) <= value < 2**64:
            return value
        return str(value) if bits <= INTEGER_BITS else self._cut_off(f"<int of {bits:,} bits>")

    def _cut_off(self, marker: str) -> str:
        """Return *marker*, which represents something left out because of the limits."""
        self.truncated += 1
        self.left -= len(marker) + 5
        return marker

    def _text(self, text: str, limit: int | None = None, *, chars: int | None = None, is_file: bool = False) -> str:
        """Return *text*, shortened if it is longer than *limit*; *chars* if it is the beginning of a longer one."""
        limit = self._limits.leaf_bytes if limit is None else limit
        if len(text) <= limit and not text.isascii():
            text = valid_utf8(text)
        size, is_exact = byte_length(text, len(text) if chars is None else chars)
        if chars is not None or size > limit or size > self.left + MARKER_BYTES:
            keep = kept_bytes(text, min(limit, max(self.left, 0)), is_file)
            return self._shortened(text, f"{size:,}" if is_exact else f"about {size:,}", keep)
        self.left -= size + 3
        return text

    def _shortened(self, text: str, size: str, keep: int) -> str:
        """
        Return the first *keep* bytes of *text*, and a marker.

        Secrets are masked before the text is cut, as half a secret looks like none. For the same reason the end of
        the searched part is never kept.
        """
        searched = valid_utf8(text[: keep + MARGIN_CHARS])
        head = first_bytes(searched, keep)
        masked, count = self._redactor.redact(searched)
        if count and isinstance(masked, str):
            self.redacted += count
            behind = len(searched) - len(head)
            head = first_bytes(masked[: max(len(masked) - behind, 0)], keep)
        kept = len(head.encode())
        self.left -= kept
        return head + self._cut_off(f"…[truncated: {kept:,} of {size} bytes kept]")
