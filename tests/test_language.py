"""
The language of the tree: idioms that readers had to read twice stay out of code, tests and docs.

`python tests/test_language.py PATH...` lists what it finds under the given files and folders.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PLACES = (
    "fluxloop", "fluxloop_custom", "fluxloop_langchain", "fluxloop_langgraph", "fluxloop_pytest",
    "tests", "docs", "examples", "benchmarks",
    "README.md", "CHANGELOG.md", "Makefile", "pyproject.toml", ".ci",
)  # fmt: skip
SUFFIXES = {".py", ".md", ".toml", "", ".sh"}

WORN_OUT = {
    r"told|tells?|telling": "say what is recorded, reported, shown or passed",
    r"hears?|heard|hearing": "receives, is notified",
    r"speaks?|spoken|spoke|speaking": "streams, prints, supports",
    r"nobody|somebody|whoever|whom": "name the subject: the caller, the handler, the run, no code",
    r"of which": "use two sentences",
    r"(?<!there )(?:is|are|was|were) no (?!longer|more\b)[a-z-]+": "is not a ...",
    r"ke(?:ep|eps|pt|eping) back": "withhold, omit, suppress",
    r"t(?:ake|akes|aken|ook|aking) back": "discard, undo",
    r"st(?:and|ands|ood|anding) for": "represents, means",
    r"stands? in the": "is in the",
    r"says? so|said so": "reports it, documents it",
    r"learn(?:s|ed|t|ing)?": "find out, read, receive",
    r"s(?:ee|ees|een) to it": "ensure",
    r"(?:goes|go|going) by": "is named, uses",
    r"a (?:line|row|record|span|observation) (?:a|an|each) \w+": "per",
    r"(?:object|us|line) a (?:line|record|span|test|call|node|file)": "per",
    r"all the same|be it|for good|as ever|anew|at all events|in charge": "plain words",
    r"behind (?:our|its|their) back": "without FluxLoop knowing",
    r"under (?:our|its) (?:feet|hands|eyes)": "while we read it",
    r"does not know of|knows of": "has",
    r"lets? go of": "closes, releases",
    r"has a say|have a say": "has an effect",
    r"set-ups?": "client, configuration, settings",
    r"in force": "current",
    r"afresh": "again",
    r"bec(?:ame|omes?) of": "name the result or the count",
    r"troubles?": "problem",
    r"how loud": "severity",
}
"""Worn-out wordings as regular expressions, with what to write instead."""

PATTERN = re.compile(r"\b(?:" + "|".join(WORN_OUT) + r")\b", re.IGNORECASE)
EXEMPT = "language: quoted"
"""A line with this text quotes somebody else's wording, such as a prompt or a framework's message."""


def test_worn_out_wordings_stay_out_of_the_tree():
    """Code, tests and docs use plain technical English; each hit is listed with its line."""
    hits = [*findings(ROOT / place for place in PLACES)]

    assert hits == [], "\n" + "\n".join(hits)


def findings(places: Iterable[Path]) -> Iterator[str]:
    """Yield ``path:line: wording`` for each worn-out wording under *places*."""
    for place in places:
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if path.is_file() and path.suffix in SUFFIXES and path != Path(__file__):
                yield from _in_file(path)


def _in_file(path: Path) -> Iterator[str]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if EXEMPT not in line:
            for match in PATTERN.finditer(line):
                yield f"{path.relative_to(ROOT)}:{number}: {match[0]!r}"


if __name__ == "__main__":
    found = list(findings(Path(argument).resolve() for argument in sys.argv[1:]))
    print("\n".join(found) or "clean")  # noqa: T201
    sys.exit(bool(found))
