"""
Answer LangChain's models, tools and retrievers from a recording.

While a replay is open anywhere, the methods in which a class implements its call are replaced, of every subclass of
LangChain's base classes. Where no replay is open in the context, they run as before. Callbacks, retries, parsers and
graphs around them are LangChain's own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from functools import partial, wraps
from typing import Any

from langchain_core.language_models import BaseChatModel, BaseLLM
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import BaseTool

from fluxloop import ObservationType
from fluxloop.bridge import Answer, Change, ClassMethodsSeam, ask, current, register_seam, replaying, take_change

from . import forking, internals, rebuilding
from .orphan_runs import node_of_run, node_of_step


def _ask_model(model: Any, given: Any, manager: Any) -> Answer | None:
    """Return the recorded answer of the run of *manager*, a call of *model* with *given*; None if it is to run."""
    manager = manager or internals.running_manager()
    node = node_of_run(getattr(manager, "run_id", None))
    if node is not None:
        return ask(node)
    replay, name = replaying.get(), type(model).__name__
    if replay is None or replay.runs_live(ObservationType.GENERATION, name, current()):
        return None
    if not replay.knows(ObservationType.GENERATION, name) and internals.uses_answered_client(model):
        return None  # the client that the model uses is answered
    raise replay.fail(
        f"a call of {name} is not recorded here, so it has no place in the recording: pass FluxLoop's callback handler "
        f"as when it was recorded, or call fluxloop.install() before the replay. Its input: {given!r:.200}"
    )


def _manager(args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Return the manager of the run in the arguments of a method, if there is one."""
    return options.get("run_manager") or next((one for one in args if hasattr(one, "run_id")), None)


