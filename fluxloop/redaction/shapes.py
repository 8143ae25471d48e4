"""
The forms of secrets in a text.

A `Shape` is searched in two steps: a fast `anchor` matches where a secret may start, and `extent` returns its span, if
it is one. Its `prefilter` is a simplified pattern for both, which matches in the plain text and in the same text as a
JSON string. Anchors are searched only near a match of the prefilter.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from .heuristics import is_random
from .providers import PROVIDERS

MASK = "[redacted]"
"""Replaces a secret."""

Span = tuple[int, int]
"""The start and the end of a part of a text, in characters."""

EVERYWHERE = 1 << 60
"""The reach of a shape whose anchor may be at any distance before the end of the prefilter's match."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One form of secrets in a text."""

    anchor: re.Pattern[str]
    extent: Callable[[str, re.Match[str]], Span | None]
    """
    Takes the text and a match of `anchor`, and returns the span of the secret, or None.

    The next anchor is searched after the span. An empty span masks nothing, but skips the text before it.
    """
    prefilter: tuple[str, ...]
    reach: int
    """The largest distance, in characters, from the start of `anchor` to the end of a match of `prefilter`."""


def whole(pattern: re.Pattern[str]) -> Callable[[str, re.Match[str]], Span | None]:
    """Return an `extent` for the match of *pattern* at the anchor, or for its group ``secret`` if it has one."""
    group = "secret" if "secret" in pattern.groupindex else 0

    def extent(text: str, anchor: re.Match[str]) -> Span | None:
        match = pattern.match(text, anchor.start())
        return match.span(group) if match else None

    return extent


EDGE = r"(?:(?<![A-Za-z0-9])|(?<=\\[bfnrt])|(?<=%[0-9A-Fa-f]{2})|(?<=\\u00[0-9A-Fa-f]{2}))"
"""The start of a token: not inside a word, but after an escape of nested JSON or a URL."""

_SK = (
    r"sk-(?:(?:admin|ant|lf|or|proj|svcacct)-[\w-]{8,}+"
    r"|(?=[A-Za-z_-]{0,60}+[0-9])[\w-]{12,}+"  # with a digit, because of class names such as "sk-folding-cube-wrapper"
    r"|[A-Za-z0-9]{20,}+[\w-]*+)"
)
"""OpenAI, Anthropic, OpenRouter, DeepSeek, Langfuse and more."""
_SENDGRID = r"SG\.[\w-]{16,}+\.[\w-]{16,}+"


def _tokens() -> Shape:
    """Return the shape of tokens that are recognised by their format alone."""
    own = [(_SK, r"sk-"), (_SENDGRID, r"SG\.")]
    own += [(f"{p.prefix}{p.alphabet}{{{p.least},}}+", p.prefix) for p in PROVIDERS]
    token = re.compile("(?:" + "|".join(full for full, _ in own) + ")(?![A-Za-z0-9])", re.ASCII)
    return Shape(
        anchor=re.compile(f"{EDGE}(?:" + "|".join(prefix for _, prefix in own) + ")"),
        extent=whole(token),
        prefilter=(
            # As `EDGE`: "task-" and "disk-" are in front of too many ids.
            *(rf"{edge}sk-[\w-]{{11}}" for edge in ("^", "[^A-Za-z0-9]", r"\\[bfnrt]", "%[0-9A-Fa-f]{2}", r"\\u00..")),
            r"SG\.[\w-]{16}",
            *(p.hint or f"{p.prefix}{p.alphabet}{{{min(p.least, 12)}}}" for p in PROVIDERS),
        ),
        reach=200,
    )


_JWT = re.compile(
    r"eyJ[\w-]{10,}+(?:\.(?:eyJ[\w-]*+(?:\.[\w-]++)?+|[\w-]*+\.[\w-]++(?:\.[\w-]++){0,2}+)(?P<complete>))?+", re.ASCII
)


def _json_web_token(text: str, anchor: re.Match[str]) -> Span | None:
    match = _JWT.match(text, anchor.start())
    if match is None:
        return None
    return match.span() if match["complete"] is not None else (match.end(), match.end())


