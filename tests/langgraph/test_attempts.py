"""
Attempts of nodes and tasks, and results from the cache.
"""

from __future__ import annotations

import inspect

import graphs
import pytest
from graphs import only
from langchain_core.runnables import RunnableLambda
from langgraph.cache.memory import InMemoryCache
from langgraph.func import entrypoint, task
from langgraph.graph import START, StateGraph
from langgraph.types import CachePolicy, RetryPolicy

from fluxloop_langgraph import wrap_graph


def test_attempts_of_a_node_are_numbered(recorded):
    """
    Each attempt is an observation with its number and the limit; the run is a success.
    """
    wrap_graph(graphs.flaky(failures=2)).invoke({"seen": []})
    tries = only(recorded, "fetch")

    assert [(one.metadata["attempt"], one.metadata["max_attempts"], one.status) for one in tries] == [
        (1, 4, "error"),
        (2, 4, "error"),
        (3, 4, "success"),
    ]
    assert recorded.traces()[0].status == "success"


def test_attempts_of_a_node_in_a_subgraph_are_numbered(recorded):
    """
    The retry policy of a node in a subgraph is found.
    """
    wrap_graph(graphs.nested(graphs.flaky(failures=1))).invoke({"seen": []})

    assert [(one.metadata["attempt"], one.metadata["max_attempts"]) for one in only(recorded, "fetch")] == [
        (1, 4),
        (2, 4),
    ]


@pytest.mark.parametrize("depth", [0, 1])
def test_a_node_that_handles_an_error_is_a_node_of_the_same_graph(recorded, depth):
    """
    LangGraph nests an error handler under the failed node, like a node of a subgraph; its metadata is complete.
    """
    if "error_handler" not in inspect.signature(StateGraph.add_node).parameters:
        pytest.skip("this LangGraph knows no error handlers")
    builder = StateGraph(graphs.State)
    policy = RetryPolicy(initial_interval=0.0, jitter=False, max_attempts=2)
    builder.set_node_defaults(retry_policy=policy, error_handler=lambda state: {"seen": ["handled"]})
    builder.add_node("inner", graphs.failing(ConnectionError("busy")))
    builder.add_edge(START, "inner")
    wrap_graph(graphs.nested(builder.compile()) if depth else builder.compile()).invoke({"seen": []})
    (handler,) = only(recorded, "__default_error_handler__")

    assert handler.metadata["changes"] == {"seen": {"add": ["handled"]}}
    assert (handler.metadata["attempt"], handler.metadata["max_attempts"]) == (1, 2)


def test_attempts_of_a_task_are_numbered(recorded):
    """
    Each call of a `@task` with a retry policy numbers its own attempts.
    """
    tries = []

    @task(retry_policy=RetryPolicy(initial_interval=0.0, jitter=False))
    def fetch(n):
        tries.append(n)
        if len(tries) == 1:
            raise ConnectionError("busy")
        return RunnableLambda(abs).invoke(n)

    @entrypoint()
    def workflow(n):
        return [fetch(n).result(), fetch(n).result()]

    assert wrap_graph(workflow).invoke(1) == [1, 1]
    assert [(one.metadata["attempt"], one.metadata["max_attempts"]) for one in only(recorded, "fetch")] == [
        (1, 3),
        (2, 3),
        (1, 3),
    ]
    assert [one.metadata.get("attempt") for one in only(recorded, "abs")] == [None, None]


def cached_graph():
    builder = StateGraph(graphs.State)
    builder.add_node("slow", lambda state: {"n": 1}, cache_policy=CachePolicy())
    builder.add_edge(START, "slow")
    return builder


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
async def test_a_cached_node_is_recorded(recorded, is_async):
    """
    LangGraph sends no event for a cached node; it is recorded with its output, and marked as cached.
    """
    graph = wrap_graph(cached_graph().compile(cache=InMemoryCache()))
    for _ in range(2):
        await graph.ainvoke({"seen": []}) if is_async else graph.invoke({"seen": []})
    first, second = only(recorded, "slow")

    assert "cached" not in first.metadata
    assert (second.metadata["cached"], second.output, second.status) == (True, {"n": 1}, "success")
    assert second.parent_id == recorded.traces()[1].roots[0].id


def test_a_cached_node_of_a_subgraph_is_a_child_of_the_subgraph(recorded):
    """
    A subgraph shares the cache of its graph; its cached nodes are its children.
    """
    graph = wrap_graph(graphs.nested(cached_graph().compile(), cache=InMemoryCache()))
    for _ in range(2):
        graph.invoke({"seen": []})
    second = recorded.traces()[1]
    (inner,) = [one for one in second.observations if one.name == "inner"]

    assert [one.name for one in second.children(inner)] == ["slow"]


def test_a_cached_task_has_its_usual_name(recorded):
    """
    A cached `@task` has the same name as one that runs.
    """

    @task(cache_policy=CachePolicy())
    def slow(n):
        return 10 * n

    @entrypoint(cache=InMemoryCache())
    def workflow(n):
        return slow(n).result()

    graph = wrap_graph(workflow)
    assert [graph.invoke(1), graph.invoke(1)] == [10, 10]
    first, second = only(recorded, "slow")

    assert (first.output, second.output, second.metadata["cached"]) == (10, 10, True)
