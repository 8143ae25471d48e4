"""
Find secrets in a text that follow their name and ``=`` or ``:``.

Query strings, environment dumps, headers, the ``repr`` of mappings and JSON inside strings (such as the ``arguments`` of
tool calls) have this form. Prose contains colons too, so a value after a bare colon has to look opaque: *password: must
be long* is not masked.

Each match reads a limited number of characters, or the search continues after the last character that it read:
`Shape.extent` then returns an empty span. So no character is read again for each name before it.
"""

from __future__ import annotations

import re
from functools import partial

from .encoded import ESCAPE
from .heuristics import (
    LEAST_RANDOM,
    OPAQUE,
    READ,
    begins_code,
    is_argument,
    is_code,
    is_opaque,
    is_placeholder,
    is_random,
    is_reference,
    is_short_random,
)
from .keys import GAP, IF_RANDOM, IN_QUERIES, NUMBER, PASSES, USERS, Keys, Sensitivity, any_of
from .shapes import MASK, Shape, Span

_QUOTE = r"""\\{0,7}["']"""
"""A quote, as it appears in JSON nested up to three times."""
_PREFIX = r"""[bBrRuUfF@$]{0,2}\\{0,7}"""
"""What may precede the opening quote of a string: its prefix in Python or C#, and escapes."""

_ANCHOR = re.compile(
    rf"""(?<=[A-Za-z0-9_.\-])(?P<close>{_QUOTE})?+\]?+(?:[ ](?:provided|supplied|given|used|is|was)(?=[ ]?[:=]))?+
    (?P<before>[ ]{{0,8}}+)(?P<sign>:?=(?!=)>?|:|,(?=[ ]?b?{_QUOTE}))(?P<after>[ ]{{0,8}}+)""",
    re.VERBOSE,
)
_KEY_REVERSED = re.compile(r"[A-Za-z0-9_.\-]+(?: [A-Za-z0-9]{1,24})?")
"""A key of one or two words, read backwards from its anchor."""
_LONGEST = 88
"""The limit of characters of a key; only its last words matter."""

_OPENING = re.compile(
    r"""[bBrRuUfF@$]{0,2}(?P<escape>\\{0,7})(?P<quote>"(?:\\{0,7}"\\{0,7}")?+|'(?:\\{0,7}'\\{0,7}')?+|`)"""
)
"""The beginning of a string, also with a prefix (``b'…'``), of three quotes, or of a template literal."""
_QUOTE_OR_LINE_END = re.compile(r"""(?<!\\)(?P<escape>\\*+)(?P<quote>["'`])|\n""")
_IN_VALUE = r"""[^\s"'`&<>,;\\\[]|(?!MASK)\[|,(?![\s"'\\]|[\w.\-]{1,64}[=:]|$)|\\(?![nrtbfu"'\\/])
    |;(?![\s"'\\]|[\w.\-][\w.\- ]{0,64}=|$)|<(?![/A-Za-z!?])""".replace("MASK", re.escape(MASK))