_BEARER = re.compile(r"(?i:bearer) {1,4}(?P<secret>[\w.~+/=-]{7,}[\w~+/=-])", re.ASCII)
_HAS_DIGIT = re.compile(r"[A-Za-z_.~+/=-]*+[0-9]")
_BASE64_MARK = "[A-Za-z]*(?:[a-z][A-Z]|[0-9+/=])"
"""Distinguishes base64 from a word, so that "basic understanding" does not match."""
_BASIC = re.compile(rf"(?i:basic) {{1,4}}(?={_BASE64_MARK})([A-Za-z0-9+/]{{8,}}+={{0,2}}+)")


def _credentials(text: str, anchor: re.Match[str]) -> Span | None:
    """Return the span of the token after ``Bearer``, or after ``Basic`` if it is base64 for ``user:password``."""
    if match := _BEARER.match(text, anchor.start()):
        token = match["secret"]
        looks_secret = _HAS_DIGIT.match(token) or is_random(token) or (len(token) >= 20 and token.isalpha())
        return match.span("secret") if looks_secret else None
    match = _BASIC.match(text, anchor.start())
    return match.span(1) if match and _is_user_and_password(match[1]) else None


def _is_user_and_password(encoded: str) -> bool:
    bare = encoded.rstrip("=")
    try:
        plain = binascii.a2b_base64(bare + "=" * (-len(bare) % 4))
    except binascii.Error:
        return False
    return b":" in plain and all(byte >= 32 for byte in plain) and plain.isascii()


_PEM_BEGIN = r"-{4,5} ?BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)? ?-{4,5}"
_PEM = (
    _PEM_BEGIN
    + r"(?:[^-]*+(?:-(?!---)[^-]*+)*+-----?+ ?END [A-Z0-9 ]{0,60}-{4,5}"
    # Without its end: lines of base64, between line breaks that nested JSON may have escaped.
    + r"|(?:(?:\s|\\+[nr])*+[A-Za-z0-9+/=]{16,}+)++(?:(?:\s|\\+[nr])*+[A-Za-z0-9+/=]++\Z)?+)"
)

_URL = (
    r""":(?:\\{0,3}/){2}(?:[^\s/@:?#"'<>\\]{0,64}+:(?P<password>[^\s/?"'<>\\]{1,256})@"""
    r"""|(?P<user>[\w.~-]{16,256}+)@)"""
)


def _in_url(pattern: re.Pattern[str]) -> Callable[[str, re.Match[str]], Span | None]:
    """Return an `extent` for the password in ``scheme://user:password@host``, or for a user name that looks random."""

    def extent(text: str, anchor: re.Match[str]) -> Span | None:
        match = pattern.match(text, anchor.start())
        if match is None:
            return None
        if match["user"] is not None:
            return match.span("user") if is_random(match["user"]) else None
        return match.span("password")

    return extent


@cache
def standalone() -> tuple[Shape, ...]:
    """Return the shapes of secrets that need no name before them; compiled on first use."""
    return (
        _tokens(),
        Shape(
            anchor=re.compile(rf"{EDGE}eyJ"),
            extent=_json_web_token,
            prefilter=(r"eyJ[\w-]{10}",),
            reach=16,
        ),
        Shape(
            anchor=re.compile(rf"{EDGE}(?i:bearer|basic) "),
            extent=_credentials,
            prefilter=(r"(?i)bearer +[\w.~+/=-]{8}", rf"(?i:basic) +{_BASE64_MARK}"),
            reach=64,
        ),
        Shape(
            anchor=re.compile(_PEM_BEGIN),
            extent=whole(re.compile(_PEM)),
            prefilter=("PRIVATE KEY(?: BLOCK)? ?----",),
            reach=90,
        ),
        Shape(
            anchor=re.compile(r"(?<=[A-Za-z0-9+.-]):(?:\\{0,3}/){2}"),
            extent=_in_url(re.compile(_URL, re.ASCII)),
            prefilter=(
                r"""://[^\s/@:?#"]*:[^\s/"]+@""",
                r""":\\{1,7}/\\{1,7}/[^\s/@:?#"]*:[^\s/"]+@""",
                r""":(?:\\{0,7}/){2}[\w.~-]{16,}@""",
            ),
            reach=350,
        ),
    )
