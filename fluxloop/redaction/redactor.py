"""
Apply the rules to values and to texts.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import groupby
from operator import attrgetter

import orjson

from ..interruptions import was_raised_from_outside
from .assignments import assignments
from .chunks import mask_items
from .contexts import commands, named_contexts
from .encoded import TRIGGERS, Decoded, is_encoded
from .keys import Keys
from .pattern_conversion import to_json_pattern
from .prefilter import Hit, Prefilter, open_prefilter
from .rules import JSON, Rules
from .shapes import MASK, Shape, Span, standalone
from .values import Masking

_OWN, _ENCODED = 998, 999
"""The kinds of the user's patterns, and of encoded assignments, in the prefilter."""


class Redactor:
    """
    Masks secrets. One redactor serves any number of threads, and both sides of a fork.

    Nothing here raises because of what it is given: what cannot be examined is masked as a whole.

    Args:
        rules: What the user adds to the built-in rules.
        on_trouble: Called with a sentence, without any of the data, when the hook or our own code failed.
    """

    def __init__(self, rules: Rules | None = None, on_trouble: Callable[[str], None] | None = None) -> None:
        self._rules = rules or Rules.default()
        self._say = on_trouble or (lambda message: None)
        self._keys = Keys(self._rules.keys)
        named = (assignments(self._keys), *named_contexts(self._keys))
        self._shapes = (named, (commands(),), *((shape,) for shape in standalone()))
        self._prefilter, complete = self._open_prefilter()
        knows_all = complete and self._rules.hook is None
        self.suspects: Callable[[bytes], bool] = (
            self._prefilter.any if self._prefilter is not None and knows_all else _anything
        )
        """
        Returns False only where `redact` would change nothing. A few microseconds for 20 kB.

        It takes a value as orjson writes it: compact JSON in UTF-8. A hook wants to see every value, so
        with one the answer is always True.
        """

    def _open_prefilter(self) -> tuple[Prefilter | None, bool]:
        """Return the prefilter, if there can be one, and whether it includes the user's patterns."""
        readings = [
            (kind, reading)
            for kind, shapes in enumerate(self._shapes)
            for shape in shapes
            for reading in shape.prefilter
        ]
        readings += [(_ENCODED, trigger) for trigger in TRIGGERS]
        own = [to_json_pattern(pattern) for pattern in self._rules.patterns]
        try:
            if None not in own:
                with suppress(ValueError):  # beyond hyperscan: then the user's patterns are searched in every value
                    return open_prefilter((*readings, *((_OWN, reading) for reading in own if reading))), True
            return open_prefilter(tuple(readings)), False
        except (ImportError, ValueError) as error:
            self._say(f"redaction is slow, because its prefilter cannot be used: {error}")
            return None, False

    def redact(self, value: JSON) -> tuple[JSON, int]:
        """
        Return *value* with every secret in it replaced by ``"[redacted]"``, and how many there were.

        The input stays untouched, and applying it twice equals applying it once.

        Args:
            value: JSON of any nesting.

        Returns:
            A value of the same shape (same lengths, same keys but for secrets in them; *value* itself where nothing was
            masked) and the number of places. A hook may return any other shape; a change by
            it counts as one place.
        """
        try:
            masking = Masking(self._keys, self._masked)
            clean = masking.value(value)
            return self._last_word(clean, masking.places)
        except Exception as error:  # also RecursionError: a deep value met near the limit of the user's stack
            if was_raised_from_outside(error):
                raise
            self._say(f"a value could not be examined for secrets ({type(error).__name__}) and was masked as a whole")
            return MASK, 1

    def text(self, text: str) -> tuple[str, int]:
        """Do as `redact` does, for a value that is a text and has to stay one: an error, a traceback."""
        clean, places = self._last_word(*self._masked(text))
        return (clean, places) if isinstance(clean, str) else (MASK, places)

    def split(self, pieces: Sequence[str]) -> tuple[list[str], int]:
        """
        Redact the *pieces* of one streamed text as if they were joined: secrets do not respect chunks.

        Returns:
            As many pieces. A mask is in the piece in which the secret begins; the pieces that follow
            lose their part of it. If a hook changes the joined text, all of it is in the first piece.
        """
        joined = "".join(pieces)
        spans = self.spans(joined)
        clean, places = self._last_word(_replaced(joined, spans), len(spans))
        if places > len(spans) and pieces:
            return [clean if isinstance(clean, str) else MASK, *("" for _ in pieces[1:])], places
        return _split(joined, pieces, spans), places

    def items(self, items: list[JSON]) -> tuple[list[JSON], int]:
        """Mask the *items* of a stream in place, also what is split over several; see `chunks.mask_items`."""
        return mask_items(self, items)

    def name(self, name: str) -> str:
        """Return *name*, of an observation, masked; the hook has no part in it."""
        return self._masked(name)[0]

    def spans(self, text: str) -> list[Span]:
        """Return the stretches of *text* that are secret, in order, without overlaps. The hook has no part in it."""
        try:
            found = self._found(text)
            return _merged(text, found) if found else found
        except Exception as error:
            if was_raised_from_outside(error):
                raise
            self._say(f"a text could not be examined for secrets ({type(error).__name__}) and was masked as a whole")
            return [(0, len(text))]

    def _found(self, text: str) -> list[Span]:
        if self._prefilter is None:
            found = self._search(text)
        else:
            # A character outside ASCII becomes one byte, so that offsets are those of the text.
            hits = self._prefilter.hits(text.encode("ascii", "replace"))
            found = self._search(text, hits) if hits else []
        if (self._prefilter is None or hits) and is_encoded(text, self._keys):
            found += self._in_decoded(text)
        for pattern in self._rules.patterns:
            found += [_secret(match) for match in pattern.finditer(text)]
        return found

    def _search(self, text: str, hits: Sequence[Hit] | None = None) -> list[Span]:
        """Return what the shapes find near *hits* of the prefilter, or anywhere."""
        found: list[Span] = []
        for shape, windows in self._near(hits) if hits is not None else self._everywhere(text):
            done = 0
            for start, end in windows:
                for anchor in shape.anchor.finditer(text, start, end):
                    # An anchor inside of what was read already is skipped: examining it again could be quadratic.
                    if anchor.start() >= done and (span := shape.extent(text, anchor)):
                        found.append(span)
                        done = span[1]
        return found

    def _in_decoded(self, text: str) -> Iterator[Span]:
        """Return what the rules find once percent-encoding and the like are undone, located in *text*."""
        decoded = Decoded(text)
        return decoded.original(_merged(decoded.text, self._search(decoded.text)))

    def _everywhere(self, text: str) -> Iterator[tuple[Shape, Iterable[Span]]]:
        return ((shape, [(0, len(text))]) for shapes in self._shapes for shape in shapes)

    def _near(self, hits: Iterable[Hit]) -> Iterator[tuple[Shape, Iterable[Span]]]:
        """Yield the shapes that the prefilter has hit, each with the windows around its hits."""
        for kind, same in groupby(hits, attrgetter("kind")):
            if kind < len(self._shapes):
                ends = list(same)
                yield from ((shape, _windows(ends, shape.reach)) for shape in self._shapes[kind])

    def _masked(self, text: str) -> tuple[str, int]:
        spans = self.spans(text)
        return (_replaced(text, spans), len(spans)) if spans else (text, 0)

    def _last_word(self, clean: JSON, places: int) -> tuple[JSON, int]:
        """Let the hook change what the rules have left over."""
        hook = self._rules.hook
        if hook is None:
            return clean, places
        try:
            before = orjson.dumps(clean)
            # A copy, because the hook may change it in place; and back, because that proves it to be JSON.
            after = orjson.dumps(hook(orjson.loads(before)))
        except Exception as error:
            if was_raised_from_outside(error):
                raise
            self._say(f"redact_hook failed with {type(error).__name__}; what it was called with was masked as a whole")
            return MASK, places + 1
        return (clean, places) if after == before else (orjson.loads(after), places + 1)


