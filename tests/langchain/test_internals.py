"""
Each internal of langchain-core that FluxLoop reads may be renamed: programs run as before, only details are missing.
"""

from __future__ import annotations

import asyncio
import copy
import functools
import importlib
import inspect
import sys
from contextlib import suppress
from types import SimpleNamespace

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import (
    AsyncCallbackManager,
    AsyncCallbackManagerForChainRun,
    CallbackManager,
    CallbackManagerForChainRun,
    manager,
)
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableLambda
from langchain_core.tools import BaseTool, tool
from langchain_core.tracers import context as tracers_context
from scripted_models import ScriptedModel, calls

import fluxloop
from fluxloop import answering
from fluxloop.encoding import converters
from fluxloop.tracing import outcomes

ENDINGS = """\
CHAIN whole success
  CHAIN prepare success
    SPAN helper success
  GENERATION ScriptedModel success
CHAIN RunnableSequence abandoned
  GENERATION ScriptedModel abandoned
CHAIN RunnableSequence error
  CHAIN divide error
TOOL size success
  SPAN helper success
CHAIN whole success
  CHAIN prepare success
    SPAN helper success
  GENERATION ScriptedModel success
CHAIN RunnableSequence cancelled
  CHAIN wait cancelled
TOOL asize success
  SPAN helper success
GENERATION ScriptedModel success
GENERATION ScriptedModel success"""
"""What `run` records: chains that are invoked, streamed, left, failing and cancelled; tools; an answer from a cache."""

AGENT = """\
AGENT LangGraph success
GENERATION ScriptedModel success
TOOL add success
GENERATION ScriptedModel success"""


@fluxloop.trace
def helper(value):
    return value


def prepare(value):
    return helper(value)


def divide(number):
    return 1 / number


@tool
@fluxloop.tool
def size(text: str) -> int:
    """Return the length of a text."""
    return helper(len(text))


@tool
@fluxloop.tool
async def asize(text: str) -> int:
    """Return the length of a text."""
    return helper(len(text))


@tool
@fluxloop.tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def model(**options):
    return ScriptedModel(replies=["Tigers hunt at night."], **options)


def whole():
    chain = RunnableLambda(prepare) | ChatPromptTemplate.from_template("{question}") | model() | StrOutputParser()
    return chain.with_config(run_name="whole")


def run(config):
    """Return the results of runs in all ways, some and some end in other ways than by success."""
    return run_sync(config) + asyncio.run(run_async(config))


def run_sync(config):
    results = [whole().invoke({"question": "Who?"}, config)]
    for piece in (model() | StrOutputParser()).stream("Who?", config):
        results.append(piece)
        break
    with suppress(ZeroDivisionError):
        (RunnableLambda(divide) | StrOutputParser()).invoke(0, config)
    return [*results, size.invoke({"text": "abc"}, config)]


async def run_async(config):
    begun = asyncio.Event()

    async def wait(_):
        begun.set()
        await asyncio.Event().wait()

    results = [[item async for item in whole().astream({"question": "Who?"}, config)]]
    task = asyncio.create_task((RunnableLambda(wait) | StrOutputParser()).ainvoke("x", config))
    await begun.wait()
    task.cancel()
    await asyncio.wait([task])
    results.append(await asize.ainvoke({"text": "abcd"}, config))
    cached = model(cache=InMemoryCache())
    return results + [(await cached.ainvoke("Who?", config)).content for _ in range(2)]


def run_agent(config):
    """Return the last message of an agent that calls a tool."""
    agents = pytest.importorskip("langchain.agents")
    scripted = ScriptedModel(replies=[calls("add", {"a": 1, "b": 2}), "three"])
    agent = agents.create_agent(scripted, [add])
    return agent.invoke({"messages": [("user", "1 + 2?")]}, config)["messages"][-1].content


