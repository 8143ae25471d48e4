"""
Exceptions that are raised into the handler from outside, such as time limits, reach the program and leave nothing open.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import random
import signal
import sys
import threading
import time
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from typing import Any

import pytest
from langchain_core.callbacks import dispatch_custom_event
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from scripted_models import ScriptedModel, calls

import fluxloop
import fluxloop_langchain
from fluxloop.interruptions import OUR_FOLDERS
from fluxloop.storage import MemoryStorage
from fluxloop_langchain import FluxLoopCallbackHandler

SEED = int(os.environ.get("FLUXLOOP_TEST_SEED") or random.SystemRandom().randrange(10**9))
ADAPTERS = tuple(folder for folder in OUR_FOLDERS if "_lang" in folder)
UNINTERRUPTIBLE = {"_end_orphan", "_forget", "_note_unproven", "_traceback_text"}
"""Functions in which Python drops exceptions: it calls them when an id is collected, or they call `traceback`."""

needs_alarm = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX timers")
needs_langchain = pytest.mark.skipif(find_spec("langchain") is None, reason="needs langchain")


class TimeLimitError(Exception):
    """An Exception that a worker raises, such as Celery's SoftTimeLimitExceeded and RQ's JobTimeoutException."""


pytestmark = [
    pytest.mark.usefixtures("without_coverage"),
    pytest.mark.filterwarnings(
        "ignore:coroutine .* was never awaited",
        "ignore:Exception ignored in. <coroutine",
        "ignore:Exception ignored in. <async_generator",
    ),
]


@pytest.fixture(autouse=True)
def quiet():
    """Measure no coverage and collect no garbage: Python drops exceptions that are raised in their callbacks."""
    FluxLoopCallbackHandler().ledger.entries.clear()  # another test may have left runs open, and so may a failed one
    tracer = sys.gettrace()
    sys.settrace(None)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(0.00005)
    gc.disable()
    yield
    gc.enable()
    sys.setswitchinterval(interval)
    sys.settrace(tracer)


@pytest.fixture
def memory():
    storage = MemoryStorage()
    fluxloop.configure(storage=storage)
    return storage


class Shelf(BaseRetriever):
    """Finds one document."""

    def _get_relevant_documents(self, query, *, run_manager):
        return [Document("text")]


@tool
def size(text: str) -> int:
    """Return the length of a text."""
    dispatch_custom_event("measured", len(text))
    return len(text)


def fail(value):
    raise LookupError(value)


MODEL = ScriptedModel(replies=["Tigers hunt at night."])
CHAIN = RunnableLambda(lambda text: size.invoke({"text": text})) | str | MODEL | StrOutputParser() | Shelf()
FAILING = RunnableLambda(fail) | StrOutputParser()


def run_sync(config: Any) -> None:
    CHAIN.invoke("Who?", config)
    list((MODEL | StrOutputParser()).stream("Who?", config))
    with suppress(LookupError):
        FAILING.invoke("Who?", config)


def run_async(config: Any) -> None:
    async def run():
        await CHAIN.ainvoke("Who?", config)
        [item async for item in (MODEL | StrOutputParser()).astream("Who?", config)]

    asyncio.run(run())


def run_agent(config: Any) -> None:
    """Run an agent whose middleware answers a tool call."""
    from langchain.agents import create_agent
    from langchain.agents.middleware import AgentMiddleware

    from fluxloop_langgraph import wrap_graph

    class Refuse(AgentMiddleware):
        def wrap_tool_call(self, request, handler):
            return ToolMessage("refused", tool_call_id=request.tool_call["id"], status="error")

    model = ScriptedModel(replies=[calls("size", {"text": "abc"}), AIMessage("three")])
    wrap_graph(create_agent(model, [size], middleware=[Refuse()])).invoke({"messages": [("user", "size?")]})


WORK = {"sync": run_sync, "async": run_async, "agent": run_agent}
work = pytest.mark.parametrize("way", ["sync", "async", pytest.param("agent", marks=needs_langchain)])


def assert_nothing_is_open(memory: MemoryStorage, context: object) -> None:
    gc.collect()
    ended = {record["trace_id"] for record in memory.traces()}
    assert len(FluxLoopCallbackHandler().ledger) == 0, context
    assert [one["name"] for one in memory.observations() if one["trace_id"] not in ended] == [], context


def is_interruptible(frame: Any, folders: tuple[str, ...]) -> bool:
    """Whether FluxLoop's code runs at *frame*, and exceptions that are raised in it are not dropped by Python."""
    names = set()
    while frame is not None:
        if frame.f_code.co_filename.startswith(folders):
            names.add(frame.f_code.co_name)
        frame = frame.f_back
    return bool(names) and not names & UNINTERRUPTIBLE


