"""
Events that a relay passes on, with an id object made for each event, give the tree of the original runs.

A relay carries events from another process, such as a LangServe client, or from another callback system. The runs it
reports are not held by a manager of langchain-core, so the ids of its events do not show how long a run is open.
"""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import threading
from queue import SimpleQueue
from uuid import UUID, uuid4

import pytest
from langchain_core.callbacks import (
    AsyncCallbackHandler,
    AsyncCallbackManager,
    BaseCallbackHandler,
    BaseCallbackManager,
    CallbackManager,
)
from langchain_core.callbacks.manager import (
    AsyncCallbackManagerForChainRun,
    AsyncCallbackManagerForToolRun,
    CallbackManagerForChainRun,
    CallbackManagerForToolRun,
    ahandle_event,
    handle_event,
)
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from scripted_models import ScriptedModel

import fluxloop
from fluxloop.testing import capture
from fluxloop_langchain import FluxLoopCallbackHandler
from fluxloop_langchain.orphan_runs import MAX_UNPROVEN

pytestmark = pytest.mark.filterwarnings("ignore:astream_log is deprecated")

EVENTS = [name for name in dir(BaseCallbackHandler) if name.startswith("on_")]
IDS = ("run_id", "parent_run_id")


class Shelf(BaseRetriever):
    """Finds nothing."""

    def _get_relevant_documents(self, query, *, run_manager):
        return []


@tool
def size(text: str) -> int:
    """Return the length of a text."""
    return len(text)


def research(question):
    Shelf().invoke(question)
    return size.invoke({"text": question})


PROMPT = ChatPromptTemplate.from_template("{question}")
MODEL = ScriptedModel(replies=["Tigers hunt at night."])
CHAIN = RunnableLambda(lambda given: {"question": str(research(given))}) | PROMPT | MODEL | StrOutputParser()


def fresh(fields):
    """Return *fields* with new id objects, as after a transport that has ids as text."""
    return fields | {name: UUID(str(fields[name])) for name in IDS if fields.get(name) is not None}


def run_chain(callbacks, way):
    """Run the chain with *callbacks*, in one of the ways in which langchain-core runs it."""
    config = {"callbacks": callbacks}

    async def read():
        return [item async for item in CHAIN.astream("Who?", config)]

    async def read_events():
        return [item async for item in CHAIN.astream_events("Who?", config, version="v2")]

    async def read_log():
        return [item async for item in CHAIN.astream_log("Who?", config)]

    if way == "invoke":
        CHAIN.invoke("Who?", config)
    elif way == "stream":
        list(CHAIN.stream("Who?", config))
    elif way == "batch":
        CHAIN.batch(["Who?"], config)
    elif way == "ainvoke":
        asyncio.run(CHAIN.ainvoke("Who?", config))
    else:
        asyncio.run({"astream": read, "astream_events": read_events, "astream_log": read_log}[way]())


WAYS = ["invoke", "stream", "batch", "ainvoke", "astream", "astream_events", "astream_log"]


def record_directly(way):
    """Return what is recorded without a relay: a line per observation with type, name, status and output."""
    with capture() as captured:
        run_chain([FluxLoopCallbackHandler()], way)
    return lines(captured)


def lines(captured):
    return [
        (depth, one.type.name, one.name, one.status.value, one.input, one.output, one.usage)
        for trace in captured.traces()
        for depth, one in trace.walk()
    ]


class Relay(BaseCallbackHandler):
    """Passes each event on to *send*, with new id objects."""

    def __init__(self, send):
        self.send = send


class AsyncRelay(AsyncCallbackHandler):
    """The same with coroutine functions."""

    def __init__(self, send):
        self.send = send


def _relaying(event):
    def relay(self, *args, **fields):
        self.send(event, args, fresh(fields))

    return relay


def _relaying_later(event):
    async def relay(self, *args, **fields):
        await asyncio.sleep(0)
        self.send(event, args, fresh(fields))

    return relay


for name in EVENTS:
    setattr(Relay, name, _relaying(name))
    setattr(AsyncRelay, name, _relaying_later(name))


def to_methods(handler):
    """Call the handler's methods."""

    def send(event, args, fields):
        getattr(handler, event)(*args, **fields)
        gc.collect(0)

    return send


def to_handle_event(handler):
    """Send events as langchain-core does, without its managers."""
    return lambda event, args, fields: handle_event([handler], event, None, *args, **fields)


def to_queue(handler):
    """Send events in another thread, by a queue of records as another process would write them."""
    queue = SimpleQueue()

    def work():
        while (item := queue.get()) is not None:
            event, args, fields = item
            asyncio.run(ahandle_event([handler], event, None, *args, **fresh(fields)))

    thread = threading.Thread(target=work)
    thread.start()

    def send(event, args, fields):
        queue.put((event, args, {name: str(item) if name in IDS and item else item for name, item in fields.items()}))

    send.close = lambda: (queue.put(None), thread.join(30))
    return send


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("relay_class", [Relay, AsyncRelay])
@pytest.mark.parametrize("target", [to_methods, to_handle_event, to_queue])
def test_relayed_events_are_recorded_as_the_runs_they_report(captured, target, relay_class, way):
    """The tree, statuses, inputs, outputs and token counts are those of a handler that is attached to the runs."""
    expected = record_directly(way)

    send = target(FluxLoopCallbackHandler())
    run_chain([relay_class(send)], way)
    getattr(send, "close", lambda: None)()

    assert lines(captured) == expected
    assert {line[3] for line in expected} == {"success"}


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
def test_a_manager_that_copies_ids_does_not_end_runs(captured, copied, way):
    """A subclass of langchain-core's manager may replace the id of each run, and each event have another object."""

    class Copying(BaseCallbackHandler):
        def __init__(self, handler):
            self.handler = handler

        def __getattribute__(self, name):
            if not name.startswith("on_"):
                return object.__getattribute__(self, name)
            return lambda *args, **fields: getattr(self.handler, name)(*args, **copied(ids(fields)) | others(fields))

    def ids(fields):
        return {name: item for name, item in fields.items() if name in IDS}

    def others(fields):
        return {name: item for name, item in fields.items() if name not in IDS}

    expected = record_directly(way)
    run_chain([Copying(FluxLoopCallbackHandler())], way)

    assert lines(captured) == expected


