"""
The handler's methods run where the event happens, in sync and in async runs.
"""

from __future__ import annotations

import asyncio
import inspect
import threading

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.callbacks.manager import ahandle_event, handle_event

from fluxloop_langchain import FluxLoopCallbackHandler
from fluxloop_langchain.internals import DONE, inline_callback


class Recorder(BaseCallbackHandler):
    """Records each text and the thread in which it is received."""

    def __init__(self):
        self.received = []

    @inline_callback
    def on_text(self, text, **kwargs):
        self.received.append((text, threading.get_ident()))
        return DONE


async def test_an_inline_callback_runs_in_the_thread_of_the_event_loop():
    """
    langchain-core calls plain methods in a thread, later and slower; it awaits a marked method.
    """
    handler = Recorder()
    await ahandle_event([handler], "on_text", None, "a")
    await ahandle_event([handler], "on_text", None, "b")

    assert handler.received == [("a", threading.get_ident()), ("b", threading.get_ident())]


def test_an_inline_callback_needs_no_event_loop_in_sync_runs():
    """
    langchain-core would start a loop for a coroutine; the method returns another awaitable.
    """
    handler = Recorder()
    handle_event([handler], "on_text", None, "a")

    assert handler.received == [("a", threading.get_ident())]
    assert not asyncio.iscoroutine(handler.on_text("b"))


async def test_the_result_of_an_inline_callback_can_be_awaited_repeatedly():
    """
    All marked methods return the same object.
    """
    assert [await DONE, await DONE] == [None, None]


def test_every_event_method_of_the_handler_is_inline():
    """
    An unmarked method would receive events of async runs late, and its runs would have wrong parents.
    """
    handler = FluxLoopCallbackHandler()
    events = [name for name in dir(BaseCallbackHandler) if name.startswith("on_")]

    assert [name for name in events if not inspect.iscoroutinefunction(getattr(handler, name))] == []
    assert len(events) >= 16


async def test_a_plain_method_of_a_subclass_is_called_in_a_thread(captured):
    """
    A subclass may override an event without the mark; the tree is the same.
    """
    from langchain_core.runnables import RunnableLambda

    class Louder(FluxLoopCallbackHandler):
        def on_chain_start(self, serialized, inputs, **kwargs):
            super().on_chain_start(serialized, f"{inputs}!", **kwargs)

    await (RunnableLambda(str) | RunnableLambda(len)).ainvoke("hey", {"callbacks": [Louder()]})

    assert captured.outline(inputs=True) == (
        "CHAIN RunnableSequence('hey!') -> 3\n  CHAIN str('hey!') -> 'hey'\n  CHAIN len('hey!') -> 3"
    )
