"""
Apply the redaction rules to values and texts.
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
from .strings import mask_strings
from .values import Masking

_OWN, _ENCODED = 998, 999
"""The prefilter ids of the user's patterns and of encoded assignments."""
_FIRST_STANDALONE = 2
"""The prefilter id of the first shape of secrets that need no name before them."""


class Redactor:
    """
    Masks secrets. One redactor can be used by any number of threads, and on both sides of a fork.

    No method raises because of its input: a value that cannot be examined is masked as a whole.

    Args:
        rules: The user's rules, in addition to the built-in rules.
        on_problem: Called with a message, which contains none of the data, if the hook or FluxLoop itself fails.
    """

    def __init__(self, rules: Rules | None = None, on_problem: Callable[[str], object] | None = None) -> None:
        self._rules = rules or Rules.default()
        self._warn = on_problem or (lambda message: None)
        self._keys = Keys(self._rules.keys)
        named = (assignments(self._keys), *named_contexts(self._keys))
        self._shapes = (named, (commands(),), *((shape,) for shape in standalone()))
        self._prefilter, complete = self._open_prefilter()
        self._finds_any = self._prefilter.any if self._prefilter is not None and complete else None
        self.suspects: Callable[[bytes], bool] = (
            self._finds_any if self._finds_any is not None and self._rules.hook is None else _anything
        )
        """
        Returns False only if `redact` would change nothing; takes a few microseconds for 20 kB.

        The argument is compact JSON in UTF-8, as written by orjson. With a hook the result is always True, because the
        hook receives every value.
        """

    def _open_prefilter(self) -> tuple[Prefilter | None, bool]:
        """Return the prefilter, if it is supported, and whether it includes the user's patterns."""
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
                with suppress(ValueError):  # not supported: the user's patterns are searched in every value instead
                    return open_prefilter((*readings, *((_OWN, reading) for reading in own if reading))), True
            return open_prefilter(tuple(readings)), False
        except (ImportError, ValueError) as error:
            self._warn(f"redaction is slow, because its prefilter cannot be used: {error}")
            return None, False

    def redact(self, value: JSON) -> tuple[JSON, int]:
        """
        Return *value* with each secret replaced by ``"[redacted]"``, and the number of replacements.

        The input is not changed, and redacting twice equals redacting once.

        Args:
            value: JSON of any nesting.

        Returns:
            A value of the same shape (*value* itself if it contains no secret; keys are masked too), and the number of
            masked places. A hook may return a value of another shape; its change counts as one place.
        """
        try:
            masking = Masking(self._keys, self._masked, self._finds_any)
            clean = masking.value(value)
            return self._apply_hook(clean, masking.places)
        except Exception as error:  # also RecursionError, for a deep value near the limit of the user's stack
            if was_raised_from_outside(error):
                raise
            self._warn(f"a value could not be examined for secrets ({type(error).__name__}) and was masked as a whole")
            return MASK, 1

    def redact_json(self, encoded: bytes) -> tuple[bytes, int]:
        """Do as `redact` for a value that is encoded as compact JSON in UTF-8."""
        try:
            if self._prefilter is not None and self._finds_any is not None and self._rules.hook is None:
                hits = self._prefilter.hits(encoded)
                if all(_FIRST_STANDALONE <= hit.kind < len(self._shapes) for hit in hits):
                    masked = mask_strings(encoded, hits, self._masked)
                    if masked is not None:
                        return masked
        except Exception as error:
            if was_raised_from_outside(error):
                raise
        value, places = self.redact(orjson.loads(encoded))
        return orjson.dumps(value), places

    def text(self, text: str) -> tuple[str, int]:
        """Do as `redact` for a text, such as an error or a traceback; the result is always a text."""
        clean, places = self._apply_hook(*self._masked(text))
        return (clean, places) if isinstance(clean, str) else (MASK, places)

    def split(self, pieces: Sequence[str]) -> tuple[list[str], int]:
        """
        Redact the *pieces* of one streamed text as if they were joined, since a secret may be split over them.

        Returns:
            The same number of pieces. The mask is in the piece in which the secret starts; its other parts are removed
            from the following pieces. If a hook changes the joined text, all of it is in the first piece.
        """
        joined = "".join(pieces)
        spans = self.spans(joined)
        clean, places = self._apply_hook(_replaced(joined, spans), len(spans))
        if places > len(spans) and pieces:
            return [clean if isinstance(clean, str) else MASK, *("" for _ in pieces[1:])], places
        return _split(joined, pieces, spans), places

    def items(self, items: list[JSON]) -> tuple[list[JSON], int]:
        """Mask the *items* of a stream in place, including secrets split over several; see `chunks.mask_items`."""
        return mask_items(self, items)

    def name(self, name: str) -> str:
        """Return *name*, the name of an observation, with its secrets masked. The hook is not called."""
        return self._masked(name)[0]

    def spans(self, text: str) -> list[Span]:
        """Return the spans of the secrets in *text*, in order, without overlaps. The hook is not called."""
        try:
            found = self._found(text)
            return _merged(text, found) if found else found
        except Exception as error:
            if was_raised_from_outside(error):
                raise
            self._warn(f"a text could not be examined for secrets ({type(error).__name__}) and was masked as a whole")
            return [(0, len(text))]

    def _found(self, text: str) -> list[Span]:
        if self._prefilter is None:
            found = self._search(text)
        else:
            # Each character outside ASCII becomes one byte, so that byte offsets equal text offsets.
            hits = self._prefilter.hits(text.encode("ascii", "replace"))
            found = self._search(text, hits) if hits else []
        if (self._prefilter is None or hits) and is_encoded(text, self._keys):
            found += self._in_decoded(text)
        for pattern in self._rules.patterns:
            found += [_secret(match) for match in pattern.finditer(text)]
        return found

    def _search(self, text: str, hits: Sequence[Hit] | None = None) -> list[Span]:
        """Return the spans that the shapes find near *hits* of the prefilter; without hits, in the whole text."""
        found: list[Span] = []
        for shape, windows in self._near(hits) if hits is not None else self._everywhere(text):
            done = 0
            for start, end in windows:
                for anchor in shape.anchor.finditer(text, start, end):
                    # An anchor inside text that was already read is skipped, to keep the work linear.
                    if anchor.start() >= done and (span := shape.extent(text, anchor)):
                        found.append(span)
                        done = span[1]
        return found

    def _in_decoded(self, text: str) -> Iterator[Span]:
        """Return the spans in *text* that the rules find after decoding percent-encoding and other escapes."""
        decoded = Decoded(text)
        return decoded.original(_merged(decoded.text, self._search(decoded.text)))

    def _everywhere(self, text: str) -> Iterator[tuple[Shape, Iterable[Span]]]:
        return ((shape, [(0, len(text))]) for shapes in self._shapes for shape in shapes)

    def _near(self, hits: Iterable[Hit]) -> Iterator[tuple[Shape, Iterable[Span]]]:
        """Yield the shapes that the prefilter found, each with the windows before its hits."""
        for kind, same in groupby(hits, attrgetter("kind")):
            if kind < len(self._shapes):
                ends = list(same)
                yield from ((shape, _windows(ends, shape.reach)) for shape in self._shapes[kind])

    def _masked(self, text: str) -> tuple[str, int]:
        spans = self.spans(text)
        return (_replaced(text, spans), len(spans)) if spans else (text, 0)

    def _apply_hook(self, clean: JSON, places: int) -> tuple[JSON, int]:
        """Apply the hook to the result of the rules."""
        hook = self._rules.hook
        if hook is None:
            return clean, places
        try:
            before = orjson.dumps(clean)
            # The hook gets a copy, which it may change in place. Encoding the result checks that it is JSON.
            after = orjson.dumps(hook(orjson.loads(before)))
        except Exception as error:
            if was_raised_from_outside(error):
                raise
            self._warn(f"redact_hook failed with {type(error).__name__}; its whole value was masked")
            return MASK, places + 1
        return (clean, places) if after == before else (orjson.loads(after), places + 1)


def _anything(encoded: bytes) -> bool:
    return True


def _secret(match: re.Match[str]) -> Span:
    """Return the span to mask for a match of a user's pattern: its group ``secret`` if it matched, else all."""
    if "secret" in match.re.groupindex and match["secret"] is not None:
        return match.span("secret")
    return match.span()


def _windows(hits: Iterable[Hit], reach: int) -> Iterator[Span]:
    """Yield the spans that end with a hit and start *reach* before it; adjacent spans are merged."""
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
    """Return *spans* in order, without overlaps and without those that are masked already."""
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
    """Mask the *spans* of *joined*, and split the result at the borders of *pieces*."""
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
