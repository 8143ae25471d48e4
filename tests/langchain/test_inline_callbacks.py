"""
The handler's methods do their work where they are called, on sync and on async runs.
"""

from __future__ import annotations

import asyncio
import inspect
import threading

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.callbacks.manager import ahandle_event, handle_event

from fluxloop_langchain import FluxLoopCallbackHandler
from fluxloop_langchain.internals import DONE, inline_callback


class Told(BaseCallbackHandler):
    """Notes who was told what in which thread."""

    def __init__(self):
        self.stream_items = []

    @inline_callback
    def on_text(self, text, **kwargs):
        self.stream_items.append((text, threading.get_ident()))
        return DONE


async def test_on_async_runs_it_is_called_in_the_loops_own_thread():
    """
    langchain-core sends plain methods to a thread, later and dearer; one marked in place it awaits.
    """
    handler = Told()
    await ahandle_event([handler], "on_text", None, "a")
    await ahandle_event([handler], "on_text", None, "b")

    assert handler.stream_items == [("a", threading.get_ident()), ("b", threading.get_ident())]


def test_on_sync_runs_it_needs_no_event_loop():
    """
    langchain-core would start a loop for a coroutine; what is returned is none.
    """
    handler = Told()
    handle_event([handler], "on_text", None, "a")

    assert handler.stream_items == [("a", threading.get_ident())]
    assert not asyncio.iscoroutine(handler.on_text("b"))


async def test_it_can_be_awaited_any_number_of_times():
    """
    What a marked method returns is one object for all.
    """
    assert [await DONE, await DONE] == [None, None]


def test_every_event_of_the_handler_is_in_place():
    """
    One that was forgotten would come late on async runs, and its parent with it.
    """
    handler = FluxLoopCallbackHandler()
    events = [name for name in dir(BaseCallbackHandler) if name.startswith("on_")]

    assert [name for name in events if not inspect.iscoroutinefunction(getattr(handler, name))] == []
    assert len(events) >= 16


async def test_a_plain_method_of_a_subclass_works_too(captured):
    """
    Whoever overrides an event without the mark is called from a thread, and everything nests as before.
    """
    from langchain_core.runnables import RunnableLambda

    class Louder(FluxLoopCallbackHandler):
        def on_chain_start(self, serialized, inputs, **kwargs):
            super().on_chain_start(serialized, f"{inputs}!", **kwargs)

    await (RunnableLambda(str) | RunnableLambda(len)).ainvoke("hey", {"callbacks": [Louder()]})

    assert captured.outline(inputs=True) == (
        "CHAIN RunnableSequence('hey!') -> 3\n  CHAIN str('hey!') -> 'hey'\n  CHAIN len('hey!') -> 3"
    )