_BARE = re.compile(rf"(?!=)(?:{_IN_VALUE}|&(?![\w.\-\[\]%]{{1,64}}=|[a-z]{{2,6}};|\#))++", re.ASCII | re.VERBOSE)
"""An unquoted value: it ends at white space, a quote, a separator or a mask."""
_IN_QUERY = re.compile(rf"(?!=)(?:{_IN_VALUE})++", re.ASCII | re.VERBOSE)
"""A value of a query string: it also ends at each ``&``."""
_OPAQUE_START = re.compile(f"{OPAQUE}{{5}}")
_RANDOM_START = re.compile(f"{OPAQUE}{{{LEAST_RANDOM},{READ}}}+")
_OPAQUE_RUN = re.compile(f"{OPAQUE}++")
_AFTER_SCHEME = re.compile(r"(?=.*[^A-Za-z]|.{20}).{6,}", re.DOTALL)
"""A value after ``Authorization: Bearer``, where prose is less likely than after other colons."""
_NUMBER = re.compile(r"-?[0-9][0-9.eE+\-]*+")
_SCHEME = re.compile(
    r"(?i:bearer|basic|token|apikey|api-key|api-token|bot|geniekey|negotiate|oauth|ssws|sso-key) {1,4}(?=\S)"
)
_SIGNED = re.compile(
    r"""(?i:aws4-hmac-sha256|hawk|oauth|signature|sharedkey(?:lite)?|sharedaccesssignature) [^\r\n"'\\]++"""
)
"""An authorization that consists of several fields."""
_COOKIES = re.compile(rf"""(?={OPAQUE}{{5}})[^\s"'\\=()<>@,;:/\[\]?{{}}]{{1,64}}=[^\r\n"'\\]++""")
_LINE_START = re.compile(r"(?:\A|\n|\\n)[ \t]{0,20}(?:- )?\Z")
_LINE_END = re.compile(r"[ \t]{0,8}(?:\\?\r)?(?:\n|\\n|\Z)")
_PAIR_START = re.compile(rf"[(\[]b?{_QUOTE}\Z")
_PAIR_END = re.compile(rf"{_QUOTE}[ ]?[)\]]")
_ARGUMENT_START = re.compile(r"[(,] ?\Z")
_BESIDE_USER = re.compile(rf"(?i)(?<![a-z]){any_of(USERS)}(?:{_QUOTE})?[ ]?[:=]")
_SHORT_VALUE = re.compile(rf"""(?:{_QUOTE})?([^\s"'\\,;&]{{3,128}})""")
_TYPED = re.compile(
    r"""(?<![A-Za-z0-9_.-])(?P<key>[A-Za-z0-9_.-]{1,40}+): ?&?(?:'static )?[A-Za-z][\w.\[\]|<>?]{0,40}+ ?= ?\Z""",
    re.ASCII,
)
_FIRST_LINE = re.compile(
    r"""(?:[|>][+-]?[0-9]?)?+[ ]{0,8}(?:\n|\\n)(?P<indent>[ ]{0,40}+(?:-[ ]{1,3})?+)["']?(?P<value>[^\s"'\\#&*!|>{}\[\]:]{6,4096}+)"""
    r"""(?=["']?[ ]{0,8}(?:\n|\\n|\Z))"""
)
_NEXT_LINE = re.compile(
    r"""["']?[ ]{0,8}(?:\n|\\n)(?P<indent>[ ]{0,40}+(?:-[ ]{1,3})?+)["']?[^\s"'\\:]{1,4096}+(?=["']?[ ]{0,8}(?:\n|\\n|\Z))"""
)
_QUERY_START = re.compile(r"(?:[?&;]|u0026)\Z")


def assignments(keys: Keys) -> Shape:
    """
    Return the shape of a value after one of *keys*.

    Its prefilter also finds these keys in mappings and in lists of pairs, in the form of JSON. The key phrases are the
    expensive part of the prefilter, so they occur only once.
    """
    quote, name = r"\\*[\"']", rf"(?i){keys.phrase}{NUMBER}"
    prefix = r"[bBrRuUfF@$]{0,2}"
    quoted = rf"""{prefix}\\*(?:"[^"]|'[^']|`[^`]|"\\*"\\*"|'\\*'\\*')"""
    typed = r": ?&?(?:'static )?[A-Za-z][\w.\[\]|<>?]{0,40} ?= ?"
    copula = "(?: (?:provided|supplied|given|used|is|was))?"
    space, escape = r"(?:\s|\\+[nrt])", ESCAPE
    return Shape(
        anchor=_ANCHOR,
        extent=partial(_value, keys),
        prefilter=(
            name + "(?:"
            # "password": "…", "password": 1, "password": {…}; the same in JSON inside a string
            rf"{quote}\]? *:?[:=]>? *(?:{quoted}|-?[0-9]|[\[{{])"
            # ['password', '…'], also in JSON
            r"""|\\*' *, ?b?\\*'|\\*" *, \\*"|\\+" *, ?\\+"|","(?:[^"\\]|\\.)*"[\])]"""
            # password: "…", password: 0p4que, password=…
            rf"|\]?{copula} *(?:: *(?:{quoted}|(?:(?:bot|ssws|api|key) )?{OPAQUE}{{5}})|:?=>? *[^\s=])"
            # {"name": "password", …, "value": "…"}, {"value": "…", "name": "password"}
            r'|"(?:,(?:"(?:type|value)":|-?[0-9]|[\[{])|\})'
            # the API key is 0p4que, <password>…, <add key="password" value="…"/>, <key>password</key>, password%3D…
            r"""| +(?:is:? |was )?(?:\\*["'])?[A-Za-z_.+/=~-]*[0-9]"""
            # password: str = "…"; a block of YAML
            rf"|{typed}{_PREFIX}[\"']|: ?(?:[|>][+-]?)?(?:\n|\\+n) *[^ ]"
            # b'password' in a list of pairs; {"columns":["password","user"],"data":; variable "password" {
            r"""|>","<bytes |"(?:,"[^"\\]*")*\],"data":|\\*" *\{"""
            rf"|(?:{quote})?(?:>|{space}+[\w:.-]+=)|<\\*/|{escape})",
            (
                rf"(?i){any_of(name.replace(' ', GAP) for name in IF_RANDOM)}{NUMBER}"
                rf"(?:(?:{quote})?\]?{copula} *(?:{typed}|:?[:=]>? *){prefix}(?:(?:{quote}){{1,3}}|`)?{OPAQUE}{{8}}|>|<\\*/|{escape}"
                # ('token', '…'), also in JSON
                rf"""|(?:\\*' *, ?\\*'|\\*" *, \\*"|\\+" *, ?\\+"){OPAQUE}{{8}}|","{OPAQUE}{{8}}{OPAQUE}*"[\])])"""
            ),
            rf"(?i)(?:[?&;]|u0026){any_of(IN_QUERIES)}=[^\s&]{{6}}",
            rf"""(?i)(?:^|[^a-z]|\\[nrt]){any_of(PASSES)}(?:\\*["'])? *[:=] *[^ \[{{]""",
            # --password …, and '--password', '…'
            r"(?i)(?:--|(?:^|[^\w-])-(?:pass|pwd|secret|token|api))[\w.-]*(?: +[^\s-]|\t|\\*[\"'],)",
        ),
        reach=200,
    )


