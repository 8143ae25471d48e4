"""
What secrets look like inside a text.

A `Shape` is found in two steps: a cheap `anchor` says where one could begin, `extent` says which
stretch is the secret, if any. Its `sieve` holds a looser reading of both for the prefilter, true for
the plain text and for the same text as a JSON string; with it anchors are tried only near a hit.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

MASK = "[redacted]"
"""What stands where a secret was."""

Span = tuple[int, int]
"""Where a stretch of text begins and ends, in characters."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One way in which secrets appear in a text."""

    anchor: re.Pattern[str]
    extent: Callable[[str, re.Match[str]], Span | None]
    """Given the text and a match of `anchor`: the secret stretch, or None."""
    sieve: tuple[str, ...]
    reach: int
    """Characters from the begin of `anchor` to the end of a match of `sieve`, at most."""


class Provider(NamedTuple):
    """How one provider's keys look: a prefix, then at least *least* of *alphabet*."""

    name: str
    prefix: str
    alphabet: str
    least: int


_ALNUM = "[A-Za-z0-9]"
_WORD = "[A-Za-z0-9_-]"

PROVIDERS = (
    Provider("1Password", "ops_eyJ", _WORD, 40),
    Provider("age", "AGE-SECRET-KEY-1", _ALNUM, 40),
    Provider("AWS", "AKIA", "[A-Z0-9]", 16),
    Provider("AWS, temporary", "ASIA", "[A-Z0-9]", 16),
    Provider("Cerebras", "csk-", _ALNUM, 30),
    Provider("Databricks", "dapi", "[0-9a-f]", 32),
    Provider("DigitalOcean", "do[opr]_v1_", _ALNUM, 40),
    Provider("Discord, webhook", "discord(?:app)?[.]com/api/webhooks/", "[A-Za-z0-9_/-]", 20),
    Provider("ElevenLabs", "sk_", "[0-9a-f]", 40),
    Provider("Firecrawl", "fc-", "[0-9a-f]", 32),
    Provider("GitHub", "gh[opsur]_", _ALNUM, 20),
    Provider("GitHub, fine-grained", "github_pat_", "[A-Za-z0-9_]", 20),
    Provider("GitLab", "gl(?:pat|dt|rt)-", _WORD, 20),
    Provider("Google", "AIza", _WORD, 30),
    Provider("Google OAuth", "GOCSPX-", _WORD, 20),
    Provider("Grafana", "glsa_", "[A-Za-z0-9_]", 30),
    Provider("Groq", "gsk_", _ALNUM, 20),
    Provider("Hugging Face", "hf_", _ALNUM, 30),
    Provider("LangSmith", "lsv2_(?:pt|sk)_", "[A-Za-z0-9_]", 20),
    Provider("Linear", "lin_api_", _ALNUM, 30),
    Provider("npm", "npm_", _ALNUM, 30),
    Provider("NVIDIA", "nvapi-", _WORD, 30),
    Provider("Perplexity", "pplx-", _ALNUM, 30),
    Provider("Pinecone", "pcsk_", "[A-Za-z0-9_]", 30),
    Provider("PyPI", "pypi-", _WORD, 32),
    Provider("Replicate", "r8_", _ALNUM, 30),
    Provider("Slack", "xox[abeoprs]-", "[A-Za-z0-9-]", 10),
    Provider("Slack, app", "xapp-", "[A-Za-z0-9-]", 20),
    Provider("Slack, webhook", "hooks[.]slack[.]com/services/", "[A-Za-z0-9/]", 20),
    Provider("Stripe", "[rs]k_(?:live|test)_", _ALNUM, 10),
    Provider("Stripe, webhook", "whsec_", _ALNUM, 20),
    Provider("Tavily", "tvly-", _WORD, 16),
    Provider("Vault", "hvs[.]", _WORD, 20),
    Provider("xAI", "xai-", _ALNUM, 20),
)
"""Keys that are known by their prefix. The least lengths keep ordinary words out."""

_EDGE = r"(?:(?<![A-Za-z0-9])|(?<=\\[bfnrt])|(?<=%[0-9A-Fa-f]{2})|(?<=\\u00[0-9A-Fa-f]{2}))"
"""Where a token may begin: not inside a word, unless what looks like one is an escape in nested JSON or a URL."""

_SK = (
    r"sk-(?:(?:admin|ant|lf|or|proj|svcacct)-[\w-]{8,}+"
    r"|(?=[A-Za-z_-]{0,60}+[0-9])[\w-]{12,}+"  # with a digit, because of class names such as "sk-folding-cube-wrapper"
    r"|[A-Za-z0-9]{20,}+[\w-]*+)"
)
"""OpenAI, Anthropic, OpenRouter, DeepSeek, Langfuse and more."""
_JWT = r"eyJ[\w-]{10,2000}+\.(?:eyJ[\w-]*+(?:\.[\w-]++)?+|[\w-]*+\.[\w-]++(?:\.[\w-]++){0,2}+)"
_SENDGRID = r"SG\.[\w-]{16,}+\.[\w-]{16,}+"


