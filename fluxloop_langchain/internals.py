"""
Every part of langchain-core and LangGraph that this adapter reads and that is not public API.

Private names, stack frames, code flags, marker values and object identity are used here and nowhere else. Each
docstring states what is lost when a release changes them. A missing part is reported once, and only ever costs detail.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib import import_module
from types import CodeType, FrameType
from typing import Any, Final, TypeVar

from langchain_core.callbacks import AsyncCallbackManager, BaseCallbackHandler, CallbackManager
from langchain_core.tools import BaseTool

from fluxloop import Status
from fluxloop.bridge import note_missing, register_ending, was_raised_from_outside

M = TypeVar("M", bound=Callable[..., Any])

_missing = partial(note_missing, "fluxloop_langchain")


def optional(module: str, name: str, lost: str, *, adapter: str = "fluxloop_langchain") -> Any:
    """Return the attribute *name* of *module*, or None; *adapter* reports a missing one with what is *lost*."""
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError):
        note_missing(adapter, f"{module}.{name}", lost)
        return None


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
        _missing("the mark of coroutine functions", "events of async runs are recorded in threads, and later")
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


# Who sends the event that a run starts.

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


MAX_FRAMES = 40
"""Frames between a request of a model's client and LangChain's method of the model; about ten, more with LiteLLM."""


def running_manager() -> Any:
    """
    Return the manager that LangChain gave to the method whose code runs here, such as ``_generate`` of a model.

    Without it, a request that a LangChain model sends by an instrumented client is recorded beside the model's run.
    """
    return _variable("run_manager")


def running_managers() -> list[Any]:
    """Return the managers of the prompts that a completion model answers in one call; without them, of one only."""
    found = _variable("run_managers")
    return found if isinstance(found, list) else []


def _variable(name: str) -> Any:
    frame: FrameType | None = sys._getframe(2)
    for _ in range(MAX_FRAMES):
        if frame is None:
            break
        if name in frame.f_code.co_varnames and (found := frame.f_locals.get(name)) is not None:
            return found
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
        _missing(
            "the expected form of CallbackManager", "runs that never report an end are open until their parent ends"
        )
    if "self" not in BaseTool.run.__code__.co_varnames:
        _missing("the expected form of BaseTool.run", "decorated tools are matched by their names")


_check_frames()


# Marker values and object identity.


def is_streamed_input(value: object) -> bool:
    """Whether *value* is reported as input of a run that reads a stream; without it, such runs record ``""``."""
    return type(value) is dict and len(value) == 1 and type(text := value.get("input")) is str and not text


def is_cached(response: Any) -> bool:
    """Whether *response* is from LangChain's cache, which sets its cost to zero; without it, its usage is counted."""
    for one in (one for row in response.generations for one in row):
        usage = getattr(getattr(one, "message", None), "usage_metadata", None) or {}
        return usage.get("total_cost") == 0
    return False


def is_inherited(item: object, inherited: object) -> bool:
    """Whether metadata is that of the parent: the same object; without it, it is recorded on both runs."""
    return item is inherited  # comparing would run code of the user's


def error_key(error: BaseException) -> int:
    """Return a key of *error*, one object in all runs it ends; without it, folded runs that pass it on are recorded."""
    return id(error)  # the exception itself would keep its frames alive


# LangGraph, which may be imported later.

_OUTCOMES = {"GraphBubbleUp": Status.INTERRUPTED, "GraphInterrupt": Status.INTERRUPTED, "ParentCommand": Status.SUCCESS}
_registered: list[object] = []


def register_langgraph_outcomes() -> None:
    """Register LangGraph's exceptions for control flow, once it is imported; without them, they are errors."""
    errors = sys.modules.get("langgraph.errors")
    if errors is not None and errors not in _registered:
        _registered.append(errors)
        for name, status in _OUTCOMES.items():
            if isinstance(kind := getattr(errors, name, None), type):
                register_ending(kind, status)
            else:
                _missing(f"langgraph.errors.{name}", f"runs it ends are not always recorded as {status.value}")


def is_resume(given: object) -> bool:
    """Whether *given*, the input of a graph, is a ``Command`` with an answer; without it, RESUME events are missing."""
    return is_command(given) and getattr(given, "resume", None) is not None


def is_command(value: object) -> bool:
    """Whether *value* is a ``Command``; without it, tool calls that a command answers are not recorded."""
    kind = type(value)
    return kind.__name__ == "Command" and kind.__module__ == "langgraph.types"


def interrupt_with(value: Any) -> None:
    """Interrupt the graph that runs here with *value*, as its step did; steps that were resumed since are passed."""
    from langgraph.types import interrupt

    for _ in range(MAX_RESUMES):
        interrupt(value)  # returns the answers of earlier resumes, then raises


MAX_RESUMES = 1_000
"""Resumes of one step that are passed."""


def command_of(fields: Mapping[str, Any]) -> Any:
    """Return a ``Command`` with these *fields*."""
    from langgraph.types import Command

    return Command(**fields)


is_interrupt_id: Final = re.compile("[0-9a-f]{32}").fullmatch
"""Whether a text is the id of an interrupt; without it, an answer by ids is recorded as one answer."""


def interrupts_in(error: BaseException) -> Mapping[str, Any]:
    """Return the interrupts of *error* by id; without them, INTERRUPT events are missing."""
    found = error.args[0] if error.args else ()
    return {str(one.id): one for one in found if hasattr(one, "id")} if isinstance(found, list | tuple) else {}


def uses_answered_client(model: Any) -> bool:
    """Whether *model* is a class of an integration, such as ``langchain_openai``, whose SDK is instrumented."""
    clients = sys.modules.get("fluxloop_custom.clients")
    if clients is None:
        return False
    packages = {each.__module__.partition(".")[0] for each in type(model).__mro__}
    return any(clients.is_instrumented(sdk) for package, sdk in _SDKS.items() if package in packages)


_SDKS = {
    "langchain_openai": "openai",
    "langchain_anthropic": "anthropic",
    "langchain_google_genai": "google.genai",
    "langchain_deepseek": "openai",
    "langchain_xai": "openai",
}
"""The SDK that an integration sends its requests with."""
