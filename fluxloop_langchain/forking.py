"""
Apply what a fork changes to a call of LangChain that runs for real: another input, or another model.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from langchain_core.language_models import BaseChatModel, BaseLanguageModel, BaseLLM
from langchain_core.messages import AIMessageChunk, convert_to_messages
from langchain_core.outputs import ChatGenerationChunk

from fluxloop.bridge import Change, replaying, take_change

Changer = Callable[[Change, tuple[Any, ...], dict[str, Any]], tuple[tuple[Any, ...], dict[str, Any]]]
"""Returns the arguments of a method with the input of a fork."""

_MODEL_FIELDS = ("model_name", "model", "model_id")
"""The fields in which LangChain's models have the name of the model."""


def run(
    original: Callable[..., Any], changed: Changer, owner: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Call the method *original* of *owner*, with what a fork changes in this call."""
    return run_with(take_change(), original, changed, owner, args, kwargs)


def run_with(
    change: Change | None,
    original: Callable[..., Any],
    changed: Changer,
    owner: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """As `run`, with a *change* that was taken already."""
    if change is None:
        return original(owner, *args, **kwargs)
    if change.has_input:
        args, kwargs = changed(change, args, kwargs)
        return original(owner, *args, **kwargs)
    if not isinstance(change.model, BaseLanguageModel):
        return original(_named(owner, change.model), *args, **kwargs)
    return _of_model(original, change.model, args, kwargs)


def _of_model(original: Callable[..., Any], model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call the method of *model* with the name of *original*; a model that cannot stream returns a stream of one."""
    name = original.__name__
    own = [each for each in type(model).__mro__ if each not in (BaseChatModel, BaseLLM)]
    streams = any(method in vars(each) for each in own for method in ("_stream", "_astream"))
    if "stream" not in name or streams:
        return getattr(model, name)(*args, **kwargs)
    if inspect.isasyncgenfunction(original):
        return _as_astream(model, args, kwargs)
    return _as_stream(model._generate(*args, **kwargs))


def _as_stream(result: Any) -> Iterator[ChatGenerationChunk]:
    message = result.generations[0].message
    fields = message.model_dump(exclude={"type"})
    yield ChatGenerationChunk(message=AIMessageChunk(**fields))


async def _as_astream(model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> AsyncIterator[ChatGenerationChunk]:
    for chunk in _as_stream(await model._agenerate(*args, **kwargs)):
        yield chunk


def _named(owner: Any, model: Any) -> Any:
    """Return *owner* with the name of another model."""
    fields = [name for name in _MODEL_FIELDS if name in getattr(type(owner), "model_fields", ())]
    if not fields or not isinstance(model, str):
        replay = replaying.get()
        message = (
            f"fork: {type(owner).__name__} has no field for the name of a model. As model=, give a model of LangChain"
            if isinstance(model, str)
            else f"fork: model= must be a model of LangChain or the name of one, got {type(model).__name__}"
        )
        raise TypeError(message) if replay is None else replay.fail(message)
    return owner.model_copy(update={fields[0]: model})


def chat(change: Change, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of a chat model with other messages: a text, or messages in any form of LangChain."""
    given = change.input
    messages = convert_to_messages([("user", given)] if isinstance(given, str) else given)
    return _first("messages", messages, args, kwargs)


def completion(change: Change, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of a completion model, which are for one prompt, with another prompt."""
    is_list = isinstance(args[0] if args else kwargs.get("prompts"), list)
    given = change.input
    if is_list and not isinstance(given, list):
        given = [given]
    return _first("prompts" if "prompts" in kwargs else "prompt", given, args, kwargs)


def with_prompts(
    prompts: list[str], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of a completion model with *prompts* in place of its own."""
    return _first("prompts", prompts, args, kwargs)


def retrieval(change: Change, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of a retriever with another query."""
    return _first("query", change.input, args, kwargs)


def tool(change: Change, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of a tool with other values; a value that is not a mapping is the first argument."""
    if isinstance(change.input, dict):
        return args, {**kwargs, **change.input}
    if args:
        return (change.input, *args[1:]), kwargs
    first = next((name for name in kwargs if name not in ("config", "run_manager")), "tool_input")
    return args, {**kwargs, first: change.input}


def _first(
    name: str, value: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return ((value, *args[1:]), kwargs) if args else (args, {**kwargs, name: value})