def _tokens() -> Shape:
    """Tokens that are known by how they look, with no need of a word beside them."""
    own = [(_SK, r"sk-"), (_JWT, "eyJ"), (_SENDGRID, r"SG\.")]
    own += [(f"{p.prefix}{p.alphabet}{{{p.least},}}+", p.prefix) for p in PROVIDERS]
    token = re.compile("(?:" + "|".join(full for full, _ in own) + ")(?![A-Za-z0-9])", re.ASCII)
    return Shape(
        anchor=re.compile(f"{_EDGE}(?:" + "|".join(prefix for _, prefix in own) + ")"),
        extent=_whole(token),
        sieve=(
            # As `_EDGE`: "task-" and "disk-" are in front of too many ids.
            *(rf"{edge}sk-[\w-]{{11}}" for edge in ("^", "[^A-Za-z0-9]", r"\\[bfnrt]", "%[0-9A-Fa-f]{2}", r"\\u00..")),
            r"eyJ[\w-]{10}",
            r"SG\.[\w-]{16}",
            *(f"{p.prefix}{p.alphabet}{{{p.least}}}" for p in PROVIDERS),
        ),
        reach=80,
    )


def _whole(pattern: re.Pattern[str]) -> Callable[[str, re.Match[str]], Span | None]:
    """The match of *pattern* where the anchor begins, or what its group ``secret`` holds."""
    group = "secret" if "secret" in pattern.groupindex else 0

    def extent(text: str, anchor: re.Match[str]) -> Span | None:
        match = pattern.match(text, anchor.start())
        return match.span(group) if match else None

    return extent


_BEARER = re.compile(
    r"(?i:bearer) (?P<secret>(?=[A-Za-z_.~+/=-]*+[0-9])[\w.~+/=-]{7,}[\w~+/=-]|[\w.~+/=-]{19,}[\w~+/=-])", re.ASCII
)
_BASE64_MARK = "[A-Za-z]*(?:[a-z][A-Z]|[0-9+/=])"
"""What tells base64 from a word, so that "basic understanding" passes the sieve."""
_BASIC = re.compile(rf"(?i:basic) (?={_BASE64_MARK})([A-Za-z0-9+/]{{8,}}+={{0,2}}+)")


def _credentials(text: str, anchor: re.Match[str]) -> Span | None:
    """The token after ``Bearer``, or what follows ``Basic`` if it is base64 for ``user:password``."""
    if match := _BEARER.match(text, anchor.start()):
        return match.span("secret")
    match = _BASIC.match(text, anchor.start())
    return match.span(1) if match and _is_user_and_password(match[1]) else None


def _is_user_and_password(encoded: str) -> bool:
    bare = encoded.rstrip("=")
    try:
        plain = binascii.a2b_base64(bare + "=" * (-len(bare) % 4))
    except binascii.Error:
        return False
    return b":" in plain and all(byte >= 32 for byte in plain) and plain.isascii()


_PEM_BEGIN = r"-----BEGIN [A-Z0-9 ]{0,24}PRIVATE KEY(?: BLOCK)?-----"
_PEM = (
    _PEM_BEGIN
    + r"(?:[^-]*+(?:-(?!----)[^-]*+)*+-----END [A-Z0-9 ]{0,40}-----"
    # Cut off before its end: lines of base64, between line breaks that nested JSON may have escaped.
    + r"|(?:(?:\s|\\+[nr])*+[A-Za-z0-9+/=]{16,}+)++(?:(?:\s|\\+[nr])*+[A-Za-z0-9+/=]++\Z)?+)"
)

_URL = r""":(?:\\{0,3}/){2}[^\s/@:?#"'<>\\]{0,64}+:(?P<secret>[^\s/?"'<>\\]{1,128})@"""


@cache
def standalone() -> tuple[Shape, ...]:
    """Return the shapes that need no name beside the secret; compiled once, when first needed."""
    return (
        _tokens(),
        Shape(
            anchor=re.compile(rf"{_EDGE}(?i:bearer|basic) "),
            extent=_credentials,
            sieve=(r"(?i)bearer [\w.~+/=-]{8}", rf"(?i:basic) {_BASE64_MARK}"),
            reach=64,
        ),
        Shape(
            anchor=re.compile(_PEM_BEGIN),
            extent=_whole(re.compile(_PEM)),
            sieve=("PRIVATE KEY(?: BLOCK)?-----",),
            reach=64,
        ),
        Shape(
            anchor=re.compile(r"(?<=[A-Za-z0-9+.-]):(?:\\{0,3}/){2}"),
            extent=_whole(re.compile(_URL, re.ASCII)),
            sieve=(r"""://[^\s/@:?#"]*:[^\s/"]+@""", r""":\\{1,7}/\\{1,7}/[^\s/@:?#"]*:[^\s/"]+@"""),
            reach=220,
        ),
    )
