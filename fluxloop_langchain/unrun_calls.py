"""
Tool calls that never reach their tool: a middleware answers them, the tool is unknown, or a human rejects them.

LangChain reports the tools that run. The input of a node has the calls of the model, and its output the answers: a call
that is answered, and that no tool in the node has run for, is recorded when the node ends.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from langchain_core.messages import BaseMessage

from fluxloop.bridge import Entry, Ledger, ToolMatcher

from . import events, payloads
from .internals import is_command
from .runs import TYPES, Run

MAX_DEPTH = 4
"""The depth to which the output of a node is searched: a list of commands with an update that has a list."""


def pending_calls(given: Any) -> dict[str, Any]:
    """Return the tool calls that a node with the input *given* may answer, by id: those of the last message."""
    if type(given) is dict:
        if "messages" not in given and "tool_call" not in given:
            return _NONE
        held = given
    else:
        held = getattr(given, "__dict__", None) or {"messages": given}
    calls: Any = ()
    answered = set()
    if type(call := held.get("tool_call")) is dict:
        calls = [call]
    elif type(messages := held.get("messages")) is list:
        for one in reversed(messages):
            fields = one if type(one) is dict else getattr(one, "__dict__", None) or {}
            if fields.get("type") == "tool":
                answered.add(fields.get("tool_call_id"))
                continue
            calls = messages if fields.get("type") == "tool_call" else fields.get("tool_calls") or ()
            break
    if not calls:
        return _NONE
    calls = [call for call in calls if isinstance(call, dict) and call.get("id")]
    return {call["id"]: call for call in calls if call["id"] not in answered}


_NONE: dict[str, Any] = {}
"""No calls."""


def consume(run: Run) -> None:
    """Remove the call that the tool *run* answers from the pending calls of the nodes around it."""
    entry = run.parent
    while entry is not None:
        pending = entry.run.pending_calls
        if pending and _remove(pending, [run.name], run.extra.get("tool_call_id")):
            return
        entry = entry.parent


class CallConsumer(ToolMatcher):
    """Matches no TOOL in a node, but removes those that answer a pending call, which ``names()`` returns."""

    def matches(self, names: tuple[str, ...], func: object = None) -> bool:
        """As `ToolMatcher.matches`; always False."""
        _remove(self.names(), [name.rpartition(".")[2] for name in names])  # type: ignore[arg-type]
        return False


def call_consumer(run: Run) -> CallConsumer:
    """Return the consumer of the pending calls of *run*, for functions that the node calls without LangChain."""
    return CallConsumer(lambda: run.pending_calls or {}, events.PACKAGES)


def _remove(pending: dict[str, Any], names: Collection[str], call_id: str | None = None) -> bool:
    """Remove from *pending* the call *call_id*, or else one of a tool in *names*; return whether there was one."""
    if call_id is None:
        call_id = next((found for found, call in pending.items() if call.get("name") in names), None)
    return call_id is not None and pending.pop(call_id, None) is not None


def record(ledger: Ledger, entry: Entry, result: Any) -> None:
    """Record the pending calls of the node *entry* that its *result* answers."""
    run: Run = entry.run
    started = entry.observation.started if entry.is_recorded and entry.observation is not None else run.started
    for message in _tool_messages(result):
        call_id = payloads.tool_call_id(message)
        if call_id is None or (call := (run.pending_calls or {}).pop(call_id, None)) is None:
            continue
        key, name, outcome = object(), str(call.get("name") or "tool"), events.tool_outcome(entry, message, {})
        observation = ledger.start(key, TYPES["tool"], name, parent=entry, input=call.get("args"), run=run)
        if observation is not None and started is not None:
            observation.backdate(started)
        ledger.finish(key, **outcome)


def _tool_messages(value: Any, depth: int = MAX_DEPTH) -> Iterator[Any]:
    """Yield the tool messages in the output of a node: a message, a list, an update of the state, or commands."""
    if isinstance(value, BaseMessage):
        if value.type == "tool":
            yield value
    elif depth and isinstance(value, list | tuple | dict):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _tool_messages(one, depth - 1)
    elif depth and is_command(value):
        yield from _tool_messages(getattr(value, "update", None), depth - 1)
