"""
Measure and shorten long texts, in time that does not depend on their length.

Text keeps its beginning. Of a file that is encoded in a text, such as an image in a message to a model, half shows
nothing, so `kept_bytes` reduces it to its header.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Any

SHORT = 256
"""Characters of ASCII text that is kept without a check whether it fits: the limit of a value is far above."""
SLICE = 65_536
"""Characters of a long text that are examined, or encoded, at a time."""
COUNTED_CHARS = 1_048_576
"""Characters whose bytes are counted; beyond them the size of a text is extrapolated."""
HEADER_BYTES = 64
"""Payload kept of a ``data:`` URL, or of base64, that is too long."""
DISTINCT_CHARS = 48
"""Distinct characters in base64 of a compressed file, at least; base64 has 64."""

_BASE64 = re.compile(r"[A-Za-z0-9+/_\-\r\n]+=*").fullmatch
_FILE_FIELDS = frozenset({"base64", "b64_json", "file_data", "bytes", "partial_image_b64", "screenshot"})
"""Fields that contain a file as base64, in every provider's messages."""
_DATA_FIELDS = frozenset({"data", "result", "content", "image", "audio", "blob"})
"""Fields that contain a file as base64 if one of `_MEDIA_FIELDS` is beside them."""
_MEDIA_FIELDS = frozenset({"media_type", "mime_type", "mimeType", "format", "output_format", "source_type"})


def valid_utf8(text: str) -> str:
    """Return *text* as UTF-8 can represent it: surrogate pairs joined, lone ones replaced by U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def first_bytes(text: str, count: int) -> str:
    """Return the longest beginning of *text* that has at most *count* bytes in UTF-8."""
    return text[:count].encode()[:count].decode(errors="ignore")


def byte_length(text: str, chars: int) -> tuple[int, bool]:
    """Return how many bytes a text of *chars* characters that begins with *text* has in UTF-8, and whether exactly."""
    if text.isascii():
        return chars, len(text) == chars
    counted = text[:COUNTED_CHARS]
    starts = range(0, len(counted), SLICE)  # in slices, so that no second copy of it is made
    size = sum(len(counted[at : at + SLICE].encode(errors="surrogatepass")) for at in starts)
    return (size, True) if len(counted) == chars else (size * chars // len(counted), False)


def kept_bytes(text: str, limit: int, is_file: bool) -> int:
    """Return how many bytes to keep of *text*, which is longer than *limit*; *is_file* as from `is_file_field`."""
    if text[:5].lower() == "data:":
        return min(limit, text.find(",", 0, 256) + 1 + HEADER_BYTES)
    return min(limit, HEADER_BYTES) if _is_base64(text[:SLICE], is_file) else limit


def is_media(names: Iterable[Any]) -> bool:
    """Return whether the fields *names* are those of a part of a message that contains a file."""
    return any(type(name) is str and name in _MEDIA_FIELDS for name in names)


def is_file_field(name: str, is_in_media: bool) -> bool:
    """Return whether the field *name* contains a file; *is_in_media* as `is_media` says it of the fields beside it."""
    return name in _FILE_FIELDS or (is_in_media and name in _DATA_FIELDS)


def _is_base64(text: str, is_file: bool) -> bool:
    if _BASE64(text) is None:
        return False
    return is_file or (
        len(set(text)) >= DISTINCT_CHARS
        and any(map(str.isdigit, text))
        and any(map(str.isupper, text))
        and any(map(str.islower, text))
    )


def unused_name(name: str, taken: Collection[str]) -> str:
    """Return *name*, numbered if it is among *taken*."""
    number = len(taken) + 1
    while name in taken:
        name, number = f"{name} ({number})", number + 1
    return name