@pytest.fixture
def reimport(monkeypatch):
    """Import ``fluxloop_langchain`` again, as a new program would; returns the package."""
    monkeypatch.setattr(sys.modules["fluxloop.report"], "_missing", {})
    monkeypatch.setattr(answering.seams, "_seams", [])  # those of the second package end with the test

    def reimport():
        for name in [name for name in sys.modules if name.partition(".")[0] == "fluxloop_langchain"]:
            monkeypatch.delitem(sys.modules, name)
        return importlib.import_module("fluxloop_langchain")

    return reimport


def missing():
    """Return what the package reported as missing."""
    return [message for message in fluxloop.report().problems if message.startswith("fluxloop_langchain")]


def endings(traces):
    return [f"{'  ' * depth}{one.type.name} {one.name} {one.status.value}" for t in traces for depth, one in t.walk()]


def assert_runs_as_before(package):
    """Compare results with those of a program that is not recorded, and the statuses with the true ones."""
    dropped = fluxloop.report().dropped
    expected = run({})
    handler = package.FluxLoopCallbackHandler()
    with fluxloop.testing.capture() as captured:
        assert run({"callbacks": [handler]}) == expected
        assert "\n".join(endings(captured.traces())) == ENDINGS
    with fluxloop.testing.capture() as captured:
        assert run_agent({"callbacks": [handler]}) == "three"
        found = [line.strip() for line in endings(captured.traces()) if not line.strip().startswith("CHAIN")]
        assert "\n".join(found) == AGENT
    assert len(handler.ledger) == 0
    assert fluxloop.report().dropped == dropped


def without_module(name):
    return lambda patch: patch.setitem(sys.modules, name, None)


def without_attribute(module, name):
    return lambda patch: patch.delattr(importlib.import_module(module), name)


def without_config(patch):
    without_attribute("langchain_core.runnables.config", "var_child_runnable_config")(patch)
    without_attribute("langchain_core.runnables.config", "ensure_config")(patch)


def without_mark(patch):
    if sys.version_info >= (3, 12):
        patch.setattr(inspect, "markcoroutinefunction", lambda method: method)
    else:
        patch.setattr(inspect, "CO_COROUTINE", 0)


BEFORE_IMPORT = {
    "config variable": without_attribute("langchain_core.runnables.config", "var_child_runnable_config"),
    "ensure_config": without_attribute("langchain_core.runnables.config", "ensure_config"),
    "hook": without_attribute("langchain_core.tracers.context", "register_configure_hook"),
    "module of the hook": without_module("langchain_core.tracers.context"),
    "tracer": without_attribute("langchain_core.tracers.base", "BaseTracer"),
    "module of the tracer": without_module("langchain_core.tracers.base"),
    "method of the manager": lambda patch: patch.delattr(CallbackManager, "on_chain_start"),
    "method of the async manager": lambda patch: patch.delattr(AsyncCallbackManager, "on_chain_start"),
    "mark of coroutine functions": without_mark,
}
UNREPORTED = {"ensure_config"}
"""Replaced by another internal, so that nothing is lost."""


@pytest.mark.parametrize("removed", BEFORE_IMPORT)
def test_runs_are_recorded_without_a_name_that_is_read_on_import(reimport, monkeypatch, removed):
    """The package can be imported; what it misses is in the report."""
    with monkeypatch.context() as patch:
        BEFORE_IMPORT[removed](patch)
        package = reimport()

    assert_runs_as_before(package)
    assert len(missing()) == (removed not in UNREPORTED)


def test_functions_in_a_step_are_recorded_without_the_configuration_of_the_step(reimport, monkeypatch):
    """If neither the variable nor `ensure_config` exists, functions in a step are traces of their own."""
    with monkeypatch.context() as patch:
        without_config(patch)
        package = reimport()
    config = {"callbacks": [package.FluxLoopCallbackHandler()]}

    with fluxloop.testing.capture() as captured:
        assert RunnableLambda(prepare).invoke(7, config) == 7

    assert captured.outline() == "CHAIN prepare -> 7"
    assert len(missing()) == 2


