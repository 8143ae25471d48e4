"""
A wrapped graph returns, streams, saves and raises what the bare graph does.
"""

from __future__ import annotations

import copy
import inspect
import pickle
import warnings

import graphs
import pytest
from graphs import THREAD, story
from langgraph.cache.memory import InMemoryCache
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphRecursionError
from langgraph.graph import START, StateGraph
from langgraph.store.memory import InMemoryStore
from langgraph.types import CachePolicy, Command

from fluxloop_langgraph import unwrap_graph, wrap_graph

MODES = ["values", "updates", "messages", "custom", "checkpoints", "tasks", "debug"]

GRAPHS = {
    "steps": (graphs.steps, {"seen": []}),
    "loop": (graphs.loop, {"seen": []}),
    "fan_out": (lambda **options: graphs.fan_out(1, **options), {"seen": []}),
    "nested": (graphs.nested, {"seen": []}),
    "failing": (graphs.failing, {"seen": []}),
    "flaky": (graphs.flaky, {"seen": []}),
    "handing_over": (graphs.handing_over, {"seen": []}),
    "chat": (graphs.chat, {"messages": [("user", "hello")]}),
    "asking": (graphs.asking, {"seen": []}),
    "asking_inside": (graphs.asking_inside, {"seen": []}),
    "functional": (graphs.functional, 3),
}

each_graph = pytest.mark.parametrize("name", GRAPHS)


def outcome(run):
    """Return the result of *run*, or its exception."""
    try:
        return run()
    except Exception as exc:
        return type(exc), exc.args, getattr(exc, "__notes__", None)


async def aoutcome(run):
    try:
        return await run()
    except Exception as exc:
        return type(exc), exc.args, getattr(exc, "__notes__", None)


def both(name):
    """Return a graph, a wrapped copy, each with its own checkpointer, and their input."""
    build, given = GRAPHS[name]
    return build(checkpointer=InMemorySaver()), wrap_graph(build(checkpointer=InMemorySaver())), given


def history(graph):
    return [(s.values, s.next, s.config, s.metadata, s.tasks) for s in graph.get_state_history(THREAD)]


@each_graph
def test_results_errors_and_history_are_those_of_the_bare_graph(name, recorded):
    """
    `invoke` returns or raises the same, and what is saved about it is the same, to the last key.
    """
    bare, wrapped, given = both(name)

    def run(graph):
        return outcome(lambda: graph.invoke(given, THREAD)), outcome(lambda: graph.get_state(THREAD)), history(graph)

    assert story(run(wrapped)) == story(run(bare))
    assert recorded.traces()


@each_graph
async def test_async_results_errors_and_history_are_those_of_the_bare_graph(name, recorded):
    """
    `ainvoke` returns or raises the same, and what is saved about it is the same, to the last key.
    """
    bare, wrapped, given = both(name)

    async def run(graph):
        result = await aoutcome(lambda: graph.ainvoke(given, THREAD))
        return result, await graph.aget_state(THREAD), [one async for one in graph.aget_state_history(THREAD)]

    assert story(await run(wrapped)) == story(await run(bare))
    assert recorded.traces()


@pytest.mark.parametrize("subgraphs", [False, True], ids=["flat", "subgraphs"])
@pytest.mark.parametrize("mode", [*MODES, MODES], ids=[*MODES, "all"])
@each_graph
def test_every_stream_mode_yields_what_the_bare_graph_yields(name, mode, subgraphs):
    """
    Each item of each stream mode is the same, with and without subgraphs.
    """
    bare, wrapped, given = both(name)

    def run(graph):
        return outcome(lambda: list(graph.stream(given, THREAD, stream_mode=mode, subgraphs=subgraphs)))

    assert story(run(wrapped)) == story(run(bare))


@each_graph
async def test_an_async_stream_yields_what_the_bare_graph_yields(name):
    """
    Each item of an async stream in all modes at once is the same.
    """
    bare, wrapped, given = both(name)

    async def run(graph):
        items = []

        async def read():
            async for item in graph.astream(given, THREAD, stream_mode=MODES):
                items.append(item)  # noqa: PERF401 - keeps the items before an error

        return await aoutcome(read), items

    assert story(await run(wrapped)) == story(await run(bare))