def _chat(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return the replacement of ``_generate`` or ``_agenerate`` of a chat model."""

    def asked(self: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Answer | None:
        return _ask_model(self, args[:1], _manager(args, options))

    return _method(original, asked, rebuilding.chat_result, forking.chat)


def _chat_stream(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return the replacement of ``_stream`` or ``_astream`` of a chat model."""

    def asked(self: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Answer | None:
        return _ask_model(self, args[:1], _manager(args, options))

    return _stream_method(original, asked, rebuilding.chat_chunks, forking.chat)


def _completion(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return the replacement of ``_generate`` or ``_agenerate`` of a completion model, which may get many prompts."""
    replacement: Any
    if inspect.iscoroutinefunction(original):

        @wraps(original)
        async def replacement(self: Any, *args: Any, **kwargs: Any) -> Any:
            if replaying.get() is None:
                return await original(self, *args, **kwargs)
            batch = _Batch(self, args, kwargs)
            for answer in batch.answers.values():
                await answer.await_()
            return batch.result([await call(original) for call in batch.calls()])

    else:

        @wraps(original)
        def replacement(self: Any, *args: Any, **kwargs: Any) -> Any:
            if replaying.get() is None:
                return original(self, *args, **kwargs)
            batch = _Batch(self, args, kwargs)
            for answer in batch.answers.values():
                answer.wait()
            return batch.result([call(original) for call in batch.calls()])

    return replacement  # type: ignore[no-any-return]


class _Batch:
    """The prompts of one call of a completion model: some are answered from the recording, and some run."""

    def __init__(self, model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._model, self._args, self._kwargs = model, args, kwargs
        self._prompts: list[str] = args[0] if args else kwargs["prompts"]
        self.answers: dict[int, Answer] = {}
        """The recorded answers, by the position of the prompt."""
        self._live: list[tuple[list[int], Change | None]] = []
        """The positions of the prompts that run in one call, and what a fork changes in it."""
        managers = internals.running_managers()
        if len(managers) != len(self._prompts):
            managers = [_manager(args, kwargs)] * len(self._prompts)
        for at, (prompt, manager) in enumerate(zip(self._prompts, managers, strict=True)):
            if (answer := _ask_model(model, prompt, manager)) is not None:
                self.answers[at] = answer
            elif (change := take_change()) is not None or not self._live or self._live[-1][1] is not None:
                self._live.append(([at], change))
            else:
                self._live[-1][0].append(at)

    def calls(self) -> list[Callable[..., Any]]:
        """Return the calls to make, each a function of the model's own method."""
        return [partial(self._call, positions, change) for positions, change in self._live]

    def _call(self, positions: list[int], change: Change | None, original: Callable[..., Any]) -> Any:
        prompts = [self._prompts[at] for at in positions]
        args, kwargs = forking.with_prompts(prompts, self._args, self._kwargs)
        return forking.run_with(change, original, forking.completion, self._model, args, kwargs)

    def result(self, live: list[Any]) -> Any:
        """Return the result for all prompts, or raise the first recorded error; *live* are the results of `calls`."""
        if len(live) == 1 and not self.answers:
            return live[0]
        recorded = rebuilding.completion_result(list(self.answers.values()))
        by_position = dict(zip(self.answers, recorded.generations, strict=True))
        for (positions, _), each in zip(self._live, live, strict=True):
            by_position.update(zip(positions, each.generations, strict=False))
            recorded.llm_output = recorded.llm_output or each.llm_output
        recorded.generations = [by_position[at] for at in sorted(by_position)]
        return recorded


def _completion_stream(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return the replacement of ``_stream`` or ``_astream`` of a completion model."""

    def asked(self: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Answer | None:
        return _ask_model(self, args[:1], _manager(args, options))

    return _stream_method(original, asked, rebuilding.completion_chunks, forking.completion)


def _retrieval(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return the replacement of the method of a retriever."""

    def asked(self: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Answer | None:
        manager = _manager(args, options) or internals.running_manager()
        node = node_of_run(getattr(manager, "run_id", None))
        return None if node is None else ask(node)

    return _method(original, asked, rebuilding.documents, forking.retrieval)


def _tool(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return the replacement of ``_run`` or ``_arun`` of a tool."""

    def asked(self: Any, args: tuple[Any, ...], options: dict[str, Any]) -> tuple[Any, Answer] | None:
        node = node_of_step(self.name)
        found = None if node is None else ask(node)
        return None if found is None else (self, found)

    return _method(original, asked, rebuilding.tool_result, forking.tool)


def _method(
    original: Callable[..., Any],
    asked: Callable[..., Any],
    build: Callable[[Any], Any],
    changed: forking.Changer,
) -> Callable[..., Any]:
    """
    Return *original* with its result built from what *asked* returns for its arguments, if that is not None.

    What a fork changes is applied to the arguments by *changed*.
    """
    replacement: Any
    if inspect.iscoroutinefunction(original):

        @wraps(original)
        async def replacement(self: Any, *args: Any, **kwargs: Any) -> Any:
            found = None if replaying.get() is None else asked(self, args, kwargs)
            if found is None:
                return await forking.run(original, changed, self, args, kwargs)
            for answer in _answers(found):
                await answer.await_()
            return build(found)

    else:

        @wraps(original)
        def replacement(self: Any, *args: Any, **kwargs: Any) -> Any:
            found = None if replaying.get() is None else asked(self, args, kwargs)
            if found is None:
                return forking.run(original, changed, self, args, kwargs)
            for answer in _answers(found):
                answer.wait()
            return build(found)

    return replacement  # type: ignore[no-any-return]


def _answers(found: Any) -> Iterable[Answer]:
    return [one for one in (found if isinstance(found, list | tuple) else [found]) if isinstance(one, Answer)]


def _stream_method(
    original: Callable[..., Any],
    asked: Callable[..., Any],
    build: Callable[[Answer], list[Any]],
    changed: forking.Changer,
) -> Callable[..., Any]:
    """As `_method`, for methods that are generators."""
    replacement: Any
    if inspect.isasyncgenfunction(original):

        @wraps(original)
        async def replacement(self: Any, *args: Any, **kwargs: Any) -> Any:
            found = None if replaying.get() is None else asked(self, args, kwargs)
            chunks = [] if found is None else build(found)
            items = forking.run(original, changed, self, args, kwargs) if found is None else found.aplay(chunks)
            added = rebuilding.added_by_langchain(chunks)
            async for item in items:
                yield item
                if item is added and added is not None:
                    rebuilding.leave_out(item)

    else:

        @wraps(original)
        def replacement(self: Any, *args: Any, **kwargs: Any) -> Any:
            found = None if replaying.get() is None else asked(self, args, kwargs)
            if found is None:
                yield from forking.run(original, changed, self, args, kwargs)
                return
            chunks = build(found)
            added = rebuilding.added_by_langchain(chunks)
            for item in found.play(chunks):
                yield item
                if item is added:
                    rebuilding.leave_out(item)

    return replacement  # type: ignore[no-any-return]


_SEAMS = (
    ClassMethodsSeam(
        BaseChatModel,
        {"_generate": _chat, "_agenerate": _chat, "_stream": _chat_stream, "_astream": _chat_stream},
        is_with_base=True,
    ),
    ClassMethodsSeam(
        BaseLLM,
        {
            "_generate": _completion,
            "_agenerate": _completion,
            "_stream": _completion_stream,
            "_astream": _completion_stream,
        },
        is_with_base=True,
    ),
    ClassMethodsSeam(BaseRetriever, dict.fromkeys(("_get_relevant_documents", "_aget_relevant_documents"), _retrieval)),
    ClassMethodsSeam(BaseTool, {"_run": _tool, "_arun": _tool}),
)

for _seam in _SEAMS:
    register_seam(_seam)
