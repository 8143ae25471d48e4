"""
Answer the models and function tools of the Agents SDK from a recording.

While a replay is open anywhere, the methods of all subclasses of ``agents.Model`` and the invocation of function tools
are replaced. Where no replay is open in the context, they run as before. Runs, handoffs, guardrails, hooks and sessions
are the SDK's own, and so are tools that run an agent.
"""

from __future__ import annotations

from asyncio import sleep
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from functools import wraps
from typing import Any

from agents import FunctionTool, Model, ModelResponse
from agents.tracing import generation_span, get_current_span, response_span

from fluxloop import ObservationType
from fluxloop.bridge import (
    Answer,
    ClassMethodsSeam,
    SharedSeam,
    ask,
    ask_for,
    current,
    is_of_type,
    is_recorded_as,
    on_keeping,
    register_seam,
    replaying,
    take_change,
)

from . import forking, function_tools, internals, local_tools, payloads, rebuilding, streaming

GENERATION = ObservationType.GENERATION


def _ask_model(
    model: Any, args: tuple[Any, ...], kwargs: dict[str, Any], *, is_streamed: bool
) -> tuple[str, Answer, rebuilding.Call] | None:
    """Return the kind of span of a recorded model call, its answer, and the call; None if the model is to run."""
    replay = replaying.get()
    if replay is None:
        return None
    call = rebuilding.Call.of(model, args, kwargs, is_streamed=is_streamed)
    instructions, given = call.instructions, call.input
    is_chat = "ChatCompletions" in type(model).__name__ or "Litellm" in type(model).__name__
    kinds = ("generation", "response") if is_chat else ("response", "generation")
    kind = next((each for each in kinds if replay.knows(GENERATION, each)), kinds[0])
    items = payloads.given_items(given)
    forms = [items]
    if instructions:
        forms.insert(0, [{"role": "system", "content": instructions}, *items])
    if kind == "generation" and (messages := internals.chat_messages(given)) is not None:
        system = [{"content": instructions, "role": "system"}] if instructions else []
        forms.insert(0, [*system, *messages])
    found = ask_for(GENERATION, kind, forms, current())
    return None if found is None else (kind, found, call)


def _span(kind: str, model_call: internals.ModelCall, tracing: Any) -> Any:
    if kind == "response":
        return response_span(disabled=tracing.is_disabled())
    return generation_span(model=str(getattr(model_call.model, "model", "")), disabled=tracing.is_disabled())