@pytest.mark.parametrize("version", ["v2", "v3"])
@each_graph
@pytest.mark.filterwarnings("ignore:.*v3.*")
async def test_astream_events_yields_what_the_bare_graph_yields(name, version):
    """
    Each event of `astream_events` is the same, in protocol version 2 and 3.
    """
    bare, wrapped, given = both(name)

    async def run(graph):
        events = []

        async def read():
            stream = graph.astream_events(given, THREAD, version=version)
            async for event in await stream if inspect.isawaitable(stream) else stream:
                events.append(event)  # noqa: PERF401 - keeps the items before an error

        return await aoutcome(read), events

    if version == "v3" and not hasattr(bare, "stream_events"):
        pytest.skip("this LangGraph has no version 3 of it")
    ours, theirs = story(await run(wrapped)), story(await run(bare))
    if name == "functional":  # its tasks run in parallel, in any order
        ours, theirs = sorted(map(repr, ours[1])), sorted(map(repr, theirs[1]))
    assert ours == theirs


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("name", ["steps", "nested", "asking", "functional"])
def test_every_durability_mode_saves_what_the_bare_graph_saves(name, durability):
    """
    The same checkpoints are written.
    """
    bare, wrapped, given = both(name)

    def run(graph):
        return graph.invoke(given, THREAD, durability=durability), history(graph)

    assert story(run(wrapped)) == story(run(bare))


@pytest.mark.parametrize("name", ["asking", "asking_inside"])
def test_a_resumed_graph_continues_as_the_bare_one(name):
    """
    Interrupts have the same ids and payloads, and the answer reaches the same node.
    """
    bare, wrapped, given = both(name)

    def run(graph):
        first = graph.invoke(given, THREAD)
        return (
            first,
            graph.get_state(THREAD, subgraphs=True),
            graph.invoke(Command(resume="yes"), THREAD),
            history(graph),
        )

    assert story(run(wrapped)) == story(run(bare))


def test_state_can_be_changed_and_forked_as_before():
    """
    `update_state`, and a run from a checkpoint in the past, do what they did.
    """
    bare, wrapped, given = both("steps")

    def run(graph):
        graph.invoke(given, THREAD)
        graph.update_state(THREAD, {"n": 7}, as_node="step_0")
        oldest = list(graph.get_state_history(THREAD))[-2].config
        return graph.invoke(None, THREAD), graph.invoke(None, oldest), history(graph)

    assert story(run(wrapped)) == story(run(bare))


def test_caches_and_stores_are_used_as_before():
    """
    A cached node runs once, a node receives the user's own store, and ``clear_cache`` works.
    """
    store, calls = InMemoryStore(), []

    def build(wrap):
        def node(state, *, store):
            calls.append(wrap)
            return {"n": len(store.search(("notes",))), "seen": [str(store is not None)]}

        builder = StateGraph(graphs.State)
        builder.add_node("node", node, cache_policy=CachePolicy())
        builder.add_edge(START, "node")
        graph = builder.compile(cache=InMemoryCache(), store=store)
        return wrap_graph(graph) if wrap else graph

    def run(graph):
        got = [list(graph.stream({"n": 1}, stream_mode=["updates", "debug"])) for _ in range(2)]
        graph.clear_cache()
        return got, graph.invoke({"n": 1}), type(graph.cache), graph.store is store

    assert story(run(build(True))) == story(run(build(False)))
    assert calls == [True, True, False, False]


def test_a_batch_returns_what_the_bare_graph_returns(recorded):
    """
    `batch` and `abatch` work, and each input is a trace of its own.
    """
    bare, wrapped, _ = both("steps")
    inputs = [{"seen": [str(number)]} for number in range(4)]

    each = [{"configurable": {"thread_id": str(number)}} for number in range(4)]

    assert wrapped.batch(inputs, each) == bare.batch(inputs, each)
    assert sorted(trace.input["seen"] for trace in recorded.traces()) == [["0"], ["1"], ["2"], ["3"]]


def test_the_same_object_of_the_same_type_comes_back():
    """
    `wrap_graph` returns the same object; `isinstance`, class name, signatures and diagram do not change.
    """
    bare, given = graphs.steps(), graphs.steps()
    wrapped = wrap_graph(given)

    assert wrapped is given
    assert isinstance(wrapped, type(bare))
    assert (type(wrapped).__name__, type(wrapped).__module__) == (type(bare).__name__, type(bare).__module__)
    assert inspect.signature(wrapped.stream) == inspect.signature(bare.stream)
    assert inspect.signature(wrapped.invoke) == inspect.signature(bare.invoke)
    assert wrapped.config == bare.config
    assert wrapped.get_graph().draw_mermaid() == bare.get_graph().draw_mermaid()
    assert wrapped.get_name() == bare.get_name()


