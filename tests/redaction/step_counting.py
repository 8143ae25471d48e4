"""
Count the steps of regular expressions, so that a test can compare work instead of time.

`counted` imports `fluxloop.redaction` again with patterns that count: each match also runs through a small backtracking
matcher which tries what `re` tries, in the same order, and adds one for each character and alternative it examines. Both
must agree on every match.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any
from unittest.mock import patch

Matcher = Callable[[int], "int | None"]
"""Given a position: where the rest of the pattern ends, or None."""


class Steps:
    """The count, and the text under examination."""

    def __init__(self) -> None:
        self.taken = 0
        self.text = ""
        self.end = 0


class CountingPattern:
    """A compiled pattern that counts the steps of its matches."""

    def __init__(self, real: re.Pattern[str], steps: Steps) -> None:
        self.real = real
        self.pattern, self.flags, self.groupindex = real.pattern, real.flags, real.groupindex
        self.steps = steps
        self.run = _sequence(re._parser.parse(real.pattern, real.flags), real.flags, steps, lambda at: at)  # type: ignore[attr-defined]

    def match(self, text: str, pos: int = 0, endpos: int = sys.maxsize) -> re.Match[str] | None:
        found = self.real.match(text, pos, endpos)
        self._count(text, pos, endpos, found)
        return found

    def fullmatch(self, text: str, pos: int = 0, endpos: int = sys.maxsize) -> re.Match[str] | None:
        self._count(text, pos, endpos)
        return self.real.fullmatch(text, pos, endpos)

    def search(self, text: str, pos: int = 0, endpos: int = sys.maxsize) -> re.Match[str] | None:
        return next(self.finditer(text, pos, endpos), None)

    def finditer(self, text: str, pos: int = 0, endpos: int = sys.maxsize) -> Iterator[re.Match[str]]:
        at = pos
        for found in self.real.finditer(text, pos, endpos):
            for start in range(at, found.start()):
                self._count(text, start, endpos, None)
            self._count(text, found.start(), endpos, found)
            at = max(found.end(), found.start() + 1)
            yield found
        for start in range(at, min(len(text), endpos) + 1):
            self._count(text, start, endpos, None)

    def sub(self, replacement: Any, text: str) -> str:
        list(self.finditer(text))
        return self.real.sub(replacement, text)

    def _count(self, text: str, pos: int, endpos: int, expected: Any = ...) -> None:
        steps = self.steps
        steps.text, steps.end = text, min(len(text), endpos)
        end = self.run(pos)
        if expected is not ...:
            assert end == (expected.end() if expected else None), (self.pattern, text[pos : pos + 80], end, expected)


@contextmanager
def counted() -> Iterator[tuple[ModuleType, Steps]]:
    """Yield `fluxloop.redaction` with patterns that count, without its prefilter, and the steps taken so far."""
    steps = Steps()
    compile_really = re.compile

    def compile_counting(pattern: Any, flags: int = 0) -> Any:
        return CountingPattern(compile_really(pattern, flags), steps) if isinstance(pattern, str) else pattern

    kept = {name: module for name, module in sys.modules.items() if name.startswith("fluxloop.redaction")}
    parent = sys.modules["fluxloop"]
    package = parent.__dict__.get("redaction")
    for name in kept:
        del sys.modules[name]
    try:
        with patch.object(re, "compile", compile_counting), patch.dict(sys.modules, {"hyperscan": None}):
            import fluxloop.redaction as fresh

            yield fresh, steps
    finally:
        for name in [name for name in sys.modules if name.startswith("fluxloop.redaction")]:
            del sys.modules[name]
        sys.modules.update(kept)
        if package is not None:
            parent.redaction = package  # type: ignore[attr-defined]


def _sequence(items: Any, flags: int, steps: Steps, then: Matcher) -> Matcher:
    for operation, argument in reversed(list(items)):
        then = _node(str(operation), argument, flags, steps, then)
    return then


def _node(operation: str, argument: Any, flags: int, steps: Steps, then: Matcher) -> Matcher:
    if operation in ("LITERAL", "NOT_LITERAL", "ANY", "IN"):
        return _character(_test(operation, argument, flags), steps, then)
    if operation in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
        return _repeat(operation, argument, flags, steps, then)
    if operation == "SUBPATTERN":
        _, added, removed, inner = argument
        return _sequence(inner, (flags | added) & ~removed, steps, then)
    if operation == "BRANCH":
        return _branch(argument[1], flags, steps, then)
    if operation == "ATOMIC_GROUP":
        inner = _sequence(argument, flags, steps, lambda at: at)
        return lambda at: None if (end := inner(at)) is None else then(end)
    if operation in ("ASSERT", "ASSERT_NOT"):
        return _assertion(operation == "ASSERT", argument, flags, steps, then)
    if operation == "AT":
        return _position(str(argument), flags, steps, then)
    raise NotImplementedError(operation)


def _test(operation: str, argument: Any, flags: int) -> Callable[[str], bool]:
    """Return a test of one character, with its answers remembered."""
    if operation == "ANY":
        source = "."
    elif operation == "IN":
        source = None
    else:
        source = f"[{'^' if operation == 'NOT_LITERAL' else ''}{re.escape(chr(argument))}]"
    if source is None:
        source = "[" + "".join(_member(str(name), value) for name, value in argument) + "]"
    kind = _really_compile(source, flags & (re.IGNORECASE | re.ASCII | re.DOTALL))
    known: dict[str, bool] = {}

    def test(character: str) -> bool:
        if character not in known:
            known[character] = kind.match(character) is not None
        return known[character]

    return test


_really_compile = re.compile
_CATEGORIES = {"DIGIT": r"\d", "NOT_DIGIT": r"\D", "SPACE": r"\s", "NOT_SPACE": r"\S", "WORD": r"\w", "NOT_WORD": r"\W"}


def _member(name: str, value: Any) -> str:
    if name == "NEGATE":
        return "^"
    if name == "LITERAL":
        return re.escape(chr(value))
    if name == "RANGE":
        return f"{re.escape(chr(value[0]))}-{re.escape(chr(value[1]))}"
    return _CATEGORIES[str(value).removeprefix("CATEGORY_")]


def _character(test: Callable[[str], bool], steps: Steps, then: Matcher) -> Matcher:
    def match(at: int) -> int | None:
        steps.taken += 1
        return then(at + 1) if at < steps.end and test(steps.text[at]) else None

    return match


def _repeat(operation: str, argument: Any, flags: int, steps: Steps, then: Matcher) -> Matcher:
    least, most, inner = argument
    most = sys.maxsize if most is re._constants.MAXREPEAT else int(most)  # type: ignore[attr-defined]
    alone = list(inner)
    if len(alone) == 1 and str(alone[0][0]) in ("LITERAL", "NOT_LITERAL", "ANY", "IN"):
        return _repeat_character(operation, least, most, _test(str(alone[0][0]), alone[0][1], flags), steps, then)
    once = _sequence(inner, flags, steps, lambda at: at)
    if operation == "POSSESSIVE_REPEAT":

        def possessive(at: int) -> int | None:
            count = 0
            while count < most and (end := once(at)) is not None and not (end == at and count >= least):
                at, count = end, count + 1
            return then(at) if count >= least else None

        return possessive

    def attempt(at: int, count: int) -> int | None:
        def more() -> int | None:
            if count >= most:
                return None
            body = _sequence(
                inner, flags, steps, lambda end: attempt(end, count + 1) if end > at or count < least else None
            )
            return body(at)

        if count < least:
            return more()
        if operation == "MIN_REPEAT":
            return end if (end := then(at)) is not None else more()
        return end if (end := more()) is not None else then(at)

    return lambda at: attempt(at, 0)


def _repeat_character(
    operation: str, least: int, most: int, test: Callable[[str], bool], steps: Steps, then: Matcher
) -> Matcher:
    def match(at: int) -> int | None:
        text, end = steps.text, steps.end
        stop, limit = at, min(end, at + most)
        if operation == "MIN_REPEAT":
            while True:
                steps.taken += 1
                if stop - at >= least and (found := then(stop)) is not None:
                    return found
                if stop >= limit or not test(text[stop]):
                    return None
                stop += 1
        while stop < limit and test(text[stop]):
            stop += 1
        steps.taken += stop - at + 1
        if operation == "POSSESSIVE_REPEAT":
            return then(stop) if stop - at >= least else None
        for last in range(stop, at + least - 1, -1):
            if (found := then(last)) is not None:
                return found
        return None

    return match


def _branch(choices: Any, flags: int, steps: Steps, then: Matcher) -> Matcher:
    """Alternatives; as in `re`, those that begin with another literal cost nothing."""
    made = []
    for choice in choices:
        first = next(iter(choice), None)
        literal = chr(first[1]) if first and str(first[0]) == "LITERAL" and not flags & re.IGNORECASE else None
        made.append((literal, _sequence(choice, flags, steps, then)))
    by_first: dict[str, list[Matcher]] = {}

    def match(at: int) -> int | None:
        character = steps.text[at] if at < steps.end else ""
        if character not in by_first:
            by_first[character] = [matcher for literal, matcher in made if literal in (None, character)]
        for matcher in by_first[character]:
            steps.taken += 1
            if (end := matcher(at)) is not None:
                return end
        return None

    return match


def _assertion(wanted: bool, argument: Any, flags: int, steps: Steps, then: Matcher) -> Matcher:
    direction, inner = argument
    width = inner.getwidth()[0] if direction < 0 else 0
    look = _sequence(inner, flags, steps, lambda at: at)

    def match(at: int) -> int | None:
        found = at >= width and look(at - width) is not None
        return then(at) if found == wanted else None

    return match


def _position(where: str, flags: int, steps: Steps, then: Matcher) -> Matcher:
    word = _really_compile(r"\w", flags & re.ASCII)

    def holds(at: int) -> bool:
        text, end = steps.text, steps.end
        if where == "AT_BEGINNING_STRING" or where == "AT_BEGINNING":
            return at == 0
        if where == "AT_END_STRING":
            return at == end
        if where == "AT_END":
            return at == end or (at == end - 1 and text[at] == "\n")
        sides = [0 <= side < end and word.match(text[side]) is not None for side in (at - 1, at)]
        return (sides[0] != sides[1]) == (where == "AT_BOUNDARY")

    def match(at: int) -> int | None:
        steps.taken += 1
        return then(at) if holds(at) else None

    return match
