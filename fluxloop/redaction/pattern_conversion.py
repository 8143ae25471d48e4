"""
Convert a user's regular expression for the prefilter.

The prefilter scans JSON in UTF-8. A pattern can be converted if it contains only characters that JSON does not escape.
Where it may match a character outside ASCII, the converted pattern accepts any of these. Patterns with line breaks,
quotes, ``.``, anchors or lookaround are not converted, nor are repeats of a hundred and more, which hyperscan would
take minutes to compile.
"""

from __future__ import annotations

import re

_PLAIN = r"""[A-Za-z0-9 _,:;!#%&@~/=<>'-]"""
_IN_SET = r"""[A-Za-z0-9 _.,:;!\#%&@~/=<>'$()*+?{|}]"""
_PUNCTUATION = r"""\\[ !#$%&'()*+,\-./:;<=>?@\[\]^_`{|}~]"""

_PART = re.compile(
    rf"""
      (?P<atom>{_PLAIN}|{_PUNCTUATION}|\\[dw]
        |\[-?(?:[A-Z]-[A-Z]|[a-z]-[a-z]|[0-9]-[0-9]|\\[dw]|{_PUNCTUATION}|{_IN_SET})+-?\])
    | (?P<repeat>(?:[*+?]|\{{[0-9]{{1,2}}(?:,[0-9]{{0,2}})?\}})\??(?![*+?{{]))
    | (?P<group>\(\?P<\w+>|\(\?:|\((?!\?))
    | (?P<rest>[)|])
    | (?P<edge>\\b)
    """,
    re.VERBOSE,
)

_FLAGS = re.compile(r"\A\(\?[a-zL]+\)")
"""Inline flags at the start, which the compiled pattern has as attributes."""

_BEYOND_ASCII = r"[\x80-\xff]{2,4}"
"""One character outside ASCII, in UTF-8."""


def to_json_pattern(pattern: re.Pattern[str]) -> str | None:
    """
    Return an expression over JSON in UTF-8 that matches wherever *pattern* matches in the text.

    Returns:
        The expression, or None if *pattern* cannot be converted.
    """
    if pattern.flags & (re.VERBOSE | re.LOCALE):
        return None
    caseless = bool(pattern.flags & re.IGNORECASE)
    source = _FLAGS.sub("", pattern.pattern)
    parts, at = ["(?i)" if caseless else ""], 0
    while at < len(source):
        part = _PART.match(source, at)
        if part is None:
            return None
        at = part.end()
        parts.append(_converted(part, caseless, pattern.flags & re.ASCII != 0))
    return "".join(parts)


def _converted(part: re.Match[str], caseless: bool, ascii_only: bool) -> str:
    text = part[0]
    if part["edge"]:
        return ""
    if part["group"]:
        return "(?:"
    # \d and \w also match other scripts; case-insensitively, "k" also matches the kelvin sign.
    if part["atom"] and not ascii_only and (caseless or r"\d" in text or r"\w" in text):
        return f"(?:{text}|{_BEYOND_ASCII})"
    return text
