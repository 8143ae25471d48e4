"""
Rules on the text of the output, or of another value of the run.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from ...run_data import Run
from ..scores import NotApplicable, Verdict
from .values import short, text_at, value_at


def output_not_empty(run: Run, *, target: str = "output") -> Verdict:
    """The value is not empty: not None, not blank text, not an empty list or mapping."""
    value = value_at(run, target)
    if (not value or value.isspace()) if isinstance(value, str) else value is None or value in ([], {}):
        return Verdict(0.0, False, f"{target} is empty")
    return Verdict(1.0, True, f"{target} has a value")


def contains(
    run: Run,
    *,
    keywords: Sequence[str | float] | str,
    target: str = "output",
    case_sensitive: bool = False,
    match: Literal["all", "any"] = "all",
) -> Verdict:
    """The text has all *keywords*; the score is the share that was found. With ``match: any`` one is enough."""
    wanted, text = _words(keywords, case_sensitive), _text(run, target, case_sensitive)
    missing = [word for word in wanted if word not in text]
    if match == "any":
        found = len(missing) < len(wanted)
        return Verdict(float(found), found, "found one of them" if found else f"has none of {', '.join(wanted)}")
    score = 1 - len(missing) / len(wanted)
    return Verdict(score, not missing, f"lacks {', '.join(missing)}" if missing else "found all keywords")


def not_contains(
    run: Run, *, keywords: Sequence[str | float] | str, target: str = "output", case_sensitive: bool = False
) -> Verdict:
    """The text has none of *keywords*."""
    text = _text(run, target, case_sensitive)
    found = [word for word in _words(keywords, case_sensitive) if word in text]
    return Verdict(float(not found), not found, f"contains {', '.join(found)}" if found else "contains none of them")


def matches_regex(run: Run, *, pattern: Any, target: str = "output", flags: str = "") -> Verdict:
    """A part of the text matches *pattern*, a Python regular expression; *flags* is any of ``imsx``."""
    found = pattern.search(text_at(run, target))
    reason = f"matches at {short(found[0])}" if found else f"{target} does not match {pattern.pattern}"
    return Verdict(float(bool(found)), bool(found), reason)


def not_matches_regex(run: Run, *, pattern: Any, target: str = "output", flags: str = "") -> Verdict:
    """No part of the text matches *pattern*."""
    found = pattern.search(text_at(run, target))
    reason = f"matches at {short(found[0])}" if found else "does not match"
    return Verdict(float(not found), not found, reason)


def equals(
    run: Run,
    *,
    target: str = "output",
    expected: Any = None,
    expected_path: str = "expected",
    case_sensitive: bool = True,
) -> Verdict:
    """The value equals *expected*, or the value at *expected_path*. Texts are compared without outer white space."""
    wanted, value = _expected(run, expected, expected_path), value_at(run, target)
    if isinstance(wanted, str):
        text = text_at(run, target).strip()
        same = text == wanted.strip() if case_sensitive else text.lower() == wanted.strip().lower()
    else:
        same = value == wanted
    return Verdict(float(same), same, "equal" if same else f"expected {short(wanted)}, got {short(value)}")


def similarity(
    run: Run,
    *,
    target: str = "output",
    expected: Any = None,
    expected_path: str = "expected",
    min_score: float = 0.8,
    method: Literal["ratio", "difflib", "token_sort", "token_set", "partial"] = "ratio",
    case_sensitive: bool = False,
) -> Verdict:
    """
    The text is similar to the expected one; the score is the similarity of their beginnings from 0 to 1.

    *method* is a name of `SIMILARITIES`: ``ratio`` compares characters, ``token_sort`` and ``token_set`` compare words
    in any order, ``partial`` finds the best matching part.
    """
    from rapidfuzz import fuzz

    wanted = _expected(run, expected, expected_path)
    reference = wanted if isinstance(wanted, str) else short(wanted)
    text = text_at(run, target)
    if not case_sensitive:
        reference, text = reference.lower(), text.lower()
    score = getattr(fuzz, SIMILARITIES[method])(reference[:LONGEST_COMPARED], text[:LONGEST_COMPARED]) / 100
    return Verdict(score, score >= min_score, f"{score:.2f} similar, {min_score:.2f} required")


LONGEST_COMPARED = 20_000
"""Characters of each text that are compared: the time grows with their product."""

SIMILARITIES = {
    "ratio": "ratio",
    "difflib": "ratio",
    "token_sort": "token_sort_ratio",
    "token_set": "token_set_ratio",
    "partial": "partial_ratio",
}
"""The methods of `similarity`, and the functions of rapidfuzz.fuzz; ``difflib`` is what earlier packages had."""


def compile_pattern(options: dict[str, Any], base: Path) -> None:
    """Compile the pattern once."""
    flags = str(options.get("flags", "")).lower()
    unknown = set(flags) - set(_FLAGS)
    if unknown:
        raise ValueError(f"flags must be of {', '.join(_FLAGS)}, got {flags!r}")
    try:
        options["pattern"] = re.compile(str(options["pattern"]), sum(_FLAGS[flag] for flag in set(flags)))
    except re.error as error:
        raise ValueError(f"pattern is not a regular expression: {error}") from None


_FLAGS = {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL, "x": re.VERBOSE}


def _expected(run: Run, expected: Any, path: str) -> Any:
    wanted = value_at(run, path) if expected is None else expected
    if wanted is None:
        raise NotApplicable(f"the input has no value at {path}")
    return wanted


def _words(keywords: Sequence[str | float] | str, case_sensitive: bool) -> list[str]:
    words = [keywords] if isinstance(keywords, str) else [str(word) for word in keywords]
    if not words:
        raise NotApplicable("the list of keywords is empty")
    return words if case_sensitive else [word.lower() for word in words]


def _text(run: Run, target: str, case_sensitive: bool) -> str:
    text = text_at(run, target)
    return text if case_sensitive else text.lower()