def test_install_attaches_nothing_without_the_hook(reimport, monkeypatch):
    """Runs are recorded by handlers in their configuration then, and `install` does not fail."""
    monkeypatch.delattr(tracers_context, "register_configure_hook")
    package = reimport()
    with fluxloop.testing.capture() as captured:
        package.install()
        assert RunnableLambda(abs).invoke(-1) == 1
        package.uninstall()

    assert captured.traces() == []
    assert "install() attaches nothing" in missing()[0]


def renamed(function, **names):
    """Return the code of *function* with names of its local variables, or constants, replaced."""
    code = function.__code__
    replaced = {
        part: tuple(names.get(name, name) if type(name) is str else name for name in getattr(code, part))
        for part in ("co_names", "co_varnames", "co_cellvars", "co_consts")
    }
    return code.replace(**replaced)


def another_frame(name):
    """Put a function of langchain-core's between the manager and the handler."""

    def patch(monkeypatch):
        original = getattr(manager, name)
        if inspect.iscoroutinefunction(original):

            async def between(*args, **kwargs):
                return await further(*args, **kwargs)

            async def further(*args, **kwargs):
                return await original(*args, **kwargs)
        else:

            def between(*args, **kwargs):
                return original(*args, **kwargs)

        monkeypatch.setattr(manager, name, between)

    return patch


def another_variable(method, **names):
    return lambda patch: patch.setattr(method, "__code__", renamed(method, **names))


def another_marker(patch):
    for name in ("_transform_stream_with_config", "_atransform_stream_with_config"):
        method = getattr(Runnable, name)
        assert "" in method.__code__.co_consts
        patch.setattr(method, "__code__", renamed(method, **{"": "(a stream)"}))


def copied_metadata(patch):
    original = CallbackManager.add_metadata

    def add_metadata(self, metadata, *args, **options):
        return original(self, copy.deepcopy(metadata), *args, **options)

    patch.setattr(CallbackManager, "add_metadata", add_metadata)


def copied_errors(patch):
    for cls in (CallbackManagerForChainRun, AsyncCallbackManagerForChainRun):
        original = cls.on_chain_error

        def on_chain_error(self, error, *, original=original, **kwargs):
            return original(self, copy.copy(error), **kwargs)

        patch.setattr(cls, "on_chain_error", functools.wraps(original)(on_chain_error))


AT_RUN = {
    "frame of handle_event": another_frame("handle_event"),
    "frame of ahandle_event": another_frame("ahandle_event"),
    "frame of an async event": another_frame("_ahandle_event_for_handler"),
    "run_id_": another_variable(AsyncCallbackManager.on_chat_model_start, run_id_="identity"),
    "tool in run": another_variable(BaseTool.run, self="this"),
    "tool in arun": another_variable(BaseTool.arun, self="this"),
    "marker of streamed input": another_marker,
    "mark of cached answers": another_variable(BaseChatModel._convert_cached_generations, total_cost="cost"),
    "identity of metadata": copied_metadata,
    "identity of errors": copied_errors,
}
REPORTED = {"frame of handle_event", "frame of ahandle_event", "tool in run"}
"""Looked for when the package is imported; the others show only in what is recorded."""


@pytest.mark.parametrize("changed", AT_RUN)
def test_runs_are_recorded_by_a_release_whose_functions_have_another_form(reimport, monkeypatch, changed):
    """Frames, local variables, marker values and the identity of objects may change."""
    AT_RUN[changed](monkeypatch)
    package = reimport()

    assert_runs_as_before(package)
    assert len(missing()) == (changed in REPORTED)