def _value(keys: Keys, text: str, anchor: re.Match[str]) -> Span | None:
    """Return the span of the secret after *anchor*, without quotes and without the scheme of an authorization."""
    key = key_before(text, anchor.start())
    sensitivity = keys.sensitivity(key)
    start, sign = anchor.end(), anchor["sign"]
    if sensitivity is None and sign == "=" and _OPENING.match(text, start):
        typed = _TYPED.search(text[max(0, anchor.start() - _LONGEST) : start])  # api_key: str = "…"
        sensitivity, key = (keys.sensitivity(typed["key"]), typed["key"]) if typed else (None, key)
    if sensitivity is None:
        return _in_context(text, key.rpartition(" ")[2].lower(), anchor)
    if sign == "," and not (anchor["close"] and _comes_after(text, anchor.start() - len(key), _PAIR_START)):
        return None
    if opening := _OPENING.match(text, start):
        start = opening.end()
        end = _closing(text, start, len(opening["escape"]), opening["quote"][0])
        value = text[start:end]
        if opening["quote"] == "`" and "${" in value[:READ]:
            return None
        if value[:1] in tuple(")]},") or (sign == "," and not (is_opaque(value) and _PAIR_END.match(text, end))):
            return None
        return (start, end) if keys.hides(key, value) else None
    if sensitivity is Sensitivity.IF_RANDOM:
        return None if anchor["close"] else _random(text, start)
    if anchor["close"]:
        number = _NUMBER.match(text, start)
        return number.span() if number and keys.hides(key, number[0]) else None
    return _bare(keys, text, key, anchor)


def key_before(text: str, end: int) -> str:
    """Return the key that ends at *end*; empty if there is none."""
    start = max(0, end - _LONGEST)
    backwards = _KEY_REVERSED.match(text[start:end][::-1])
    key = backwards[0][::-1] if backwards else ""
    # In nested JSON, a letter after a backslash is part of an escape, not of the key.
    escaped = key[:1] in tuple("bfnrt") and text[end - len(key) - 1 : end - len(key)] == "\\"
    return key[1:] if escaped else key.removeprefix("-D")  # -Dapi.key=… sets a property of Java


def _comes_after(text: str, at: int, context: re.Pattern[str]) -> bool:
    """Return whether *context* ends at *at*."""
    return context.search(text[max(0, at - 24) : at]) is not None