def test_managers_made_for_each_event_are_one_run(captured):
    """A relay may use langchain-core's managers, keep none of them, and make a new one for the end of each run."""
    handler = FluxLoopCallbackHandler()
    root, step = str(uuid4()), str(uuid4())

    def manager(parent=None):
        return CallbackManager([handler], [handler], parent_run_id=parent and UUID(parent))

    def ending(cls, run, parent=None):
        return cls(run_id=UUID(run), handlers=[handler], inheritable_handlers=[], parent_run_id=parent and UUID(parent))

    manager().on_chain_start({"name": "root"}, {"n": 1}, run_id=UUID(root))
    manager(root).on_tool_start({"name": "step"}, "2", run_id=UUID(step))
    gc.collect()
    ending(CallbackManagerForToolRun, step, root).on_tool_end(3)
    ending(CallbackManagerForChainRun, root).on_chain_end({"n": 4})

    assert captured.outline() == "CHAIN root -> {'n': 4}\n  TOOL step -> 3"


async def test_async_managers_made_for_each_event_are_one_run(captured):
    """The same in async runs, where langchain-core passes the id of a run to the handler before the event."""
    handler = FluxLoopCallbackHandler()
    root, step = str(uuid4()), str(uuid4())

    def manager(parent=None):
        return AsyncCallbackManager([handler], [handler], parent_run_id=parent and UUID(parent))

    def ending(cls, run, parent=None):
        return cls(run_id=UUID(run), handlers=[handler], inheritable_handlers=[], parent_run_id=parent and UUID(parent))

    await manager().on_chain_start({"name": "root"}, {"n": 1}, run_id=UUID(root))
    await manager(root).on_tool_start({"name": "step"}, "2", run_id=UUID(step))
    gc.collect()
    await ending(AsyncCallbackManagerForToolRun, step, root).on_tool_end(3)
    await ending(AsyncCallbackManagerForChainRun, root).on_chain_end({"n": 4})

    assert captured.outline() == "CHAIN root -> {'n': 4}\n  TOOL step -> 3"


@pytest.mark.parametrize("way", WAYS)
def test_a_manager_class_of_the_user_s_that_relays_is_recorded(captured, way):
    """A subclass of the manager, which langchain-core calls, and which passes each start on with a new id."""

    class Manager(CallbackManager):
        def on_chain_start(self, *args, run_id=None, **fields):
            return super().on_chain_start(*args, run_id=UUID(str(run_id or uuid4())), **fields)

    class AsyncManager(AsyncCallbackManager):
        async def on_chain_start(self, *args, run_id=None, **fields):
            return await super().on_chain_start(*args, run_id=UUID(str(run_id or uuid4())), **fields)

    expected = record_directly(way)
    handler = FluxLoopCallbackHandler()
    is_sync = way in ("invoke", "stream", "batch")
    run_chain((Manager if is_sync else AsyncManager)([handler], [handler]), way)

    assert lines(captured) == expected
    assert issubclass(Manager, BaseCallbackManager)


def test_a_relayed_run_with_thousands_of_runs_inside_stays_open(captured):
    """The number of runs inside a relayed run does not end it, however many of them have ended."""
    handler, root = FluxLoopCallbackHandler(), str(uuid4())
    handler.on_chain_start(None, {"n": 1}, run_id=UUID(root), name="root")
    for number in range(2 * MAX_UNPROVEN):
        run = str(uuid4())
        handler.on_tool_start({"name": "step"}, "", run_id=UUID(run), parent_run_id=UUID(root))
        handler.on_tool_end(number, run_id=UUID(run))
    handler.on_chain_end({"n": 2}, run_id=UUID(root))
    (trace,) = captured.traces()

    assert {one.status.value for one in trace.observations} == {"success"}
    assert trace.output == {"n": 2}
    assert len(handler.ledger._unproven) <= MAX_UNPROVEN


def test_relayed_runs_that_never_end_are_bounded(captured):
    """Of a relay that reports starts only, the oldest runs end, the innermost first."""
    handler, root = FluxLoopCallbackHandler(), str(uuid4())
    handler.on_chain_start(None, {"n": 1}, run_id=UUID(root), name="root")
    for _ in range(MAX_UNPROVEN + 5):
        handler.on_tool_start({"name": "step"}, "", run_id=uuid4(), parent_run_id=UUID(root))
    still_open = len(handler.ledger)
    handler.on_chain_end({"n": 2}, run_id=UUID(root))
    statuses = [one.status.value for one in captured.traces()[0].observations]

    assert still_open <= MAX_UNPROVEN + 1
    assert statuses[0] == "success"
    assert statuses.count("cancelled") >= 5


def test_a_relay_inside_an_observation_nests_there(captured):
    """Relayed runs without a parent belong to the observation that is open where the relay runs."""
    handler, run = FluxLoopCallbackHandler(), str(uuid4())
    with fluxloop.instrument("request"):
        handler.on_chain_start(None, {"n": 1}, run_id=run, name="remote")
        handler.on_chain_end({"n": 2}, run_id=UUID(run))

    assert captured.outline() == "SPAN request\n  CHAIN remote -> {'n': 2}"
