"""
Rules on the tools that a run called.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from ...run_data import Run, ToolCall
from ..scores import Verdict
from .values import short


def tool_called(
    run: Run,
    *,
    tool: str,
    times: int | None = None,
    at_least: int = 1,
    at_most: int | None = None,
    arguments: Mapping[str, Any] | None = None,
    succeeded: bool = False,
) -> Verdict:
    """
    The tool was called: at least once, or *times*, *at_least*, *at_most* times.

    Args:
        run: The run.
        tool: A name; ``*`` matches any characters.
        times: Exactly so many calls.
        at_least: So many calls or more.
        at_most: So many calls or fewer.
        arguments: Counts calls with these arguments only, see `matches`.
        succeeded: Counts calls that did not fail only.
    """
    if arguments is None and not succeeded and "*" not in tool:
        count = run.tool_names.count(tool)
    else:
        count = sum(
            (arguments is None or matches(call.arguments, arguments)) and not (succeeded and call.error is not None)
            for call in _calls(run, tool)
        )
    low, high = (times, times) if times is not None else (at_least, at_most)
    ok = count >= low and (high is None or count <= high)
    reason = f"{tool} was called {_times(count)}"
    if arguments is not None and not count and (others := _calls(run, tool)):
        reason += f" with these arguments; it was called with {short(others[0].arguments)}"
    elif not ok:
        reason += f", expected {_range(low, high)}"
    score = 1.0 if ok else min(count / low, 1.0) if low and count < low else 0.0
    return Verdict(score, ok, reason)


def tool_not_called(run: Run, *, tool: str, arguments: Mapping[str, Any] | None = None) -> Verdict:
    """The tool was not called; with *arguments*, not called with these arguments."""
    calls = [call for call in _calls(run, tool) if arguments is None or matches(call.arguments, arguments)]
    reason = f"{tool} was called {_times(len(calls))}"
    return Verdict(float(not calls), not calls, reason)


def tool_before(run: Run, *, first: str, then: str) -> Verdict:
    """Every call of the tool *then* comes after a call of *first*; a run without a call of *then* passes."""
    seen = False
    for name in run.tool_names:
        if fnmatchcase(name, then) and not seen:
            return Verdict(0.0, False, f"{name} was called before {first}")
        seen = seen or fnmatchcase(name, first)
    return Verdict(1.0, True, f"{first} came before {then}" if seen else f"{then} was not called")


def tool_calls_at_most(run: Run, *, limit: int) -> Verdict:
    """There were at most *limit* calls of tools."""
    count = len(run.tool_records)
    within = count <= limit
    return Verdict(1.0 if within else limit / count, within, f"{count} tool calls, {limit} allowed")


def matches(value: Any, wanted: Any) -> bool:
    """
    Return whether *value* has everything that *wanted* has.

    Mappings may have more members, texts may contain ``*``, everything else must be equal.
    """
    if isinstance(wanted, Mapping):
        return isinstance(value, Mapping) and all(
            key in value and matches(value[key], inner) for key, inner in wanted.items()
        )
    if isinstance(wanted, str) and "*" in wanted:
        return fnmatchcase(value if isinstance(value, str) else str(value), wanted)
    if isinstance(wanted, list):
        return isinstance(value, list) and len(value) == len(wanted) and all(map(matches, value, wanted))
    return bool(value == wanted)


def _calls(run: Run, tool: str) -> list[ToolCall]:
    return [call for call in run.tools if call.name == tool or ("*" in tool and fnmatchcase(call.name, tool))]


def _times(count: int) -> str:
    return _FEW_TIMES[count] if count < 3 else f"{count} times"


_FEW_TIMES = ("not once", "once", "twice")


def _range(low: int, high: int | None) -> str:
    if low == high:
        return f"exactly {low}"
    return f"{low} or more" if high is None else f"{low} to {high}"