def _anything(encoded: bytes) -> bool:
    return True


def _secret(match: re.Match[str]) -> Span:
    """What a user's pattern wants masked: its group ``secret``, if it has one that took part, or all of it."""
    if "secret" in match.re.groupindex and match["secret"] is not None:
        return match.span("secret")
    return match.span()


def _windows(hits: Iterable[Hit], reach: int) -> Iterator[Span]:
    """Yield the stretches that end with a hit and begin *reach* before it; those that meet become one."""
    start = end = -1
    for hit in hits:
        if end >= 0 and hit.end - reach > end:
            yield start, end
            start = -1
        if start < 0:
            start = max(hit.end - reach, 0)
        end = hit.end
    if end >= 0:
        yield start, end


def _merged(text: str, spans: Iterable[Span]) -> list[Span]:
    """Return *spans* in order, without overlaps and without what was masked before."""
    marks = [mark.start() for mark in re.finditer(re.escape(MASK), text)]
    merged: list[Span] = []
    for start, end in sorted(spans):
        before = bisect_right(marks, start) - 1
        if start == end or (before >= 0 and end <= marks[before] + len(MASK)):
            continue
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _replaced(text: str, spans: Iterable[Span]) -> str:
    parts: list[str] = []
    at = 0
    for start, end in spans:
        parts += (text[at:start], MASK)
        at = end
    return "".join((*parts, text[at:]))


def _split(joined: str, pieces: Sequence[str], spans: Sequence[Span]) -> list[str]:
    """Cut the masked *joined* where *pieces* were cut."""
    if not spans:
        return [*pieces]
    clean: list[str] = []
    at = end = 0
    following = iter((*spans, (len(joined) + 1, len(joined) + 1)))
    start, stop = next(following)
    for piece in pieces:
        end += len(piece)
        parts: list[str] = []
        while start < end:
            parts += (joined[at:start], MASK)
            at = stop
            start, stop = next(following)
        parts.append(joined[at:end])
        at = max(at, end)
        clean.append("".join(parts))
    return clean