@work
@pytest.mark.parametrize("times", [4, pytest.param(15, marks=pytest.mark.slow)])
def test_an_exception_injected_into_the_handler_reaches_the_program(memory, way, times):
    """`PyThreadState_SetAsyncExc` ends what a thread does, although the thread is in a function of the adapters."""
    dropped = fluxloop.report().dropped
    config = {"callbacks": [FluxLoopCallbackHandler()]}
    WORK[way](config)
    outcomes: list[str] = []

    def run(is_injected: threading.Event) -> None:
        try:
            deadline = time.monotonic() + 20
            while not is_injected.is_set() and time.monotonic() < deadline:
                WORK[way](config)
            outcomes.append("not interrupted")
        except TimeLimitError:
            outcomes.append("interrupted")

    for _ in range(times):
        is_injected = threading.Event()
        thread = threading.Thread(target=run, args=(is_injected,))
        thread.start()
        inject = partial(
            ctypes.pythonapi.PyThreadState_SetAsyncExc,
            ctypes.c_ulong(thread.ident),
            ctypes.py_object(TimeLimitError),
        )
        while thread.is_alive() and not is_injected.is_set():
            # The thread is suspended at this frame, and raises the exception there when it continues.
            frame = sys._current_frames().get(thread.ident)
            if frame and frame.f_code.co_filename.startswith(ADAPTERS) and is_interruptible(frame, ADAPTERS):
                where, at = frame.f_code, frame.f_lasti
                if sys._current_frames().get(thread.ident) is frame and frame.f_lasti == at:
                    inject()
                    is_injected.set()
            del frame
            time.sleep(0)
        thread.join(30)
        assert outcomes[-1] == "interrupted", where
        assert_nothing_is_open(memory, where)
    assert fluxloop.report().dropped == dropped


@needs_alarm
@pytest.mark.parametrize("error", [TimeLimitError, KeyboardInterrupt])
@work
def test_an_alarm_that_goes_off_in_the_handler_reaches_the_program(memory, way, error):
    """Exceptions of signal handlers, at random moments while FluxLoop's code runs."""
    dropped = fluxloop.report().dropped
    config = {"callbacks": [FluxLoopCallbackHandler()]}
    WORK[way](config)
    rng, raised, caught = random.Random(SEED), 0, 0

    def on_alarm(number: int, frame: Any) -> None:
        nonlocal raised
        if not is_interruptible(frame, OUR_FOLDERS):
            signal.setitimer(signal.ITIMER_REAL, 0.00003)
            return
        raised += 1
        raise error("too slow")

    before = signal.signal(signal.SIGALRM, on_alarm)
    try:
        for _ in range(60):
            try:
                signal.setitimer(signal.ITIMER_REAL, rng.uniform(0.0002, 0.006))
                deadline, count = time.monotonic() + 1, raised
                while raised == count and time.monotonic() < deadline:
                    WORK[way](config)
            except error:
                caught += 1
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, before)

    assert caught == raised == 60, f"seed {SEED}"
    assert_nothing_is_open(memory, f"seed {SEED}")
    assert fluxloop.report().dropped == dropped


def test_exceptions_of_the_handler_itself_are_suppressed_by_langchain(captured):
    """A method of a subclass that fails does not stop the program: langchain-core logs it, as of any handler."""

    class Broken(FluxLoopCallbackHandler):
        def on_chain_start(self, *args, **kwargs):
            raise ValueError("mine")

    assert RunnableLambda(abs).invoke(-1, {"callbacks": [Broken()]}) == 1
    assert fluxloop_langchain.FluxLoopCallbackHandler().raise_error is False
