"""
Every part of the Agents SDK that FluxLoop reads and that is not public API.

Stack frames, closures, private attributes and texts are read here and nowhere else; each docstring states what is
lost when a release changes them. A missing part is reported once, and only costs detail: never an exception, a wrong
status, or a trace that is sent over the network.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Mapping
from functools import cache, partial
from types import CellType, FrameType, FunctionType
from typing import Any, NamedTuple

import agents
from agents import FunctionTool, OpenAIResponsesModel, function_tool, items, tracing
from openai.types.chat import ChatCompletion
from openai.types.responses import Response

from fluxloop.bridge import note_missing

_missing = partial(note_missing, "fluxloop_custom.openai_agents")

MAX_FRAMES = 16
"""Frames examined per span: a processor is about ten frames below the function that opens the span."""


@cache
def probe() -> None:
    """Report what the installed release lacks. `processors` and `tool_call_here` report their parts themselves."""
    if function_in(function_tool(lambda: None, name_override="probe")) is None:
        _missing("the function in a FunctionTool", "the text that the SDK makes of a tool's error looks like a result")
    code = OpenAIResponsesModel.get_response.__code__
    if REDACTED not in code.co_consts and "__name__" not in code.co_names:
        _missing("the text of a redacted error", "errors other than a model's are recorded as the SDK words them")
    if hasattr(FunctionTool, "timeout_seconds") and _timeout_notice() is None:
        _missing("default_tool_timeout_error_message", "a tool took too long if its call did, hooks included")


# The processors and the exporter.


def processors() -> tuple[Any, ...] | None:
    """
    Return the SDK's processors, which no public function lists.

    None if a release keeps them elsewhere: `install` and `uninstall` then replace those of other libraries as well,
    with the public function, since the SDK's own exporter could be among them.
    """
    found = getattr(getattr(tracing.get_trace_provider(), "_multi_processor", None), "_processors", None)
    if not isinstance(found, tuple | list):
        _missing("TraceProvider._multi_processor", "install() replaces the processors of others as well")
        return None
    return tuple(found)


def is_off() -> bool:
    """Whether the SDK's tracing is switched off: a trace that is not recorded exports nothing."""
    return tracing.get_trace_provider().create_trace("fluxloop").export() is None


# The function in a tool.

_FUNCTION = "the_func"
"""The variable of `function_tool` that holds the user's function."""


def function_in(tool: Any) -> Any:
    """
    Return the user's function that *tool* calls; None if it has none, or keeps it elsewhere.

    Its variable is found by its name, or by the function, which the newest releases publish as ``__wrapped__``.
    Without it, the tool is recorded from outside: the text that the SDK makes of an error looks like a result.
    """
    wrapped = getattr(tool, "__wrapped__", None)
    for cells in _closures(tool):
        if _FUNCTION in cells:
            return cells[_FUNCTION]
        if wrapped is not None and any(content is wrapped for content in cells.values()):
            return wrapped
    return None


def functions_in(tool: Any) -> tuple[Any, ...]:
    """Return the user's functions that *tool* may call, among them the one that `function_in` would find."""
    held = [content for cells in _closures(tool) for content in cells.values()]
    return tuple(each for each in (getattr(tool, "__wrapped__", None), *held) if callable(each) and not in_sdk(each))


def invoker_of(tool: Any) -> Any:
    """
    Return the function that *tool* is invoked with: since 0.9, an attribute of an object that handles errors.

    None if the release has tools of another kind; they are then not recorded inside.
    """
    invoker = _attribute_of(tool)
    if invoker is None:
        _missing("FunctionTool.on_invoke_tool", "tools are not recorded inside")
    return getattr(invoker, "_invoke_tool_impl", invoker)


def _attribute_of(tool: Any) -> Any:
    """Return what is set as ``on_invoke_tool``; while a replay is open, reading the attribute returns its answers."""
    return getattr(tool, "__dict__", {}).get("on_invoke_tool") or getattr(tool, "on_invoke_tool", None)


def runs_agent(tool: Any) -> bool:
    """Whether *tool* runs an agent; if unknown, it is recorded as another tool is, with the run inside."""
    name = str(getattr(function_in(tool) or invoker_of(tool), "__qualname__", ""))
    return bool(getattr(tool, "_is_agent_tool", False)) or name.startswith("Agent.as_tool.")


def replaced(tool: Any, old: object, new: Any) -> Any:
    """Return a copy of *tool* that calls *new* in place of *old*, its function or its invoker."""
    ours = copy.copy(tool)
    invoker = _attribute_of(ours)
    ours.on_invoke_tool = _with(invoker, old, new)
    if _attribute_of(ours) is invoker and not isinstance(invoker, FunctionType):
        ours.on_invoke_tool = handler = copy.copy(invoker)  # the object that handles errors, with the tool it is for
        for name, value in vars(invoker).items():
            setattr(handler, name, ours if isinstance(value, FunctionTool) else _with(value, old, new))
    return ours


