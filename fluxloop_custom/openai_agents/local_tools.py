"""
Answer the tools that the Agents SDK runs on this machine from a recording: shells, patches, computers, custom tools.

They keep the user's code in an attribute: a function, an editor, or a computer. While a replay is open anywhere, the
SDK reads stand-ins in its place, and the program its own code. A tool that the SDK reports no call of, so that nothing
was recorded, does not run in a replay.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import isawaitable, iscoroutinefunction
from typing import Any
from weakref import WeakKeyDictionary

import agents
from agents.tracing import get_current_span

from fluxloop import ObservationType
from fluxloop.bridge import (
    Answer,
    ClassMethodsSeam,
    Node,
    SharedSeam,
    add_whole,
    ask,
    current,
    is_of_type,
    is_recorded_as,
    on_keeping,
    register_seam,
    replaying,
    take_change,
)

from . import internals
from .function_tools import read_arguments

_TOOL = ObservationType.TOOL
_OPERATIONS = ("create_file", "update_file", "delete_file")
_ACTIONS = ("click", "double_click", "drag", "keypress", "move", "screenshot", "scroll", "type", "wait")
_asked: WeakKeyDictionary[Node, Answer | None] = WeakKeyDictionary()
"""The answers of the calls that are asked about more than once: a call may have several operations or actions."""


def _answer(name: str, code: object) -> Answer | None:
    """Return the recorded answer of the call of the tool *name* that is made here; None if *code* is to run."""
    replay, node = replaying.get(), current()
    if replay is None or is_recorded_as(_TOOL, code):  # the latter is answered inside
        return None
    if node is None or not is_of_type(node, _TOOL):
        if replay.runs_live(_TOOL, name, node):
            return None
        raise replay.fail(
            f"a call of {name} is not recorded here, so it has no answer, and was not run. Record it with "
            f"@fluxloop.tool(name={name!r}) on the function that it calls, or let it run with live=({name!r},)"
        )
    if node not in _asked:
        given = getattr(getattr(get_current_span(), "span_data", None), "input", None)
        _asked[node] = ask(node, given=read_arguments(given))
        change = take_change()
        if change is not None and (change.has_input or change.model is not None):
            raise replay.fail(f"fork: {name} runs on this machine, and can be given an output only: use output=")
    return _asked[node]


def _value(answer: Answer) -> Any:
    """Return the recorded result, or raise the recorded error, whose text is what the SDK gave the model of it."""
    if (error := answer.error()) is not None:
        if isinstance(text := answer.recorded.output, str):
            error.args = (text,)
        raise error
    return answer.value()


def _call(name: str, code: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """Return the answer of *code*, a function of the tool *name*, or call it: in either case perhaps an awaitable."""
    answer = _answer(name, code)
    if answer is not None:
        return _answered(answer)
    node, result = current(), code(*args)
    return _kept_later(node, result) if isawaitable(result) else _kept(node, result)


async def _answered(answer: Answer) -> Any:
    await answer.await_()
    return _value(answer)


async def _kept_later(node: Node | None, result: Any) -> Any:
    return _kept(node, await result)


def _kept(node: Node | None, result: Any) -> Any:
    """Return *result*, and keep it whole if the call is recorded so: the SDK reports its text only."""
    observation: Any = getattr(node, "observation", node)
    if node is not None and is_of_type(node, _TOOL) and observation.trace.recorder.captures_output:
        add_whole(observation, value=result)
    return result


def _function(tool: Any, code: Any) -> Any:
    """Return what stands in for the function *code* of *tool*."""

    def called(*args: Any) -> Any:
        return _call(tool.name, code, args)

    return called


class _Editor:
    """Stands in for the editor of a patch tool, whose call may have several operations."""

    def __init__(self, tool: Any, editor: Any) -> None:
        self._tool, self._editor = tool, editor

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._editor, name)
        return self._operation(found) if name in _OPERATIONS else found

    def _operation(self, method: Any) -> Any:
        async def operation(*args: Any) -> Any:
            answer, node = _answer(self._tool.name, method), current()
            done = _operations.setdefault(node, []) if node is not None else []
            if answer is not None:
                if not done:
                    await answer.await_()
                done.append(None)
                found = _value(answer)
                if isinstance(found, list):
                    return found[len(done) - 1] if len(done) <= len(found) else None
                return found if len(done) == 1 else None  # one text for all
            result = method(*args)
            done.append(await result if isawaitable(result) else result)
            _kept(node, done)
            return done[-1]

        return operation


_operations: WeakKeyDictionary[Node, list[Any]] = WeakKeyDictionary()
"""The results of the operations of each running call."""


class _Attribute:
    """The attribute with the user's code of a class of tools, while the seam is open: the SDK reads stand-ins."""

    def __init__(self, name: str, stand_in: Callable[[Any, Any], Any], default: Any) -> None:
        self._name, self._stand_in, self.default = name, stand_in, default

    def __get__(self, tool: Any, owner: type) -> Any:
        if tool is None:
            return self.default
        try:
            code = tool.__dict__[self._name]
        except KeyError:
            raise AttributeError(self._name) from None
        return self._stand_in(tool, code) if code is not None and internals.is_called_by_sdk(1) else code

    def __set__(self, tool: Any, value: Any) -> None:
        tool.__dict__[self._name] = value


