"""
Each internal of LangGraph that FluxLoop reads may be renamed: graphs run as before, and only details are missing.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from types import SimpleNamespace

import graphs
import pytest
from graphs import THREAD
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph import errors
from langgraph.cache.memory import InMemoryCache
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.pregel import Pregel, remote
from langgraph.types import CachePolicy, Command, RetryPolicy
from scripted_models import ScriptedModel

import fluxloop
from fluxloop import answering
from fluxloop.testing import capture

assert remote  # imports internals itself, which a test removes
HAS_TIMEOUTS = hasattr(errors, "NodeTimeoutError")

ENDINGS = """\
LangGraph interrupted
  fetch error
  fetch success
  cached success
  inner interrupted
    ask interrupted
      interrupt success
LangGraph success
  resume success
  inner success
    ask success
    after success"""
"""The first two runs of the graph that `build` makes."""


def build():
    """Return a graph with a retry, a cached node and an interrupt in a subgraph."""
    failures = [ConnectionError("busy")]

    def fetch(state):
        if failures:
            raise failures.pop()

    builder = StateGraph(graphs.State)
    builder.add_node("fetch", fetch, retry_policy=RetryPolicy(initial_interval=0.0, jitter=False))
    builder.add_node("cached", lambda state: {"n": 1}, cache_policy=CachePolicy(key_func=lambda state: "key"))
    builder.add_node("inner", graphs.asking(checkpointer=None))
    builder.add_edge(START, "fetch")
    builder.add_edge("fetch", "cached")
    builder.add_edge("cached", "inner")
    return builder.compile(checkpointer=InMemorySaver(), cache=InMemoryCache())


def run(graph, is_async=False):
    """Return the results of a question, its answer, and a run whose cached node does not run."""

    def invoke(given, config):
        return asyncio.run(graph.ainvoke(given, config)) if is_async else graph.invoke(given, config)

    question = invoke({"seen": []}, THREAD)
    question.pop("__interrupt__")
    answered = invoke(Command(resume="yes"), THREAD)
    again = invoke({"seen": []}, {"configurable": {"thread_id": "t-2"}})
    return question, answered, again["n"]


def run_agent(wrap):
    """Return the last message of an agent that calls a tool."""
    agents = pytest.importorskip("langchain.agents")

    @tool
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    call = {"name": "add", "args": {"a": 1, "b": 2}, "id": "call-1"}
    model = ScriptedModel(replies=[AIMessage("", tool_calls=[call]), AIMessage("three")])
    return wrap(agents.create_agent(model, [add])).invoke({"messages": [("user", "1 + 2?")]})["messages"][-1].content


@pytest.fixture
def reimport(monkeypatch):
    """Import ``fluxloop_langgraph`` again, as a new program would; returns the package."""
    monkeypatch.setattr(sys.modules["fluxloop.report"], "_missing", {})
    monkeypatch.setattr(answering.seams, "_seams", [])  # those of the second package end with the test

    def reimport():
        for name in [name for name in sys.modules if name.partition(".")[0] == "fluxloop_langgraph"]:
            monkeypatch.delitem(sys.modules, name)
        return importlib.import_module("fluxloop_langgraph")

    return reimport


def without_module(name):
    def remove(patch):
        patch.setitem(sys.modules, name, None)

    return remove


def without_attribute(module, name):
    def remove(patch):
        patch.delattr(importlib.import_module(module), name)

    return remove


BEFORE_IMPORT = {
    "module _config": without_module("langgraph._internal._config"),
    "ensure_config": without_attribute("langgraph._internal._config", "ensure_config"),
    "module callbacks": without_module("langgraph.callbacks"),
}
if HAS_TIMEOUTS:
    BEFORE_IMPORT["module _constants"] = without_module("langgraph._internal._constants")
    BEFORE_IMPORT["observer"] = without_attribute("langgraph._internal._constants", "CONFIG_KEY_TIMED_ATTEMPT_OBSERVER")
    BEFORE_IMPORT["handler class"] = without_attribute("langgraph.callbacks", "GraphCallbackHandler")


@pytest.mark.parametrize("removed", BEFORE_IMPORT)
def test_a_graph_is_recorded_without_a_module_or_name_that_is_read_on_import(recorded, reimport, monkeypatch, removed):
    """
    The package can be imported, and interrupt, retry, subgraph and agent are recorded with their own statuses.
    """
    with monkeypatch.context() as patch:
        BEFORE_IMPORT[removed](patch)
        package = reimport()

    assert_runs_as_before(recorded, package)
    assert ("callbacks" in removed or "class" in removed) or _noted()


def rename_in(patch, function, old, new):
    """Rename a variable or attribute in *function*, as if its source had another name there."""
    code = function.__code__
    renamed = {
        names: tuple(new if name == old else name for name in getattr(code, names))
        for names in ("co_names", "co_varnames", "co_cellvars")
    }
    patch.setattr(function, "__code__", code.replace(**renamed))


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("removed", ["_defaults", "loop"])
def test_a_graph_is_recorded_without_a_method_or_variable_of_pregel(recorded, reimport, monkeypatch, removed, is_async):
    """
    A release may rename what `Pregel.stream` calls, and its local variables.
    """
    package = reimport()
    for method in (Pregel.stream, Pregel.astream):
        rename_in(monkeypatch, method, removed, "renamed")
    if removed == "_defaults":
        monkeypatch.setattr(Pregel, "renamed", Pregel._defaults, raising=False)
        monkeypatch.delattr(Pregel, "_defaults")

    assert_runs_as_before(recorded, package, has_cached=removed != "_defaults", is_async=is_async)
    assert len(_noted()) == 1


@pytest.mark.parametrize("removed", ["checkpoint", "checkpointer", "status", "tasks"])
def test_a_graph_is_recorded_without_an_attribute_of_its_loop(recorded, reimport, monkeypatch, removed):
    """
    The loop of a graph may lose each of the attributes that are read.
    """
    package = reimport()
    state = importlib.import_module("fluxloop_langgraph.call_state")
    loop_in = state.loop_in

    class Without:
        def __init__(self, loop):
            self._loop = loop

        def __getattr__(self, name):
            if name == removed:
                raise AttributeError(name)
            return getattr(self._loop, name)

    loops = []

    def without(generator):
        loop = loop_in(generator)
        loops.append(Without(loop) if loop is not None else None)
        return loops[-1]

    monkeypatch.setattr(state, "loop_in", without)

    assert_runs_as_before(recorded, package)


@pytest.mark.parametrize(
    "found", [{"key": "value"}, {(("x",), "k"): 5}, {((), "k"): [("n", 1)]}, {(("a", "b", "c"), 1): [5]}]
)
def test_a_cache_of_another_form_changes_nothing(recorded, reimport, found):
    """
    Whatever the cache of a future release holds, a look-up returns it.
    """
    package = reimport()
    handler = importlib.import_module("fluxloop_langgraph.handler").GraphHandler(graphs.steps())
    observed = importlib.import_module("fluxloop_langgraph.cache").ObservedCache(InMemoryCache(), handler.record_cached)
    observed.cache.get = lambda keys: found

    assert observed.get([]) is found
    assert package.waiting([]) == []


def test_a_class_that_cannot_be_derived_from_is_left_unrecorded(recorded, reimport):
    """
    The graph is returned as it is, runs as before, and the loss is reported.
    """
    package = reimport()

    class Final(type(graphs.steps())):
        def __init_subclass__(cls):
            raise TypeError("final")

    graph = graphs.steps()
    graph.__class__ = Final

    assert package.wrap_graph(graph).invoke({"seen": []}) == {"seen": ["step_0", "step_1"], "n": 1}
    assert recorded.traces() == []
    assert "a way to wrap Final" in _noted()[0]


def test_an_event_of_a_timeout_in_another_form_is_passed_on(reimport):
    """
    The observer that was there before receives each event as it is.
    """
    reimport()
    internals = importlib.import_module("fluxloop_langgraph.internals")
    received, config = [], {"configurable": {}}
    if internals._OBSERVER_KEY:
        config["configurable"][internals._OBSERVER_KEY] = received.append
        internals.observe_timeouts(config, lambda namespace, message: received.append(message))
        config["configurable"][internals._OBSERVER_KEY](SimpleNamespace(kind="other"))

        assert received == [SimpleNamespace(kind="other")]


def assert_runs_as_before(recorded, package, *, has_cached=True, is_async=False):
    """Compare results with those of the bare graph, and the statuses in the records with the true ones."""
    assert run(package.wrap_graph(build()), is_async) == run(build())
    traces = recorded.traces()
    endings = [f"{'  ' * depth}{one.name} {one.status.value}" for trace in traces[:2] for depth, one in trace.walk()]
    assert "\n".join(endings) == ENDINGS
    assert [one.name for one in traces[2].observations].count("cached") == has_cached
    assert run_agent(package.wrap_graph) == run_agent(lambda agent: agent) == "three"
    assert [one.type.name for one in recorded.traces()[3].observations] == ["AGENT", "GENERATION", "TOOL", "GENERATION"]


def _noted():
    return [message for message in fluxloop.report().problems if message.startswith("fluxloop_langgraph")]


def test_what_is_missing_is_reported_once(reimport, monkeypatch, caplog):
    """
    However many graphs run, a missing internal is one log message, and one entry of the report.
    """
    with monkeypatch.context() as patch:
        BEFORE_IMPORT["ensure_config"](patch)
        package = reimport()
    with capture():
        for _ in range(3):
            package.wrap_graph(graphs.steps()).invoke({"seen": []})
        assert len(_noted()) == 1

    (record,) = [record for record in caplog.records if record.name == "fluxloop"]
    assert record.getMessage() == (
        "fluxloop_langgraph: langgraph._internal._config.ensure_config is missing in the installed version: "
        "callbacks are assumed to be merged"
    )


@pytest.mark.skipif(sys.gettrace() is not None, reason="a tracer reads local variables too")
def test_nothing_is_reported_as_missing_in_the_installed_release(reimport):
    """
    All internals that are read exist, in every way to run a graph.
    """
    package = reimport()
    with capture():
        run(package.wrap_graph(build()))
        package.wrap_graph(graphs.functional()).invoke(3, THREAD)
        for _ in package.wrap_graph(graphs.steps(interrupt_before=["step_1"])).stream({"seen": []}):
            pass

    assert _noted() == []
