"""
The short way of usual events: it gives the same bytes as asking and reading everything for each event.
"""

from __future__ import annotations

from itertools import count
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage
from langgraph.errors import GraphInterrupt
from langgraph.graph import START, StateGraph
from langgraph.types import Command, Interrupt
from typing_extensions import TypedDict

from fluxloop import FluxLoopClient
from fluxloop.bridge import add_locator, remove_locator
from fluxloop.encoding import encoder
from fluxloop.storage import MemoryStorage
from fluxloop_langchain.orphan_runs import id_of
from fluxloop_langchain.runs import INTERNAL_METADATA, Run
from fluxloop_langgraph import handler as handlers
from fluxloop_langgraph.handler import GraphHandler


class State(TypedDict, total=False):
    n: int
    text: str


GRAPH = StateGraph(State).add_sequence([("a", lambda state: state), ("model", lambda state: state)])
GRAPH = GRAPH.add_edge(START, "a").compile()

NAMES = ("a", "b", "model", "tools", "LangGraph", "RunnableSequence", "RunnableLambda", "RunnableMap<x>", "chain", "é")
TAGS = ("graph:step:1", "seq:step:2", "langsmith:hidden", "retry:attempt:2", "mine", "yours", "map:key:left")
METADATA = {
    "ls_integration": ("langgraph", "langchain_create_agent"),
    "langgraph_node": ("a", "model", "tools"),
    "langgraph_step": (1, 2),
    "langgraph_path": (("__pregel_pull", "a"), ("x", True)),
    "langgraph_checkpoint_ns": ("a:1", "a:1|b:2"),
    "thread_id": ("t", "password=hunter2hunter2"),
    "mine": ([1], {"x": "y"}),
}
VALUES = st.sampled_from(
    [
        *({"n": 1}, {"n": 2, "text": "x"}, {"input": ""}, {}, None, "text", [1, 2], {"n": {1}}, {"text": "é" * 200}),
        *(
            {"messages": [AIMessage("hi")]},
            {"messages": [AIMessage("hi")] * 12},
            {"text": "password=hunter2hunter2"},
            Command(update={"n": 3}),
        ),
    ]
)
RESULTS = VALUES | st.sampled_from([ValueError("no"), GraphInterrupt((Interrupt("why", id="i"),))])


@st.composite
def metadata_of_runs(draw):
    names = draw(st.lists(st.sampled_from(sorted(METADATA)), unique=True))
    return {name: draw(st.sampled_from(METADATA[name])) for name in names}


RUNS = st.tuples(
    st.sampled_from(NAMES),
    st.lists(st.sampled_from(TAGS), unique=True),
    metadata_of_runs(),
    st.integers(0, 5),
    VALUES,
    RESULTS,
    st.sampled_from([None, "prompt"]),
)


def selected_metadata(run: Run) -> dict[str, object]:
    """What `Run.start_metadata` returns, by the definition of each name."""
    parent = run.recorded_parent()
    around = parent.metadata if parent is not None else {}
    found = {}
    for name, item in run.metadata.items():
        is_inherited = name in around and around[name] is item
        is_own = not name.startswith(INTERNAL_METADATA) and not is_inherited
        if is_own or (run.tags.is_node and name.startswith("langgraph_")):
            found[name] = item
    direct = run.parent.run.metadata if run.parent is not None else run.metadata
    place = {name: run.metadata[name] for name in ("langgraph_path", "langgraph_step") if name in run.metadata}
    if len(place) == 2 and not run.tags.is_node and direct.get("langgraph_path") != place["langgraph_path"]:
        found |= place  # of a task of the functional API
    run_id = {"run_id": id_of(run.key)}
    found = {**found, **run_id} if run.tags.is_node else {**run_id, **found}
    if own_tags := run.own_tags():
        found["tags"] = own_tags
    if run.tags.attempt is not None:
        found["attempt"] = run.tags.attempt
    keys, entry = [run.tags.branch], run.parent
    while entry is not None and entry.is_folded:
        keys, entry = [entry.run.tags.branch, *keys], entry.parent
    if known := [key for key in keys if key is not None]:
        found["parallel_key"] = ".".join(known)
    return found


def recorded_lines(runs, *, is_short: bool) -> list[bytes]:
    client = FluxLoopClient(storage=MemoryStorage())
    recorder, ticks, ids = client.recorder, count(1_000, 1_000), count()
    recorder.now, recorder.tick, recorder.new_id = (lambda: 10**18), ticks.__next__, (lambda: f"id-{next(ids)}")
    short_ways = (handlers.may_be_folded, Run.start_metadata, encoder.READ_FIRST)
    if not is_short:
        handlers.may_be_folded, Run.start_metadata = (lambda name, run_type: True), selected_metadata
        encoder.READ_FIRST = 0
        add_locator(same_node)
    try:
        send(GraphHandler(GRAPH, client=client), runs)
    finally:
        handlers.may_be_folded, Run.start_metadata, encoder.READ_FIRST = short_ways
        remove_locator(same_node)
    assert client.report().dropped == 0
    return [record.line for record in client.recorder.storage._records]


def same_node(here):
    return here


def send(handler: GraphHandler, runs) -> None:
    """Send the events of a graph with *runs*, each inside one that began before it; they end in reverse order."""
    keys = [UUID(int=1)]
    handler.on_chain_start(None, {"n": 0}, run_id=keys[0], tags=[], metadata={"thread_id": "t"}, name="graph")
    for name, tags, metadata, parent, value, _, run_type in runs:
        keys.append(UUID(int=len(keys) + 1))
        options = {"run_id": keys[-1], "parent_run_id": keys[min(parent, len(keys) - 2)], "name": name}
        if run_type is not None:
            options["run_type"] = run_type
        handler.on_chain_start(None, value, tags=tags, metadata=metadata, **options)
    for key, (*_, result, _) in zip(reversed(keys), [*reversed(runs), (None, {"n": 9}, None)], strict=True):
        end = handler.on_chain_error if isinstance(result, BaseException) else handler.on_chain_end
        end(result, run_id=key)


@settings(max_examples=150, deadline=None)
@given(runs=st.lists(RUNS, max_size=6))
def test_usual_events_are_recorded_as_if_everything_had_been_asked(runs):
    """
    The short way of a usual event writes the same bytes as the long way, whatever the events of a graph are.
    """
    short, long = recorded_lines(runs, is_short=True), recorded_lines(runs, is_short=False)

    assert short == long
    assert len(short) >= 2
