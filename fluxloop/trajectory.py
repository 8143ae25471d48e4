"""
The calls of a trace, for assertions: which tools ran, how often, with which arguments, and in which order.

Everything here works in a plain ``assert``. A question that fails answers with a `Verdict` that says why, in one line,
so that a test runner shows the reason instead of ``False``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Protocol, TypeVar, overload

MAX_SHOWN = 5
"""Calls that a message shows."""
MAX_TEXT = 60
"""Characters of a value that a message shows."""


class Call(Protocol):
    """What is needed of an observation."""

    name: str
    input: Any


CallT = TypeVar("CallT", bound=Call)


class Verdict:
    """The answer to a question about calls: true or false, with the reason as its text if it is false."""

    __slots__ = ("_holds", "reason")

    def __init__(self, holds: bool, reason: str) -> None:
        self._holds = holds
        self.reason = "" if holds else reason

    def __bool__(self) -> bool:
        return self._holds

    def __eq__(self, other: object) -> bool:
        return self._holds == bool(other) if isinstance(other, (bool, Verdict)) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._holds)

    def __repr__(self) -> str:
        return "True" if self._holds else self.reason


class Calls(Sequence[CallT]):
    """
    Calls in the order of their start. It equals a list of names: ``trace.tool_calls == ["search", "book"]``.

    Arguments are compared with ``==``, so `unittest.mock.ANY` and the types of ``dirty-equals`` work as expected
    values. A call may have more arguments than a question names.
    """

    def __init__(self, calls: Iterable[CallT] = (), subject: str = "no tool") -> None:
        self._calls = list(calls)
        self._subject = subject

    @overload
    def __getitem__(self, index: int) -> CallT: ...
    @overload
    def __getitem__(self, index: slice) -> Calls[CallT]: ...
    def __getitem__(self, index: Any) -> Any:
        found = self._calls[index]
        return Calls(found, self._subject) if isinstance(index, slice) else found

    def __len__(self) -> int:
        return len(self._calls)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Calls):
            return self._calls == other._calls
        if not isinstance(other, (list, tuple)):
            return NotImplemented
        return len(other) == len(self) and all(
            call.name == wanted if isinstance(wanted, str) else call == wanted
            for call, wanted in zip(self._calls, other, strict=True)
        )

    __hash__ = None  # type: ignore[assignment]  # as a list

    def __repr__(self) -> str:
        shown = [_shown(call) for call in self._calls[:MAX_SHOWN]]
        more = len(self) - len(shown)
        return f"[{', '.join(shown)}{f', … {more} more' if more else ''}]"

    @property
    def calls(self) -> list[CallT]:
        """The calls as a list: ``trace.tools("search").calls[0].input``."""
        return list(self._calls)

    @property
    def names(self) -> list[str]:
        """The names of the calls."""
        return [call.name for call in self._calls]

    @property
    def called(self) -> bool:
        """Whether there is any call."""
        return bool(self._calls)

    @property
    def count(self) -> int:  # type: ignore[override]  # the number of calls; `Sequence.count` would count equal ones
        """The number of calls."""
        return len(self._calls)

    def called_with(self, *input: object, **arguments: object) -> Verdict:
        """
        Return whether a call had these arguments.

        Args:
            input: The whole input, instead of arguments by name.
            arguments: Arguments by name.
        """
        wanted = _wanted(input, arguments)
        return Verdict(any(_fits(call, input, arguments) for call in self._calls), f"no call with {wanted}: {self!r}")

    def called_once_with(self, *input: object, **arguments: object) -> Verdict:
        """Return whether there is exactly one call, and it had these arguments; see `called_with`."""
        if len(self._calls) != 1:
            return Verdict(False, f"{self._subject} was called {_times(len(self._calls))}: {self!r}")
        return self.called_with(*input, **arguments)

    def before(self, first: str, second: str) -> Verdict:
        """Return whether *first* was called, and its first call started before any call of *second*."""
        names = self.names
        if missing := [name for name in (first, second) if name not in names]:
            return Verdict(False, f"{missing[0]!r} was not called: {names}")
        return Verdict(names.index(first) < names.index(second), f"{second!r} was called first: {names}")

    def in_order(self, *names: str) -> Verdict:
        """Return whether *names* were called in this order; other calls may come between them."""
        following = iter(self.names)
        missing = next((name for name in names if name not in following), None)
        return Verdict(missing is None, f"{missing!r} is not called in its place: {self.names}")

    def unordered(self, *names: str) -> Verdict:
        """Return whether exactly *names* were called, in any order, each as often as it is named."""
        wanted, found = Counter(names), Counter(self.names)
        return Verdict(wanted == found, _difference(wanted - found, found - wanted, self.names))

    def includes(self, *names: str) -> Verdict:
        """Return whether *names* were called, in any order, each at least as often as it is named."""
        missing = Counter(names) - Counter(self.names)
        return Verdict(not missing, _difference(missing, Counter(), self.names))

    def only(self, *names: str) -> Verdict:
        """Return whether nothing but *names* was called."""
        other = Counter(name for name in self.names if name not in names)
        return Verdict(not other, _difference(Counter(), other, self.names))


def _fits(call: Call, whole: tuple[object, ...], arguments: dict[str, object]) -> bool:
    if whole and not any(call.input == wanted for wanted in whole):
        return False
    given = call.input if isinstance(call.input, dict) else {}
    return all(name in given and given[name] == wanted for name, wanted in arguments.items())


def _wanted(whole: tuple[object, ...], arguments: dict[str, object]) -> str:
    return ", ".join([*map(_short, whole), *(f"{name}={_short(value)}" for name, value in arguments.items())])


def _shown(call: Call) -> str:
    given = call.input
    inside = _wanted((), given) if isinstance(given, dict) else "" if given is None else _short(given)
    return f"{call.name}({inside})"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _difference(missing: Counter[str], other: Counter[str], names: list[str]) -> str:
    parts = [f"missing {sorted(missing.elements())}"] if missing else []
    parts += [f"unexpected {sorted(other.elements())}"] if other else []
    return f"{' and '.join(parts)}: {names}"
