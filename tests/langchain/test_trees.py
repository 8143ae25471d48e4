"""
The tree of chains, branches, batches, retrievers and tools, in every way in which LangChain runs them.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from langchain_core.documents import Document
from langchain_core.output_parsers import JsonOutputParser, StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda, RunnableParallel, RunnablePassthrough, chain
from langchain_core.tools import tool
from scripted_models import ScriptedCompletion, ScriptedModel

import fluxloop
from fluxloop_langchain import FluxLoopCallbackHandler

PROMPT = ChatPromptTemplate.from_messages([("user", "{question}")])
QUESTION = {"question": "Who?"}


class Shelf(BaseRetriever):
    """A retriever of one book."""

    def _get_relevant_documents(self, query, *, run_manager):
        return [Document("All about tigers.", id="b1", metadata={"shelf": 7, "relevance_score": 0.5})]


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def test_a_chain_is_a_chain_with_its_generation(captured, config):
    """
    The input and output of the chain are those of the trace; prompt and parser are folded.
    """
    answer = (PROMPT | ScriptedModel(replies=["Tigers."]) | StrOutputParser()).invoke(QUESTION, config)

    assert answer == "Tigers."
    assert captured.outline(inputs=True) == (
        "CHAIN RunnableSequence({'question': 'Who?'}) -> 'Tigers.'\n"
        "  GENERATION ScriptedModel([{'role': 'user', 'content': 'Who?'}])"
        " -> {'role': 'assistant', 'content': 'Tigers.'}"
    )


async def run(chain, way, given, config):
    """Run *chain* in one of the ways of LangChain, and return its whole answer."""
    if way == "astream":
        return "".join([piece async for piece in chain.astream(given, config)])
    if way == "stream":
        return "".join(chain.stream(given, config))
    if way.endswith("batch"):
        answers = chain.batch([given], config) if way == "batch" else await chain.abatch([given], config)
        return answers[0]
    return chain.invoke(given, config) if way == "invoke" else await chain.ainvoke(given, config)


@pytest.mark.parametrize("way", ["invoke", "stream", "batch", "ainvoke", "astream", "abatch"])
async def test_every_way_to_run_a_chain_gives_the_same_tree(captured, config, way):
    """
    Sync or async, invoked or streamed.
    """
    answer = await run(PROMPT | ScriptedModel(replies=["Tigers hunt"]) | StrOutputParser(), way, QUESTION, config)

    assert answer == "Tigers hunt"
    assert captured.outline(inputs=True) == (
        "CHAIN RunnableSequence({'question': 'Who?'}) -> 'Tigers hunt'\n"
        "  GENERATION ScriptedModel([{'role': 'user', 'content': 'Who?'}]) -> "
        "{'role': 'assistant', 'content': 'Tigers hunt'}"
    )


def test_show_all_shows_every_runnable(captured):
    """
    Runs that are folded by default are recorded too; prompts and messages are plain data.
    """
    config = {"callbacks": [FluxLoopCallbackHandler(show_all=True)]}
    (PROMPT | ScriptedModel(replies=["Tigers."]) | StrOutputParser()).invoke(QUESTION, config)

    assert captured.outline() == (
        "CHAIN RunnableSequence -> 'Tigers.'\n"
        "  CHAIN ChatPromptTemplate -> {'messages': [{'role': 'user', 'content': 'Who?'}]}\n"
        "  GENERATION ScriptedModel -> {'role': 'assistant', 'content': 'Tigers.'}\n"
        "  CHAIN StrOutputParser -> 'Tigers.'"
    )


def test_a_retrieval_chain_is_recorded_without_its_connecting_runnables(captured, config):
    """
    The user's functions and the retriever are recorded; a document has its score.
    """

    def joined(documents):
        return " ".join(document.page_content for document in documents)

    template = ChatPromptTemplate.from_template("{context} {question}")
    chain = (
        {"context": Shelf() | joined, "question": RunnablePassthrough()}
        | template
        | ScriptedModel(replies=["Tigers."])
        | StrOutputParser()
    )
    chain.with_config(run_name="rag").invoke("Who?", config)
    (trace,) = captured.traces()
    (retrieval,) = [o for o in trace.observations if o.type.name == "RETRIEVAL"]

    assert captured.outline().splitlines()[0] == "CHAIN rag -> 'Tigers.'"
    assert sorted(line.partition(" ->")[0] for line in captured.outline().splitlines()[1:]) == [
        "  CHAIN joined",
        "  GENERATION ScriptedModel",
        "  RETRIEVAL Shelf",
    ]
    assert retrieval.input == "Who?"
    assert retrieval.output == [
        {
            "page_content": "All about tigers.",
            "metadata": {"shelf": 7, "relevance_score": 0.5},
            "id": "b1",
            "score": 0.5,
        }
    ]


def test_a_tool_is_recorded_with_its_name_arguments_and_call_id(captured, config):
    """
    The name is read from LangChain's serialized form, as the event has none.
    """
    add.invoke({"name": "add", "args": {"a": 1, "b": 2}, "id": "call-7", "type": "tool_call"}, config)
    (observation,) = captured.traces()[0].observations

    assert captured.outline(inputs=True) == "TOOL add({'a': 1, 'b': 2}) -> '3'"
    assert observation.metadata["tool_call_id"] == "call-7"


def test_the_artifact_of_a_tool_is_recorded_with_its_content(captured, config):
    """
    The artifact is the part of a result that the program receives, and the model does not.
    """

    @tool(response_format="content_and_artifact")
    def look_up(term: str) -> tuple[str, dict]:
        """Look it up."""
        return "a cat", {"page": 12}

    look_up.invoke({"name": "look_up", "args": {"term": "tiger"}, "id": "c", "type": "tool_call"}, config)

    assert captured.traces()[0].output == {"content": "a cat", "artifact": {"page": 12}}


def test_a_completion_model_is_a_generation_of_text(captured, config):
    """
    Completion models have a prompt and a text instead of messages.
    """
    ScriptedCompletion(reply="once upon a time").invoke("Who?", config)

    assert captured.outline(inputs=True) == "GENERATION ScriptedCompletion('Who?') -> 'once upon a time'"


def test_parallel_branches_keep_their_own_children(captured, config):
    """
    Branches run in threads; each model run nests under its own branch.
    """

    def named(name):
        return (PROMPT | ScriptedModel(replies=[name]) | StrOutputParser()).with_config(run_name=name)

    RunnableParallel({name: named(name) for name in "abcdefgh"}).invoke(QUESTION, config)
    (trace,) = captured.traces()
    parents = {o.id: o.name for o in trace.observations}
    found = {o.output["content"]: parents[o.parent_id] for o in trace.observations if o.type.name == "GENERATION"}

    assert found == {name: name for name in "abcdefgh"}


def test_a_batch_is_one_trace_per_input(captured, config):
    """
    Each input of a batch is a run with its own model call.
    """
    chain = PROMPT | ScriptedModel(replies=["yes"]) | StrOutputParser()
    chain.batch([{"question": str(number)} for number in range(20)], {**config, "max_concurrency": 4})
    traces = captured.traces()
    asked = [(t.input["question"], t.observations[1].input[0]["content"]) for t in traces]

    assert sorted(asked, key=lambda pair: int(pair[0])) == [(str(number), str(number)) for number in range(20)]


async def test_concurrent_tasks_do_not_mix(captured, config):
    """
    A hundred concurrent runs of one chain with one handler have the right parents.
    """
    chain = PROMPT | ScriptedModel(replies=["yes"]) | StrOutputParser()
    await asyncio.gather(*(chain.ainvoke({"question": str(number)}, config) for number in range(100)))
    traces = captured.traces()

    assert len(traces) == 100
    assert all([o.type.name for o in t.observations] == ["CHAIN", "GENERATION"] for t in traces)
    assert all(t.observations[1].input[0]["content"] == t.input["question"] for t in traces)


def test_runs_in_a_thread_pool_of_the_program_do_not_mix(captured, config):
    """
    Each run that is started in a thread is a complete trace.
    """
    chain = PROMPT | ScriptedModel(replies=["yes"]) | StrOutputParser()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: chain.invoke({"question": str(number)}, config), range(50)))

    assert len(captured.traces()) == 50
    assert all(len(trace.observations) == 2 for trace in captured.traces())


def test_each_element_of_a_mapped_chain_is_under_the_chain(captured, config):
    """
    ``.map()`` is folded, the runs inside are recorded.
    """

    def double(number):
        return number * 2

    (RunnableLambda(sorted) | RunnableLambda(double).map()).invoke([2, 1], config)

    assert sorted(captured.outline().splitlines()) == [
        "  CHAIN double -> 2",
        "  CHAIN double -> 4",
        "  CHAIN sorted -> [1, 2]",
        "CHAIN RunnableSequence -> [2, 4]",
    ]


def test_attempts_of_a_retried_step_are_numbered(captured, config):
    """
    ``with_retry`` runs a step again; the failed attempt is an error, and the chain a success.
    """
    attempts = iter([ValueError("busy"), "done"])

    def flaky(_):
        outcome = next(attempts)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    RunnableLambda(flaky).with_retry(wait_exponential_jitter=False).with_config(run_name="tried").invoke(1, config)
    (trace,) = captured.traces()

    assert "error: busy" in captured.outline()
    assert trace.output == "done"
    assert [o.metadata.get("attempt") for o in trace.observations if o.name == "flaky"][-1] == 2


def test_a_fallback_and_the_failed_model_are_both_recorded(captured, config):
    """
    The first is an error, and the second has the answer.
    """
    model = ScriptedModel(replies=[TimeoutError("slow")]).with_fallbacks([ScriptedModel(replies=["here"])])
    (PROMPT | model | StrOutputParser()).invoke(QUESTION, config)

    assert captured.outline() == (
        "CHAIN RunnableSequence -> 'here'\n"
        "  GENERATION ScriptedModel [error: slow]\n"
        "  GENERATION ScriptedModel -> {'role': 'assistant', 'content': 'here'}"
    )


def test_a_folded_step_that_fails_is_recorded(captured, config):
    """
    The record of a failed parser has the input and the true start time.
    """
    chain = PROMPT | ScriptedModel(replies=["no JSON"]) | JsonOutputParser()
    with pytest.raises(ValueError, match="no JSON"):
        chain.invoke(QUESTION, config)
    root, generation, parser = captured.traces()[0].observations

    assert (root.status.value, generation.status.value, parser.status.value) == ("error", "success", "error")
    assert (parser.name, parser.input["content"]) == ("JsonOutputParser", "no JSON")
    assert generation.end_time < parser.start_time < parser.end_time < root.end_time


def test_tags_and_metadata_are_recorded_where_they_were_given(captured, config):
    """
    LangChain passes them to every run inside; they are recorded on one run and on the trace.
    """
    chain = PROMPT | ScriptedModel(replies=["yes"]).with_config(tags=["fast"], metadata={"tier": 1})
    chain.invoke(QUESTION, {**config, "tags": ["prod"], "metadata": {"order": 5, "user_id": "u-1"}})
    (trace,) = captured.traces()
    root, generation = trace.observations

    assert (trace.tags, trace.user_id, trace.metadata) == (["prod"], "u-1", {"order": 5, "user_id": "u-1"})
    assert (root.metadata["order"], root.metadata["tags"]) == (5, ["prod"])
    assert (generation.metadata["tier"], generation.metadata["tags"]) == (1, ["fast"])
    assert "order" not in generation.metadata


@pytest.mark.parametrize("is_async", [False, True])
def test_a_folded_step_that_passes_on_a_failure_stays_folded(captured, config, is_async):
    """
    In a stream, LangChain reports the exception of a failed step for the steps after it as well.
    """
    chain = (
        PROMPT | ScriptedModel(replies=["one two three"], breaks_after=2) | StrOutputParser() | RunnablePassthrough()
    )

    async def read():
        return [piece async for piece in chain.astream(QUESTION, config)]

    class Strict(StrOutputParser):
        def parse(self, text):
            raise ValueError("not this")

    with pytest.raises(ConnectionError):
        asyncio.run(read()) if is_async else list(chain.stream(QUESTION, config))
    failing = ScriptedModel(replies=["yes"]) | Strict() | StrOutputParser()
    with pytest.raises(ValueError, match="not this"):
        list(failing.stream("Who?", config))

    assert [[(o.name, o.status.value) for o in trace.observations] for trace in captured.traces()] == [
        [("RunnableSequence", "error"), ("ScriptedModel", "error")],
        [("RunnableSequence", "error"), ("ScriptedModel", "cancelled"), ("Strict", "error")],
    ]


@pytest.mark.parametrize("name", ["session_id", "thread_id", "conversation_id"])
def test_the_conversation_in_the_metadata_is_the_session(captured, config, name):
    """
    LangGraph's thread ids and LangSmith's session ids are read.
    """
    RunnableLambda(len).invoke("abc", {**config, "metadata": {name: "talk-7"}})

    assert captured.traces()[0].session_id == "talk-7"


def test_a_run_inside_a_decorated_agent_nests_there(captured, config):
    """
    If a trace is open, a chain nests under the current observation, and sets the session if the trace has none.
    """

    @fluxloop.agent
    def assistant(question):
        return RunnableLambda(len).invoke(question, {**config, "metadata": {"thread_id": "talk-7"}})

    assistant("Who?")

    assert captured.outline() == "AGENT assistant -> 4\n  CHAIN len -> 4"
    assert captured.traces()[0].session_id == "talk-7"


def test_the_session_of_an_open_trace_is_kept(captured, config):
    """
    The session of the trace takes precedence over the metadata of a run.
    """
    with fluxloop.instrument("outer", session_id="mine"):
        RunnableLambda(len).invoke("Who?", {**config, "metadata": {"thread_id": "talk-7"}})

    assert captured.traces()[0].session_id == "mine"


def test_a_custom_event_is_an_event_of_its_run(captured, config):
    """
    ``dispatch_custom_event`` is recorded as an EVENT of the run that calls it.
    """
    from langchain_core.callbacks import dispatch_custom_event

    @chain
    def work(given):
        dispatch_custom_event("halfway", {"percent": 50})
        return given

    work.invoke("x", config)
    event = captured.traces()[0].observations[1]

    assert captured.outline(inputs=True) == "CHAIN work('x') -> 'x'\n  EVENT halfway({'percent': 50})"
    assert event.start_time == event.end_time


def test_a_handler_passed_twice_records_once(captured):
    """
    The same handler on the chain, on the model and in the call, or two handlers: one observation per run.
    """
    one, other = FluxLoopCallbackHandler(), FluxLoopCallbackHandler()
    model = ScriptedModel(replies=["Tigers hunt."], callbacks=[other])
    pieces = list((PROMPT | model).stream(QUESTION, {"callbacks": [one, other]}))
    generation = captured.traces()[0].observations[1]

    assert len(pieces) > 1
    assert [line.split()[0] for line in captured.outline().splitlines()] == ["CHAIN", "GENERATION"]
    assert [piece for piece in generation.metadata["stream"]["items"] if piece] == ["Tigers", " hunt."]


def test_a_handler_passed_inside_a_step_finds_the_step(captured, config):
    """
    LangChain reports no parent for a model that a step calls with other callbacks; FluxLoop finds the step.
    """

    @chain
    def work(question):
        return ScriptedModel(replies=["yes"]).invoke(question, {"callbacks": [FluxLoopCallbackHandler()]}).content

    work.invoke("Who?", config)

    assert captured.outline() == (
        "CHAIN work -> 'yes'\n  GENERATION ScriptedModel -> {'role': 'assistant', 'content': 'yes'}"
    )


def test_runs_are_recorded_by_the_client_of_the_handler(captured):
    """
    A handler of another client records into the storage of that client only.
    """
    mine = fluxloop.FluxLoopClient(storage="memory")
    RunnableLambda(len).invoke("Who?", {"callbacks": [FluxLoopCallbackHandler(client=mine)]})

    assert captured.traces() == []
    assert mine.report().written == 2
