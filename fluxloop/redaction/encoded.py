"""
Find secrets in percent-encoded text, character references and JSON's ``\\u00xx`` escapes.

``password%3Dhunter2`` and ``&quot;password&quot;:&quot;hunter2&quot;`` are assignments that the rules for plain text do
not find. If the name of a secret is next to such an escape, the text is decoded and examined by the same rules, and the
positions of the secrets are converted to positions in the encoded text.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator

from .keys import IN_QUERIES, Keys, any_of
from .shapes import Span

_ESCAPED = re.compile(
    r"%(?P<percent>[0-7][0-9A-Fa-f])|&\#(?P<decimal>[0-9]{1,3});|&\#[xX](?P<hex>[0-7]?[0-9a-fA-F]);"
    r"|&(?P<name>quot|apos|amp|lt|gt|equals|colon);|\\{1,15}u00(?P<unicode>[2-7][0-9a-fA-F])"
)
_NAMED = {"quot": '"', "apos": "'", "amp": "&", "lt": "<", "gt": ">", "equals": "=", "colon": ":"}
LONGEST = 88
"""The limit of characters of a name; only its last words matter."""
NAME_AT_END = re.compile(r"(?<![A-Za-z0-9_.\-])[A-Za-z0-9_.\-]+\Z")
_LAYERS = 3
"""The limit of nested encodings: ``%253D`` is ``=`` encoded twice."""

ESCAPE = r"(?:%[0-9a-f]{2}|&(?:#|quot|apos|amp|lt|gt|equals|colon)|\\+u00)"
"""A simplified pattern of an escape, for the prefilter."""

_PERCENT = "%(?:25){0,2}"
TRIGGERS = (
    rf"(?i){any_of(IN_QUERIES)}{_PERCENT}3d",
    rf"(?i)(?:bearer|basic|token){_PERCENT}20",
    rf"(?i){_PERCENT}3a{_PERCENT}2f{_PERCENT}2f[^\s/]*{_PERCENT}3a[^\s/]+{_PERCENT}40",
    r"(?i)PRIVATE%20KEY",
)
"""Prefilter expressions: in each text to decode, one of these or of those of `assignments` matches."""

_BEFORE = re.compile(r"(?i)(?:bearer|basic|token|PRIVATE|(?:[?;]|26|3f)" + any_of(IN_QUERIES) + r")\Z")
_URL = re.compile(rf"(?i){_PERCENT}3a{_PERCENT}2f{_PERCENT}2f[^\s/]{{0,64}}{_PERCENT}3a[^\s/]{{1,128}}{_PERCENT}40")


def is_encoded(text: str, keys: Keys) -> bool:
    """Return whether an escape in *text* follows the name of a secret, or begins a URL with a password."""
    for escape in _ESCAPED.finditer(text):
        before = text[max(0, escape.start() - LONGEST) : escape.start()]
        name = NAME_AT_END.search(before)
        if name is not None and (keys.sensitivity(name[0]) is not None or _BEFORE.search(before)):
            return True
        if _URL.match(text, escape.start()):
            return True
    return False


class Decoded:
    """
    A decoded text, with the original position of each character.

    Attributes:
        text: The text without its escapes.
    """

    def __init__(self, encoded: str) -> None:
        self.text = encoded
        self._layers: list[tuple[list[int], list[int]]] = []
        for _ in range(_LAYERS):
            if not self._decode():
                break

    def _decode(self) -> bool:
        parts: list[str] = []
        decoded, encoded = [0], [0]
        length = at = 0
        for escape in _ESCAPED.finditer(self.text):
            character = _character(escape)
            if character is None:
                continue
            length += escape.start() - at + 1
            parts += (self.text[at : escape.start()], character)
            at = escape.end()
            decoded.append(length)
            encoded.append(at)
        if at:
            self.text = "".join((*parts, self.text[at:]))
            self._layers.append((decoded, encoded))
        return at > 0

    def original(self, spans: Iterable[Span]) -> Iterator[Span]:
        """Yield the spans of the encoded text that correspond to *spans* of `text`."""
        return ((self._original(start), self._original(end)) for start, end in spans)

    def _original(self, position: int) -> int:
        for decoded, encoded in reversed(self._layers):
            known = bisect_right(decoded, position) - 1
            position = encoded[known] + position - decoded[known]
        return position


def _character(escape: re.Match[str]) -> str | None:
    """Return the character that *escape* represents, if it is printable ASCII or white space."""
    if escape["name"]:
        return _NAMED[escape["name"]]
    code = (
        int(escape["decimal"])
        if escape["decimal"]
        else int(escape["percent"] or escape["hex"] or escape["unicode"], 16)
    )
    return chr(code) if 32 <= code < 127 or code in (9, 10, 13) else None