@pytest.mark.parametrize("name", ["GraphBubbleUp", "GraphInterrupt", "ParentCommand"])
def test_an_interrupted_graph_is_not_an_error_without_an_exception_class_of_langgraph(reimport, monkeypatch, name):
    """An interrupt is recognised by any of the classes it has."""
    errors = pytest.importorskip("langgraph.errors")
    graphs = pytest.importorskip("graphs")
    monkeypatch.setattr(outcomes, "_registered", {})
    with monkeypatch.context() as patch:
        patch.delattr(errors, name)
        package = reimport()
        config = {"callbacks": [package.FluxLoopCallbackHandler()], "configurable": {"thread_id": "t"}}
        RunnableLambda(abs).invoke(-1, config)

    with fluxloop.testing.capture() as captured:
        graphs.asking().invoke({"seen": []}, config)

    assert {one.status.value for one in captured.traces()[0].observations} == {"interrupted", "success"}
    assert f"langgraph.errors.{name}" in missing()[0]


def test_a_resumed_graph_is_recorded_if_the_command_class_is_another(reimport, monkeypatch):
    """The answer is in the input of the run; only the RESUME event is missing."""
    types = pytest.importorskip("langgraph.types")
    graphs = pytest.importorskip("graphs")
    package = reimport()
    config = {"callbacks": [package.FluxLoopCallbackHandler()], "configurable": {"thread_id": "t"}}
    graph = graphs.asking()

    with fluxloop.testing.capture() as captured:
        graph.invoke({"seen": []}, config)
        monkeypatch.setattr(types.Command, "__module__", "langgraph.commands")
        monkeypatch.setattr(converters, "_chosen", {})  # the choice for the renamed class ends with this test
        graph.invoke(types.Command(resume="yes"), config)
    _, resumed = captured.traces()

    assert resumed.status.value == "success"
    assert [one.name for one in resumed.observations if one.type.name == "EVENT"] == []


def test_an_interrupt_of_another_form_is_an_interrupt(reimport):
    """If interrupts have no id, the INTERRUPT event is missing, and the status is the same."""
    errors = pytest.importorskip("langgraph.errors")
    package = reimport()
    config = {"callbacks": [package.FluxLoopCallbackHandler()]}

    def ask(_):
        raise errors.GraphInterrupt((SimpleNamespace(question="Sure?"),))

    with fluxloop.testing.capture() as captured, pytest.raises(errors.GraphInterrupt):
        RunnableLambda(ask).invoke("x", config)

    assert endings(captured.traces()) == ["CHAIN ask interrupted"]


def test_what_is_missing_is_logged_once(reimport, monkeypatch, caplog):
    """However many runs there are, a missing internal is one log message, and one entry of the report."""
    with monkeypatch.context() as patch:
        BEFORE_IMPORT["tracer"](patch)
        package = reimport()
    for _ in range(3):
        RunnableLambda(abs).invoke(-1, {"callbacks": [package.FluxLoopCallbackHandler()]})

    assert [record.getMessage() for record in caplog.records] == missing()
    (message,) = missing()
    assert message == (
        "fluxloop_langchain: langchain_core.tracers.base.BaseTracer is missing in the installed version: "
        "the TracePolicy of a LangGraph node does not apply to the handler"
    )


@pytest.mark.skipif(sys.gettrace() is not None, reason="a tracer is a frame too")
def test_nothing_is_reported_as_missing_in_the_installed_release(reimport):
    """All internals exist, and programs are recorded in every detail."""
    package = reimport()
    assert_runs_as_before(package)

    assert missing() == []


def test_details_that_depend_on_internals_are_there_in_the_installed_release(reimport):
    """The input of a streamed chain, a cached answer without token counts, and metadata on one run only."""
    package = reimport()
    config = {"callbacks": [package.FluxLoopCallbackHandler()], "metadata": {"key": ["value"]}}
    cached = model(cache=InMemoryCache())

    with fluxloop.testing.capture() as captured:
        list(whole().stream({"question": "Who?"}, config))
        cached.invoke("Who?", config)
        cached.invoke("Who?", config)
    streamed, first, second = captured.traces()

    assert streamed.input == {"question": "Who?"}
    assert [one.name for one in streamed.observations if "key" in one.metadata] == ["whole"]
    assert (first.usage.total_tokens, second.usage) == (25, None)
    assert second.observations[0].metadata["cached"] is True
