"""
Read a text through percent-encoding, character references and JSON's ``\\u00xx``.

``password%3Dhunter2`` and ``&quot;password&quot;:&quot;hunter2&quot;`` are assignments that no rule for plain text
finds. A text with a secret's name beside such an escape is decoded, examined by the same rules, and what they find is
located in the text as it was.
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
"""Characters of a name that are read; its last words decide."""
NAME_AT_END = re.compile(r"(?<![A-Za-z0-9_.\-])[A-Za-z0-9_.\-]+\Z")
_LAYERS = 3
"""Times a text may be encoded over: ``%253D`` is ``=`` in two layers."""


ESCAPE = r"(?:%[0-9a-f]{2}|&(?:#|quot|apos|amp|lt|gt|equals|colon)|\\+u00)"
"""A looser reading of an escape, for the prefilter."""

_PERCENT = "%(?:25){0,2}"
TRIGGERS = (
    rf"(?i){any_of(IN_QUERIES)}{_PERCENT}3d",
    rf"(?i)(?:bearer|basic|token){_PERCENT}20",
    rf"(?i){_PERCENT}3a{_PERCENT}2f{_PERCENT}2f[^\s/]*{_PERCENT}3a[^\s/]+{_PERCENT}40",
    r"(?i)PRIVATE%20KEY",
)
"""Regular expressions for the prefilter: with those of `assignments`, one matches in each text that is decoded."""

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
    A decoded text that knows where each of its characters was.

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
        ours, theirs = [0], [0]
        length = at = 0
        for escape in _ESCAPED.finditer(self.text):
            character = _character(escape)
            if character is None:
                continue
            length += escape.start() - at + 1
            parts += (self.text[at : escape.start()], character)
            at = escape.end()
            ours.append(length)
            theirs.append(at)
        if at:
            self.text = "".join((*parts, self.text[at:]))
            self._layers.append((ours, theirs))
        return at > 0

    def original(self, spans: Iterable[Span]) -> Iterator[Span]:
        """Yield the stretches of the encoded text that *spans* of `text` come from."""
        return ((self._original(start), self._original(end)) for start, end in spans)

    def _original(self, position: int) -> int:
        for ours, theirs in reversed(self._layers):
            known = bisect_right(ours, position) - 1
            position = theirs[known] + position - ours[known]
        return position


def _character(escape: re.Match[str]) -> str | None:
    """The character that *escape* represents, if it is printable ASCII or white space."""
    if escape["name"]:
        return _NAMED[escape["name"]]
    code = (
        int(escape["decimal"])
        if escape["decimal"]
        else int(escape["percent"] or escape["hex"] or escape["unicode"], 16)
    )
    return chr(code) if 32 <= code < 127 or code in (9, 10, 13) else None
