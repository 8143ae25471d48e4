"""
How langchain-core attaches a handler to runs, and calls its methods where the event happens.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

from fluxloop.bridge import was_raised_from_outside

from .parts import missing, optional

M = TypeVar("M", bound=Callable[..., Any])

# The configuration of the step that runs here, which langchain-core keeps in a context variable.

_CONFIG = "langchain_core.runnables.config"
_config_variable = optional(_CONFIG, "var_child_runnable_config", "finding the step that runs takes longer")
_ensure_config = _config_variable or optional(_CONFIG, "ensure_config", "functions in a step are not nested under it")

running_config: Callable[[], Any] = (_config_variable.get if _config_variable else _ensure_config) or (lambda: None)
"""Return the configuration of the step that runs here, or None. `ensure_config` is public and slower."""


# How the handler is attached.

_register_hook = optional(
    "langchain_core.tracers.context",
    "register_configure_hook",
    "install() attaches nothing; pass the handler in config",
)
_tracer_class = optional(
    "langchain_core.tracers.base", "BaseTracer", "the TracePolicy of a LangGraph node does not apply to the handler"
)


def attach_everywhere(source: Any, handler_class: type) -> None:
    """
    Attach what *source*, used like a context variable, returns from ``get()`` to every run.

    With *handler_class*, langchain-core finds out whether a run has such a handler. Without the hook, `install` records
    nothing.
    """
    if _register_hook is not None:
        _register_hook(source, inheritable=True, handle_class=handler_class)


def register_as_tracer(handler_class: type) -> None:
    """Make *handler_class* count as a tracer, as LangGraph applies the ``TracePolicy`` of a node to tracers only."""
    if _tracer_class is not None:
        _tracer_class.register(handler_class)


# Callback methods that langchain-core calls where the event happens, in sync and in async runs.


class _Done:
    """An awaitable that is not a coroutine, and is done at once."""

    __slots__ = ()

    def __await__(self) -> Iterator[None]:
        return iter(())


DONE: Final = _Done()
"""What a method marked by `inline_callback` returns."""


def inline_callback(method: M) -> M:
    """
    Mark *method*, a plain function that returns `DONE`, to be called where its event happens.

    In an async run, langchain-core awaits coroutine functions, and calls other methods in a thread, which is slow and
    loses the order of events. In a sync run, it starts an event loop for a coroutine. A function that is marked as a
    coroutine function, but returns another awaitable, avoids both. Without the mark, methods are called in a thread.
    (With ``run_inline``, langchain-core skips ``on_llm_start`` of other handlers.)
    """
    if sys.version_info >= (3, 12):
        method = inspect.markcoroutinefunction(method)
    else:
        # Python 3.11 has no such mark. It reads this flag of the code; what a call does is decided by the code's first
        # instruction.
        code = method.__code__
        method.__code__ = code.replace(co_flags=code.co_flags | inspect.CO_COROUTINE)
    if not inspect.iscoroutinefunction(method):
        missing("the mark of coroutine functions", "events of async runs are recorded in threads, and later")
    return method


class RaiseError:
    """
    The handler's ``raise_error``: True while an exception is handled that was raised from outside, as by a time limit.

    langchain-core reads it when a method of a handler has raised, and raises again only if it is true. Without this,
    exceptions of signal handlers that run in the handler's code are logged and lost.
    """

    def __get__(self, handler: Any, owner: type | None = None) -> bool:
        exc = sys.exc_info()[1]
        return exc is not None and was_raised_from_outside(exc)
