"""
Secrets inside a text that stand beside their name.

Query strings, dumps of an environment, headers, ``repr`` of mappings and JSON inside strings (the
``arguments`` of tool calls) are all a key, ``=`` or ``:``, and a value. Prose has colons too, so after
a bare colon a value has to look opaque: *password: must be long* stays as it is.
"""

from __future__ import annotations

import re
from functools import partial

from .keys import LEAST_OPAQUE, NUMBER, OPAQUE, Keys, Promise
from .shapes import MASK, Shape, Span

_QUOTE = r"""\\{0,7}["']"""
"""A quote as it stands in JSON nested up to three times."""

_ANCHOR = re.compile(
    rf"""(?<=[A-Za-z0-9_.\-])(?P<close>{_QUOTE})?+\]?+[ ]{{0,8}}+(?P<sign>:?=(?!=)>?|:)[ ]{{0,8}}+""",
    re.VERBOSE,
)
_YEK = re.compile(r"[A-Za-z0-9_.\-]+(?: [A-Za-z0-9]{1,24})?")
"""A key, perhaps of two words, read backwards from its anchor."""
_LONGEST = 88
"""Characters of a key that are read; its last words decide."""

_OPENING = re.compile(r"""(?P<escape>\\{0,7})(?P<quote>["'])""")
_BARE = re.compile(
    r"""(?!=)(?:[^\s"'`&<>,;\\\[]|(?!MASK)\[|,(?![\s"'\\]|[\w.\-]{1,64}[=:]|$)|\\(?![nrtbfu"'\\/]))+""".replace(
        "MASK", re.escape(MASK)
    ),
    re.ASCII,
)
"""An unquoted value: it ends with white space, a quote, a separator, a mask."""
_OPAQUE_START = re.compile(f"{OPAQUE}{{5}}")
_OPAQUE_RUN = re.compile(f"{OPAQUE}+")
_OPAQUE_WORD = re.compile(r"(?=.*[0-9]|.{20}).{6,}", re.DOTALL)
"""A value after a bare colon that is no word of prose."""
_AFTER_SCHEME = re.compile(rf"(?=.*[^A-Za-z]|.{{20}}){OPAQUE}{{6,}}", re.DOTALL)
"""The same after ``Authorization: Bearer``, where prose is less likely."""
_NUMBER = re.compile(r"-?[0-9][0-9.eE+\-]*")
_SCHEME = re.compile(r"(?i:bearer|basic|token|apikey|negotiate) (?=\S)")
_COOKIES = re.compile(rf"""(?={OPAQUE}{{5}})[^\s"'\\=]{{1,64}}=[^\r\n"'\\]+""")

_STAND_IN = re.compile(
    r"""<.*>|\$?\{.*\}|\$\(.*\)|%\(?\w*\)?s|\$[A-Z_][A-Z0-9_]*|\?|:\w+|\*+|\.{2,}|[xX]{3,}|[-_]+
    |(?i:none|null|nil|true|false|undefined)""",
    re.VERBOSE | re.DOTALL,
)
"""What stands for a value in templates, documentation and other people's redaction."""

_EXPRESSION = re.compile(
    r"\$?\{|\$\(|[A-Za-z_$][\w$.]*[\[(]"
    r"|(?:self|this|os|sys|config|settings|args|env|process|cfg|opts|options|kwargs|request|secrets)\.[A-Za-z_]"
)
"""How a value begins that is filled in or computed: a placeholder, a call, a subscript, an attribute."""


def assignments(keys: Keys) -> Shape:
    """
    Return the shape of a value beside one of *keys*.

    Its sieve also finds those keys in mappings and in lists of pairs, as they look in JSON: the phrases
    are what is dear in it, and so they are there once.
    """
    quote, name = r"\\*[\"']", rf"(?i){keys.phrase}{NUMBER}"
    quoted = r"""\\*(?:"[^"]|'[^'])"""
    return Shape(
        anchor=_ANCHOR,
        extent=partial(_value, keys),
        sieve=(
            name + "(?:"
            # "password": "…", "password": 1, "password": {…}; the same in JSON inside a string
            rf"{quote}\]? *:?[:=]>? *(?:{quoted}|-?[0-9]|[\[{{])"
            # password: "…", password: 0p4que, password=…
            rf"|\]? *(?:: *(?:{quoted}|{OPAQUE}{{5}})|:?=>? *[^\s=])"
            # {"name": "password", "value": "…"}, {"value": "…", "name": "password"}, ["password", "…"]
            r'|"(?:,"value"|\}|,(?:[^"]|"(?:[^"\\]|\\.)*"\]))' + ")",
            rf"(?i)token{NUMBER}(?:{quote})?\]? *:?[:=]>? *(?:{quote})?{OPAQUE}{{{LEAST_OPAQUE}}}",
        ),
        reach=200,
    )