def test_no_attribute_of_the_graph_changes():
    """
    Wrapping adds no attribute that would be saved, compared or copied.
    """
    graph = graphs.steps()
    before = dict(vars(graph))
    wrap_graph(graph).invoke({"seen": []})

    assert vars(graph) == before


def test_copies_and_configured_graphs_are_recorded_too(recorded):
    """
    ``with_config``, ``copy.copy`` and pickling lead to a graph that is wrapped.
    """
    graph = wrap_graph(graphs.steps(count=1))
    for number, other in enumerate((graph.with_config({"tags": ["a"]}), graph.copy(), copy.copy(graph))):
        other.invoke({"seen": []})
        assert len(recorded.traces()) == number + 1

    assert graph.with_config({"tags": ["a"]}).config["tags"] == ["a"]


def test_a_wrapped_graph_is_pickled_as_the_bare_one():
    """
    Pickling a wrapped graph and loading it gives a wrapped graph.
    """
    reduced = wrap_graph(graphs.steps()).__reduce_ex__(pickle.HIGHEST_PROTOCOL)
    rebuild, (bare,) = reduced

    assert type(bare) is type(graphs.steps())
    assert type(rebuild(bare)) is type(wrap_graph(graphs.steps()))


def test_wrapping_can_be_undone(recorded):
    """
    `unwrap_graph` restores the class of the graph, and does not change a graph that is not wrapped.
    """
    graph = unwrap_graph(wrap_graph(graphs.steps()))
    graph.invoke({"seen": []})

    assert type(graph) is type(graphs.steps())
    assert unwrap_graph(graph) is graph
    assert recorded.traces() == []


def test_the_configuration_of_a_call_is_not_modified(recorded):
    """
    Neither the configuration passed to a call nor its list of handlers is modified.
    """
    handlers: list[object] = []
    config = {"callbacks": handlers, "tags": ["mine"], "configurable": {"thread_id": "t"}}
    wrap_graph(graphs.steps()).invoke({"seen": []}, config)

    assert config == {"callbacks": [], "tags": ["mine"], "configurable": {"thread_id": "t"}}
    assert config["callbacks"] is handlers
    assert len(recorded.traces()) == 1


def test_errors_before_a_run_are_those_of_the_bare_graph():
    """
    A missing thread id and an exceeded recursion limit raise the same errors.
    """
    bare, wrapped, given = both("loop")

    assert outcome(lambda: wrapped.invoke(given)) == outcome(lambda: bare.invoke(given))
    assert outcome(lambda: wrapped.invoke(given, {**THREAD, "recursion_limit": 1}))[0] is GraphRecursionError


def test_an_unread_stream_runs_nothing(recorded):
    """
    A run begins when its first item is requested, as in the bare graph.
    """
    wrap_graph(graphs.steps()).stream({"seen": []})

    assert recorded.traces() == []


def test_an_uncompiled_graph_is_rejected():
    """
    The message lists what is accepted.
    """
    with pytest.raises(TypeError, match="compiled graph, an @entrypoint or a RemoteGraph, got StateGraph; compile it"):
        wrap_graph(StateGraph(graphs.State))


def test_a_wrapped_graph_adds_no_warnings():
    """
    Wrapping and running a graph emits no warnings.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        wrap_graph(graphs.nested()).invoke({"seen": []})

    assert caught == []


@pytest.mark.parametrize("name", ["nested", "chat", "asking", "failing"])
@pytest.mark.filterwarnings("ignore:.*v3.*")
def test_stream_events_yields_what_the_bare_graph_yields(name, recorded):
    """
    The sync event stream of protocol version 3 is the same, and the run is recorded.
    """
    bare, wrapped, given = both(name)
    if not hasattr(bare, "stream_events"):
        pytest.skip("this LangGraph has no version 3 of it")

    def run(graph):
        events = []

        def read():
            stream = graph.stream_events(given, THREAD, version="v3")
            for event in stream:
                events.append(event)  # noqa: PERF402 - keeps the items before an error

        return outcome(read), events

    assert story(run(wrapped)) == story(run(bare))
    assert len(recorded.traces()) == 1