def _in_context(text: str, key: str, anchor: re.Match[str]) -> Span | None:
    """Return the span of a value that is secret in some contexts: a random ``?key=…``, or ``pass: …`` after a user."""
    key_start, start = anchor.start() - len(key), anchor.end()
    if key in IN_QUERIES and not (anchor["before"] or anchor["after"]) and _comes_after(text, key_start, _QUERY_START):
        head = _IN_QUERY.match(text, start, start + 4 * READ)
        whole = _IN_QUERY.match(text, start) if head and is_short_random(head[0]) else None
        return whole.span() if whole else None
    if key in PASSES and _BESIDE_USER.search(text, max(0, key_start - _LONGEST), key_start):
        value = _SHORT_VALUE.match(text, start)
        return value.span(1) if value and is_argument(value[1]) else None
    return None


def _random(text: str, start: int) -> Span | None:
    head = _RANDOM_START.match(text, start)
    if head is None or begins_code(text, start) or not is_random(head[0]):
        return None
    run = _OPAQUE_RUN.match(text, start)
    return run.span() if run else None


def _bare(keys: Keys, text: str, key: str, anchor: re.Match[str]) -> Span | None:
    """Return the span of the unquoted value after *anchor*; None or empty if it is missing, prose or code."""
    start, sign = anchor.end(), anchor["sign"]
    if sign == ":" and key.lower().endswith(("cookie", "cookies")):
        cookies = _COOKIES.match(text, start)
        return cookies.span() if cookies else None
    if key.lower().endswith("authorization") and (signed := _SIGNED.match(text, start)):
        return signed.span()
    if sign == ":" and (lines := _block(keys, text, key, start)):
        return lines
    scheme = _SCHEME.match(text, start)
    start = scheme.end() if scheme else start
    if begins_code(text, start) or (sign == ":" and not _OPAQUE_START.match(text, start)):
        return None
    if keys.is_folder(key, text, start):  # before anything long is read
        return None
    word = _BARE.match(text, start)
    if word is None:
        return None
    if text.startswith(MASK, word.end()):  # the text before a mask was examined when the mask was inserted
        return word.end(), word.end()
    value = word[0].rstrip(")]}.:!?")
    if is_placeholder(word[0]):  # such as "sk-..."
        return None
    if not keys.hides(key, value) or is_reference(value, key):
        return None
    if sign == ":" and not _is_not_prose(text, key, value, anchor, start, scheme is not None):
        return None
    if sign != ":" and is_code(value) and _is_in_code(text, key, anchor):
        return None
    return start, start + len(value)


def _block(keys: Keys, text: str, key: str, start: int) -> Span | None:
    """Return the span of the values in the lines after a key of YAML: of a block, or of a list."""
    first = _FIRST_LINE.match(text, start)
    if first is None or not (is_short_random(first["value"]) and keys.hides(key, first["value"])):
        return None
    end = first.end("value")
    while (line := _NEXT_LINE.match(text, end)) and line["indent"] == first["indent"]:
        end = line.end()
    return first.start("value"), end


def _is_not_prose(text: str, key: str, value: str, anchor: re.Match[str], start: int, after_scheme: bool) -> bool:
    """Return whether *value* after a bare colon is not prose: it is opaque, or the only value on its line."""
    if _AFTER_SCHEME.fullmatch(value) if after_scheme else is_opaque(value):
        return True
    return (
        key[-4:].lower() not in ("tion", "tial", "ials", "rets", "ords", "keys")
        and is_argument(value)
        and _LINE_END.match(text, start + len(value)) is not None
        and _comes_after(text, anchor.start() - len(key), _LINE_START)
    )


def _is_in_code(text: str, key: str, anchor: re.Match[str]) -> bool:
    """Return whether the assignment looks like source code: ``a = b``, ``f(a=b)``."""
    return bool(anchor["before"] or anchor["after"]) or _comes_after(text, anchor.start() - len(key), _ARGUMENT_START)


def _closing(text: str, start: int, escape: int, quote: str) -> int:
    """
    Return the end of the string whose opening *quote* follows *escape* backslashes.

    In JSON nested n times, a quote has 2**n - 1 backslashes, and a quote inside the string has more. Without a closing
    quote, the string ends with its line.
    """
    for found in _QUOTE_OR_LINE_END.finditer(text, start):
        if found["quote"] is None:
            return found.start()
        backslashes = len(found["escape"])
        if found["quote"] == quote and (backslashes <= escape or (backslashes - escape) % (2 * escape + 2) == 0):
            return found.end() - 1 - min(backslashes, escape)
    return len(text)
