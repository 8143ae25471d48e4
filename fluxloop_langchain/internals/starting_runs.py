"""
The code of the framework that starts a run, found on the stack while its event is sent.

An id that langchain-core's own code holds shows that a run is open; without that, a run that never reports an end is
open until its parent ends.
"""

from __future__ import annotations

import inspect
import sys
from types import CodeType, FrameType
from typing import Any

from langchain_core.callbacks import AsyncCallbackManager, BaseCallbackHandler, CallbackManager
from langchain_core.tools import BaseTool

from fluxloop.bridge import was_raised_from_outside

from .parts import missing

_STARTS = ("on_chain_start", "on_llm_start", "on_chat_model_start", "on_tool_start", "on_retriever_start")
_RUNNERS = frozenset({"langchain_core", "langchain", "langchain_classic", "langchain_community", "langgraph"})
"""The packages whose code keeps the manager of a run as long as the run lasts."""


def _codes(manager: type) -> frozenset[CodeType]:
    methods = (inspect.unwrap(getattr(manager, name)) for name in _STARTS if hasattr(manager, name))
    return frozenset(method.__code__ for method in methods)


_SYNC_STARTS, _ASYNC_STARTS = _codes(CallbackManager), _codes(AsyncCallbackManager)


def runner_of(depth: int) -> FrameType | None:
    """
    Return the frame of the framework's code that starts a run; None for a relay of events, and for async runs.

    The handler's method is *depth* frames above. The framework keeps the manager of the run, which has the id of the
    event, as long as the run lasts. For async runs see `RunInline`. Without this, a run that never reports an end is
    open until its parent ends.
    """
    start = sys._getframe(depth + 1).f_back
    return _runner(start) if start is not None and start.f_code in _SYNC_STARTS else None


def _runner(start: FrameType) -> FrameType | None:
    runner = start.f_back
    is_framework = runner and str(runner.f_globals.get("__name__", "")).partition(".")[0] in _RUNNERS
    return runner if is_framework else None


class RunInline:
    """
    The handler's ``run_inline``: False, and passes the id of an async run that starts to the ledger of the handler.

    langchain-core calls the handler in a task of its own, and reads this attribute before, on the stack of the run.
    Without this, an async run that never reports an end is open until its parent ends.
    """

    def __get__(self, handler: Any, owner: type | None = None) -> bool:
        if handler is not None and (found := _started_at(sys._getframe(1))) is not None:
            run_id, runner = found
            if runner is not None:
                handler.ledger.announce(run_id, runner)
        return False


def _started_at(frame: FrameType | None) -> tuple[Any, FrameType | None] | None:
    """Return the id of the async run that starts in the callers of *frame*, and who runs it; None if none does."""
    for _ in range(3):  # the comprehension, ahandle_event, the manager's method
        if frame is None:
            break
        if frame.f_code in _ASYNC_STARTS:
            names = frame.f_locals
            run_id = names.get("run_id_") or names.get("run_id")
            return None if run_id is None else (run_id, _runner(frame))
        frame = frame.f_back
    return None


def tool_in(runner: FrameType | None) -> BaseTool | None:
    """Return the tool that is called by *runner*; without it, a decorated function is matched by name and caller."""
    tool = runner.f_locals.get("self") if runner is not None else None
    return tool if isinstance(tool, BaseTool) else None


def tool_functions(tool: BaseTool | None) -> list[Any]:
    """Return the functions that langchain-core may call for *tool*, and the methods that these may call by `super`."""
    if tool is None:
        return []
    parts = ("func", "coroutine", "_run", "_arun")
    methods = [vars(cls)[part] for cls in type(tool).__mro__ for part in parts[2:] if part in vars(cls)]
    return [function for part in parts if (function := getattr(tool, part, None)) is not None] + methods


def _check_frames() -> None:
    """Report it if langchain-core sends events in another way than `runner_of`, `RunInline` and `tool_in` expect."""
    seen: list[bool] = []

    class Probe(BaseCallbackHandler):
        def on_chain_start(self, *args: Any, **kwargs: Any) -> None:
            start = sys._getframe(1).f_back
            seen.append(start is not None and start.f_code in _SYNC_STARTS)

        @property
        def run_inline(self) -> bool:  # type: ignore[override]
            seen.append(_started_at(sys._getframe(1)) is not None)
            raise LookupError("found")

    try:
        CallbackManager([Probe()]).on_chain_start({}, {})
        AsyncCallbackManager([Probe()]).on_chain_start({}, {}).send(None)
    except Exception as exc:
        if was_raised_from_outside(exc):
            raise
    if seen != [True, True]:
        missing(
            "the expected form of CallbackManager", "runs that never report an end are open until their parent ends"
        )
    if "self" not in BaseTool.run.__code__.co_varnames:
        missing("the expected form of BaseTool.run", "decorated tools are matched by their names")


_check_frames()