def _value(keys: Keys, text: str, anchor: re.Match[str]) -> Span | None:
    """The secret after *anchor*, without its quotes and without the scheme of an authorization."""
    key = _key_before(text, anchor.start())
    promise = keys.promise(key)
    start = anchor.end()
    if promise is None:
        return None
    if opening := _OPENING.match(text, start):
        start = opening.end()
        end = _closing(text, start, len(opening["escape"]), opening["quote"])
        if text[start:end] == MASK or _STAND_IN.fullmatch(text, start, end):
            return None
    elif promise is Promise.TOKEN:
        run = None if anchor["close"] else _OPAQUE_RUN.match(text, start)
        end = run.end() if run else start
    elif anchor["close"]:
        number = _NUMBER.match(text, start)
        end = number.end() if number else start
    else:
        start, end = _bare(text, start, key, anchor["sign"])
    return (start, end) if keys.hides(key, text[start:end]) else None


def _key_before(text: str, end: int) -> str:
    """The key that ends at *end*; empty if there is none."""
    start = max(0, end - _LONGEST)
    backwards = _YEK.match(text[start:end][::-1])
    key = backwards[0][::-1] if backwards else ""
    # In nested JSON the letter after a backslash belongs to an escape, not to the key.
    escaped = key[:1] in tuple("bfnrt") and text[end - len(key) - 1 : end - len(key)] == "\\"
    return key[1:] if escaped else key


def _bare(text: str, start: int, key: str, sign: str) -> Span:
    """The unquoted value at *start*; empty if there is none, or a word of prose or code."""
    nothing = (start, start)
    if sign == ":" and key.lower().endswith(("cookie", "cookies")):
        cookies = _COOKIES.match(text, start)
        return cookies.span() if cookies else nothing
    scheme = _SCHEME.match(text, start)
    start = scheme.end() if scheme else start
    if _EXPRESSION.match(text, start) or (sign == ":" and not _OPAQUE_START.match(text, start)):
        return nothing
    word = _BARE.match(text, start)
    if word is None or text.startswith(MASK, word.end()):  # its other part was looked at when the mask was put there
        return nothing
    value = word[0].rstrip(")]}.:!?")
    if _STAND_IN.fullmatch(value) or _is_reference(value, key):
        return nothing
    if sign == ":" and not (_AFTER_SCHEME if scheme else _OPAQUE_WORD).fullmatch(value):
        return nothing
    return start, start + len(value)


def _is_reference(value: str, key: str) -> bool:
    """Whether *value* is a variable named like its key: ``api_key=api_key``, ``api_key=OPENAI_API_KEY``."""
    name = key.rpartition(" ")[2].lower()
    return value.lower() == name or (value.isupper() and value.lower().endswith(f"_{name}"))


def _closing(text: str, start: int, escape: int, quote: str) -> int:
    """
    Return where the string ends whose opening *quote* stood behind *escape* backslashes.

    In JSON nested n times an ordinary quote has 2**n - 1 backslashes, one inside the string more.
    Without a closing quote the string ends with its line.
    """
    at = start - 1
    while (at := text.find(quote, at + 1)) >= 0:
        backslashes = 0
        while at - backslashes > start and text[at - backslashes - 1] == "\\":
            backslashes += 1
        if backslashes <= escape or (backslashes - escape) % (2 * escape + 2) == 0:
            at -= min(backslashes, escape)
            break
    end = len(text) if at < 0 else at
    line_end = text.find("\n", start, end)
    return end if line_end < 0 else line_end
