"""
How often a node or task was tried, and which did not run, as the cache knew the result.
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


def test_a_node_that_is_tried_again_says_which_attempt_it_was(recorded):
    """
    Each attempt is an observation, with its number and how many there may be; the run is a success.
    """
    wrap_graph(graphs.flaky(failures=2)).invoke({"seen": []})
    tries = only(recorded, "fetch")

    assert [(one.metadata["attempt"], one.metadata["max_attempts"], one.status) for one in tries] == [
        (1, 4, "error"),
        (2, 4, "error"),
        (3, 4, "success"),
    ]
    assert recorded.traces()[0].status == "success"


def test_attempts_of_a_node_in_a_subgraph_are_counted_too(recorded):
    """
    The retry policy of a node deep inside is found.
    """
    wrap_graph(graphs.nested(graphs.flaky(failures=1))).invoke({"seen": []})

    assert [(one.metadata["attempt"], one.metadata["max_attempts"]) for one in only(recorded, "fetch")] == [
        (1, 4),
        (2, 4),
    ]


@pytest.mark.parametrize("depth", [0, 1])
def test_a_node_that_handles_an_error_is_a_node_of_the_same_graph(recorded, depth):
    """
    LangGraph places it under the node that failed, as if that were a subgraph; what it says is told as of any node.
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


def test_attempts_of_a_task_are_counted(recorded):
    """
    A `@task` that may be tried again says which try it was, each call of it for itself.
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
async def test_a_node_that_came_from_the_cache_is_seen(recorded, is_async):
    """
    Of a cached node LangGraph tells nothing; it is recorded, marked, with what it wrote.
    """
    graph = wrap_graph(cached_graph().compile(cache=InMemoryCache()))
    for _ in range(2):
        await graph.ainvoke({"seen": []}) if is_async else graph.invoke({"seen": []})
    first, second = only(recorded, "slow")

    assert "cached" not in first.metadata
    assert (second.metadata["cached"], second.output, second.status) == (True, {"n": 1}, "success")
    assert second.parent_id == recorded.traces()[1].roots[0].id


def test_a_cached_node_of_a_subgraph_is_under_that(recorded):
    """
    A graph inside shares the cache, and its cached nodes are its own.
    """
    graph = wrap_graph(graphs.nested(cached_graph().compile(), cache=InMemoryCache()))
    for _ in range(2):
        graph.invoke({"seen": []})
    second = recorded.traces()[1]
    (inner,) = [one for one in second.observations if one.name == "inner"]

    assert [one.name for one in second.children(inner)] == ["slow"]


def test_a_task_that_came_from_the_cache_goes_by_its_name(recorded):
    """
    A cached `@task` is called as it is when it runs.
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
