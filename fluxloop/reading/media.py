"""
Describe a file in a recorded message, such as an image: its type, its size or its address, never its content.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

MAX_ADDRESS = 120
"""Characters of an address or a name that are shown."""


def file_note(block: dict[str, Any]) -> str:
    """Return type, size, address and name in *block*, as ``image/png, 12 kB``; empty if it has none of them."""
    facts = dict(_facts_in(block, depth=0))
    return ", ".join(facts[name][:MAX_ADDRESS] for name in ("type", "size", "address", "name") if facts.get(name))


def _facts_in(block: dict[str, Any], depth: int) -> Iterator[tuple[str, str]]:
    for key, value in block.items():
        if isinstance(value, dict) and depth < MAX_DEPTH:
            yield from _facts_in(value, depth + 1)
        elif not isinstance(value, str) or not value:
            continue
        elif key in _TYPES:
            yield "type", value
        elif key in _NAMES:
            yield "name", value
        elif value[:5].lower() == "data:":
            yield "type", value[5:MAX_ADDRESS].partition(",")[0].partition(";")[0]
            yield "size", _size(value[value.find(",", 0, 256) + 1 :])
        elif "://" in value[:12] or key in _ADDRESSES:
            yield "address", value
        elif key in _CONTENTS:
            yield "size", _size(value)


MAX_DEPTH = 2
"""Levels of nesting: Bedrock has ``{"image": {"source": {"bytes": ...}}}``."""

_TYPES = frozenset({"mime_type", "mimeType", "media_type", "format"})
_NAMES = frozenset({"filename", "file_name", "display_name", "displayName", "title"})
_ADDRESSES = frozenset({"url", "image_url", "file_url", "file_id", "file_uri", "fileUri"})
_CONTENTS = frozenset({"data", "base64", "bytes", "file_data", "result", "b64_json", "image_url", "url"})


def _size(content: str) -> str:
    """Return the size of a file that is base64, or was recorded as its size or its beginning."""
    if whole := _BYTES.match(content):
        return _in_words(int(whole[1].replace(",", "")))
    if cut := _TRUNCATED.search(content, max(0, len(content) - 100)):
        return f"about {_in_words(int(cut[1].replace(',', '')) * 3 // 4)}"
    return _in_words(len(content) * 3 // 4)


_BYTES = re.compile(r"<\w{1,20} ([\d,]{1,20})")
"""What is recorded of a bytes object."""
_TRUNCATED = re.compile(r"\[truncated: [\d,]+ of (?:about )?([\d,]+) bytes kept\]")


def _in_words(size: int) -> str:
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if size >= 10 or unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000  # type: ignore[assignment]
    return f"{size:.1f} GB"