_MISSING: Any = object()
"""In place of what a class has not."""

_ATTRIBUTES = {
    "ShellTool": ("executor", _function),
    "LocalShellTool": ("executor", _function),
    "CustomTool": ("on_invoke_tool", _function),
    "ApplyPatchTool": ("editor", _Editor),
}
"""For each class of tools, the attribute with the user's code, and what stands in for that. Releases lack some."""


class _AttributesSeam:
    """Replaces the attributes of the classes of tools."""

    def __init__(self) -> None:
        self._before: list[tuple[Any, str, Any]] = []
        self.is_open = False
        self.base: Any = agents.LocalShellTool

    def open(self) -> None:
        """See `fluxloop.answering.Seam`."""
        self.is_open = True
        for class_name, (name, stand_in) in _ATTRIBUTES.items():
            if (tools := getattr(agents, class_name, None)) is not None:
                before = vars(tools).get(name, _MISSING)
                self._before.append((tools, name, before))
                setattr(tools, name, _Attribute(name, stand_in, before))

    def close(self) -> None:
        """See `fluxloop.answering.Seam`."""
        while self._before:
            tools, name, before = self._before.pop()
            if before is _MISSING:
                delattr(tools, name)
            else:
                setattr(tools, name, before)
        self.is_open = False


def _action(original: Any) -> Any:
    """Return the replacement of a method of a computer: the SDK's calls of it do nothing, and get the screenshot."""

    def result(answer: Answer) -> str | None:
        found = _value(answer)  # a URL with the data of the screenshot
        return str(found).rpartition("base64,")[2] if original.__name__ == "screenshot" else None

    replacement: Any
    if iscoroutinefunction(original):

        @wraps(original)
        async def replacement(self: Any, *args: Any, **kwargs: Any) -> Any:
            answer = _answer("computer", original) if internals.is_called_by_sdk(1) else None
            return await original(self, *args, **kwargs) if answer is None else result(answer)

    else:

        @wraps(original)
        def replacement(self: Any, *args: Any, **kwargs: Any) -> Any:
            answer = _answer("computer", original) if internals.is_called_by_sdk(1) else None
            return original(self, *args, **kwargs) if answer is None else result(answer)

    return replacement


_ATTRIBUTES_SEAM = SharedSeam(_AttributesSeam())


def _on_keeping(is_on: bool) -> None:
    (_ATTRIBUTES_SEAM.open if is_on else _ATTRIBUTES_SEAM.close)("recordings")


def register() -> None:
    """Answer these tools in replays, and keep their results whole where answers are kept."""
    on_keeping(__name__, _on_keeping)
    register_seam(_ATTRIBUTES_SEAM)
    register_seam(ClassMethodsSeam(agents.Computer, dict.fromkeys(_ACTIONS, _action)))
    register_seam(ClassMethodsSeam(agents.AsyncComputer, dict.fromkeys(_ACTIONS, _action)))