def _get_response(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return the replacement of ``Model.get_response``."""

    @wraps(original)
    async def get_response(self: Any, *args: Any, **kwargs: Any) -> Any:
        found = _ask_model(self, args, kwargs, is_streamed=False)
        if found is None:
            return await forking.run(original, take_change(), self, args, kwargs)
        kind, answer, call = found
        await answer.await_()
        model_call = call.model_call
        with _span(kind, model_call, call.tracing) as span:
            if (error := answer.error()) is not None:
                _set_error(span, error, call)
                raise error
            response = rebuilding.response(kind, answer)
            rebuilding.report(span, kind, answer, response, call)
        return ModelResponse(
            output=list(response.output), usage=rebuilding.usage(answer), response_id=rebuilding.response_id(answer)
        )

    return get_response


def _stream_response(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return the replacement of ``Model.stream_response``."""

    @wraps(original)
    async def stream_response(self: Any, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        found = _ask_model(self, args, kwargs, is_streamed=True)
        real = forking.run(original, take_change(), self, args, kwargs) if found is None else None
        stream = real if found is None else _recorded_stream(*found)
        async with aclosing(streaming.followed(stream)) as followed:
            async for event in followed:
                yield event

    return stream_response


async def _recorded_stream(kind: str, answer: Answer, call: rebuilding.Call) -> AsyncIterator[Any]:
    """Yield the recorded events of a model call; of a recording without them, those of its response."""
    has_events = rebuilding.has_events(answer)
    if not has_events:
        await answer.await_()
    model_call = call.model_call
    with _span(kind, model_call, call.tracing) as span:
        error = answer.error()
        if error is not None and not has_events:
            _set_error(span, error, call)
            raise error
        response = None if error is not None else rebuilding.response(kind, answer)
        try:
            async for event in answer.aplay(answer.items()) if has_events else rebuilding.events(response):
                if response is not None and rebuilding.is_last(event):
                    rebuilding.report(span, kind, answer, response, call)
                yield event
                await sleep(0)  # the program reads each event before the next, as with events from a network
        except Exception as raised:
            _set_error(span, raised, call)
            raise


def _set_error(span: Any, error: BaseException, call: Any) -> None:
    detail = str(error) if call.tracing.include_data() else internals.REDACTED
    span.set_error({"message": "Error getting response", "data": {"error": detail}})


def _tool_output(tool: Any, context: Any, arguments: str) -> tuple[Any] | None:
    """Return the recorded output of a call of *tool*; None if it is to run."""
    if replaying.get() is None or internals.runs_agent(tool):
        return None
    if is_recorded_as(ObservationType.TOOL, internals.function_in(tool)):
        return None  # it is answered inside, with the arguments of the function
    node = current()
    if node is None or not is_of_type(node, ObservationType.TOOL):
        return None
    found = ask(node, given=function_tools.read_arguments(arguments))
    if found is None:
        return None
    if (error := found.error()) is not None:
        if found.recorded.output is None:
            raise error
        span = get_current_span()
        if span is not None:  # the SDK made a text for the model of the error
            span.set_error({"message": found.recorded.error or str(error), "data": None})
    return (found.value(),)


def _invoke(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return the replacement of the method of the SDK's class that invokes a tool."""

    @wraps(original)
    async def invoke(self: Any, context: Any, arguments: str) -> Any:
        tool = next((value for value in vars(self).values() if isinstance(value, FunctionTool)), None)
        found = None if tool is None else _tool_output(tool, context, arguments)
        if found is None:
            return await original(self, context, forking.arguments(take_change(), arguments))
        return found[0]

    return invoke


class _ToolsSeam:
    """Replaces how function tools are invoked: the SDK's class for that, and functions in an attribute of a tool."""

    _original: Any = None

    def open(self) -> None:
        """See `fluxloop.answering.Seam`."""
        if internals.INVOKER is not None:
            self._original = internals.INVOKER.__call__
            internals.INVOKER.__call__ = _invoke(self._original)
        FunctionTool.on_invoke_tool = _Attribute()  # type: ignore[assignment]

    def close(self) -> None:
        """See `fluxloop.answering.Seam`."""
        if internals.INVOKER is not None and self._original is not None:
            internals.INVOKER.__call__ = self._original
        if "on_invoke_tool" in vars(FunctionTool):
            del FunctionTool.on_invoke_tool


class _Attribute:
    """The attribute ``on_invoke_tool`` of tools while a replay is open: in a replay, a function that answers."""

    def __get__(self, tool: Any, owner: type) -> Any:
        if tool is None:
            return self
        try:
            real = tool.__dict__["on_invoke_tool"]
        except KeyError:
            raise AttributeError("on_invoke_tool") from None
        if replaying.get() is None or (internals.INVOKER is not None and isinstance(real, internals.INVOKER)):
            return real
        known = getattr(tool, "_fluxloop_answering", None)
        if known is None or known.__wrapped__ is not real:
            known = _answering(tool, real)
            tool.__dict__["_fluxloop_answering"] = known
        return known

    def __set__(self, tool: Any, value: Any) -> None:
        tool.__dict__["on_invoke_tool"] = getattr(value, "__wrapped__", value) if _is_ours(value) else value


def _is_ours(value: Any) -> bool:
    return getattr(value, "_fluxloop", False) is True


def _answering(tool: Any, real: Any) -> Any:
    async def invoke(context: Any, arguments: str) -> Any:
        found = _tool_output(tool, context, arguments)
        return await real(context, forking.arguments(take_change(), arguments)) if found is None else found[0]

    invoke.__wrapped__ = real  # type: ignore[attr-defined]
    invoke._fluxloop = True  # type: ignore[attr-defined]
    return invoke


_MODELS = SharedSeam(ClassMethodsSeam(Model, {"get_response": _get_response, "stream_response": _stream_response}))


def _on_keeping(is_on: bool) -> None:
    (_MODELS.open if is_on else _MODELS.close)("recordings")


on_keeping(__name__, _on_keeping)
register_seam(_MODELS)
register_seam(_ToolsSeam())
local_tools.register()