def _with(value: Any, old: object, new: Any, depth: int = 2) -> Any:
    """Return *new* for *old*, a copy of a function of the SDK's that closes over *old*, and else *value* itself."""
    if value is old:
        return new
    cells = _cells(value) if depth else {}
    changed = {name: _with(content, old, new, depth - 1) for name, content in cells.items()}
    if all(changed[name] is content for name, content in cells.items()):
        return value
    closure = tuple(CellType(content) for content in changed.values())
    made = FunctionType(value.__code__, value.__globals__, value.__name__, value.__defaults__, closure)
    made.__kwdefaults__, made.__annotations__ = value.__kwdefaults__, value.__annotations__
    made.__qualname__, made.__doc__, made.__module__ = value.__qualname__, value.__doc__, value.__module__
    made.__dict__.update(value.__dict__)
    return made


def _closures(tool: Any) -> list[Mapping[str, Any]]:
    """Return the variables that the functions of the SDK behind *tool* close over, outer ones first."""
    invoker = _attribute_of(tool)
    outer = [_cells(function) for function in (invoker, *getattr(invoker, "__dict__", {}).values())]
    return [*outer, *(_cells(content) for cells in outer for content in cells.values())]


def _cells(value: object) -> Mapping[str, Any]:
    """Return the variables that a function of the SDK's closes over; empty for other values, or if one is unset."""
    if not isinstance(value, FunctionType) or not in_sdk(value):
        return {}
    try:
        contents = [cell.cell_contents for cell in value.__closure__ or ()]
    except ValueError:
        return {}
    return dict(zip(value.__code__.co_freevars, contents, strict=True))


INVOKER: Any = getattr(agents.tool, "_FailureHandlingFunctionToolInvoker", None)
"""The class, since 0.9, of what `function_tool` invokes; without it, a replay replaces the attribute of the tool."""


def chat_messages(items: Any) -> list[Any] | None:
    """Return *items* as messages of Chat Completions, as the SDK sends and records them; None if it has changed."""
    try:
        from agents.models.chatcmpl_converter import Converter

        return list(Converter.items_to_messages(items))
    except Exception:  # without it, calls of Chat Completions are compared by the items
        return None


def output_items(message: Any) -> list[Any]:
    """Return a message of Chat Completions as items of the SDK."""
    from agents.models.chatcmpl_converter import Converter

    return list(Converter.message_to_output_items(message))


def in_sdk(value: Any) -> bool:
    """Whether *value*, a class or a function, is the SDK's."""
    return str(getattr(value, "__module__", "")).partition(".")[0] == agents.__name__


# The functions that run while a span starts or ends.

_TOOL, _CALL, _RESULT = "func_tool", "tool_call", "result"
"""Variables of the function that opens the span of a tool: the tool, the model's call of it, its result."""


def _runs_other(frame: FrameType | None) -> bool:
    """Whether the span is of a shell, an editor or a computer, which have a function of their own for it."""
    return frame is not None and frame.f_code.co_name == "with_tool_function_span"


def tool_call_here() -> tuple[Any, str | None]:
    """
    Return the tool, and the id of its call, whose span starts now; None for each one that is unknown.

    Without it, the tool is the one of its name among the tools that the model was given, and calls have no id.
    """
    frame, caller = _tool_frame(), _caller()
    known = {} if frame is None else frame.f_locals
    call_id = getattr(known.get(_CALL), "call_id", None)
    if call_id is None and caller is not None and _module(caller).startswith("agents.") and not _runs_other(caller):
        _missing(
            f"a local variable {_TOOL} or {_CALL}", "tool calls have no call id, and tools are found by their names"
        )
    return known.get(_TOOL), call_id if isinstance(call_id, str) else None


def awaits_approval(tool: Any) -> bool:
    """
    Whether the call of *tool*, which may need an approval and has no output as its span ends now, waits for it.

    Without the variables, every such call counts as waiting.
    """
    frame = _tool_frame()
    if frame is None:  # a shell, an editor or a computer always has an output after it ran
        return tool is not None or _runs_other(_caller())
    if _RESULT not in frame.f_locals and _RESULT in (*frame.f_code.co_varnames, *frame.f_code.co_cellvars):
        return True  # releases before 0.9 return before they assign it
    found = [getattr(value, "run_item", None) for value in frame.f_locals.values()]
    return any(item is not None and not isinstance(item, items.ToolCallOutputItem) for item in found)


def rejecting_guardrail(output: object) -> str | None:
    """
    Return the name of the input guardrail that put *output* in the place of a call of the tool whose span ends now.

    It is found by its public result. Without it, a call that a guardrail rejected ends as a success with that output.
    """
    frame = _tool_frame()
    known = {} if frame is None else frame.f_locals
    kind: Any = getattr(agents, "ToolInputGuardrailResult", ())
    for values in (*known.values(), *getattr(known.get("self"), "__dict__", {}).values()):
        for result in values if isinstance(values, list) else ():
            if isinstance(result, kind):
                behavior = result.output.behavior
                if behavior["type"] == "reject_content" and behavior["message"] == output:
                    return str(result.guardrail.get_name())
    return None


class ModelCall(NamedTuple):
    """The call of a model, by the parameters of the public ``Model`` interface."""

    model: Any
    instructions: Any
    input: Any
    includes_data: bool
    """Whether the run lets input, output and errors into the trace."""
    tools: tuple[Any, ...]
    handoffs: tuple[Any, ...]
    output_schema: Any
    is_streamed: bool


def model_call_here() -> ModelCall | None:
    """
    Return the call of the model whose span starts or ends now; None if it is unknown.

    Without it, a call that failed has no input, schemas are unknown, and tool calls that no tool got are not recorded.
    """
    frame = _caller()
    if frame is None or frame.f_code.co_name not in ("get_response", "stream_response"):
        return None
    get = frame.f_locals.get
    includes_data = getattr(get("tracing"), "include_data", None)
    if includes_data is None:
        return None
    return ModelCall(
        get("self"),
        get("system_instructions"),
        get("input"),
        bool(includes_data()),
        tuple(get("tools") or ()),
        tuple(get("handoffs") or ()),
        get("output_schema"),
        is_streamed=frame.f_code.co_name == "stream_response",
    )


def response_here() -> Response | ChatCompletion | None:
    """
    Return the provider's response to the model call whose span ends now with an error.

    It is found by its class, among the variables and their ``response``. Without it, a response that was paid for
    and refused, such as one that a content filter stopped, has neither output nor usage.
    """
    frame = _caller()
    for value in frame.f_locals.values() if frame is not None else ():
        for found in (value, getattr(value, "response", None)):
            if isinstance(found, Response | ChatCompletion):
                return found
    return None


def is_trace_of_run() -> bool:
    """Whether the SDK opened the trace that ends now for a run; else the program did, with ``trace()``."""
    frame = _caller()
    return frame is not None and _module(frame).startswith("agents.")


def _caller() -> FrameType | None:
    """Return the frame that starts or ends the span or trace: the first one outside the SDK's tracing package."""
    frame = _first(sys._getframe(2), _in_tracing)
    while frame is not None and (_in_tracing(frame) or _module(frame) == "contextlib"):
        frame = frame.f_back
    return frame


def _tool_frame() -> FrameType | None:
    """Return the frame of the function that opens the span of a tool."""
    return _first(sys._getframe(2), lambda frame: _TOOL in (*frame.f_code.co_varnames, *frame.f_code.co_cellvars))


def _first(frame: FrameType | None, matches: Callable[[FrameType], bool]) -> FrameType | None:
    for _ in range(MAX_FRAMES):
        if frame is None or matches(frame):
            return frame
        frame = frame.f_back
    return None


def _in_tracing(frame: FrameType) -> bool:
    return _module(frame).startswith("agents.tracing.")


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__"))


# Texts.


def has_timed_out(tool: Any, output: object, duration_s: float) -> bool:
    """
    Whether *output*, in place of what *tool* returns, is the text for a tool that took too long.

    A text that the program makes, or a later release in another way, is recognised by the duration of the call.
    """
    limit_s, notice = getattr(tool, "timeout_seconds", None), _timeout_notice()
    if limit_s is None:
        return False
    if notice is None or getattr(tool, "timeout_error_function", None) is not None:
        return isinstance(output, str) and duration_s >= limit_s
    return bool(output == notice(tool_name=tool.name, timeout_seconds=limit_s))


def _timeout_notice() -> Any:
    return getattr(agents.tool, "default_tool_timeout_error_message", None)


REDACTED = "Error details are redacted."
"""The end of the text that the SDK puts in place of an error's if the trace is to have no sensitive data."""


def is_redacted(text: object, raised: BaseException | None, *, is_model_call: bool) -> bool:
    """
    Whether *text*, the detail of a span's error, replaces the text of the exception *raised*.

    Early releases have the name of the exception's class there. A model call's text is the exception's own unless
    it is redacted, whatever the release puts there instead.
    """
    if text is None:
        return False
    return REDACTED in str(text) or (
        raised is not None and (text == type(raised).__name__ or (is_model_call and text != str(raised)))
    )
