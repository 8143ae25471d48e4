"""
Read events: the input of a run from its start event, and its outcome from its end event.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from fluxloop import Status
from fluxloop.bridge import NOTHING, Entry, ToolMatcher, add_whole, read_facts

from . import internals, payloads
from .runs import Run

Outcome: TypeAlias = dict[str, Any]
"""Keyword arguments of `fluxloop.bridge.Ledger.finish`."""

StartReader: TypeAlias = Callable[[Run], object]
EndReader: TypeAlias = Callable[[Entry, Any, dict[str, Any]], Outcome]
"""Takes the entry of the run, the result or exception of the event, and the event's other arguments."""


def chain_input(run: Run) -> object:
    """Return the input of a chain; that of a streamed one is in its end event."""
    return NOTHING if internals.is_streamed_input(run.input) else run.input


def chat_input(run: Run) -> object:
    """Return the messages for a chat model."""
    return payloads.only([payloads.messages(given) for given in run.input])


def prompt_input(run: Run) -> object:
    """Return the prompt for a completion model."""
    return payloads.only(run.input)


def tool_input(run: Run) -> object:
    """Return the arguments of a tool, or its text if it has no schema."""
    arguments = run.extra.get("inputs")
    return run.input if arguments is None else arguments


def same_input(run: Run) -> object:
    """Return the input unchanged: the query of a retriever."""
    return run.input


def tool_matcher(run: Run) -> ToolMatcher:
    """Return the matcher for the function of a tool."""
    return ToolMatcher(lambda: (run.name,), PACKAGES, lambda: internals.tool_functions(run.tool))


PACKAGES = frozenset({"langchain_core"})
"""The packages that call the function of a tool."""


def model_fields(run: Run) -> dict[str, Any]:
    """Return the model, its provider and its parameters."""
    fields = payloads.model_fields(run.metadata, run.extra.get("invocation_params") or {})
    run.model = fields["model"]
    return fields


def event_metadata(run: Run) -> dict[str, Any]:
    """Return the metadata of models, tools and retrievers, beside `Run.start_metadata`."""
    if run.event == "model":
        return payloads.schemas(run.extra.get("invocation_params") or {}, run.extra.get("options") or {})
    if run.event == "tool":
        call_id = run.extra.get("tool_call_id")
        return {} if call_id is None else {"tool_call_id": call_id}
    return {ours: found for theirs, ours in _STORE.items() if (found := run.metadata.get(theirs)) is not None}


_STORE = {
    "ls_vector_store_provider": "vector_store",
    "ls_embedding_provider": "embedding_provider",
    "ls_embedding_model": "embedding_model",
}
"""LangChain's metadata of a retriever's store, with the names in the record."""


def chain_outcome(entry: Entry, outputs: Any, extra: dict[str, Any]) -> Outcome:
    """
    Return the output of a chain, and its input if that was streamed.

    The end event is the same if the consumer stops reading a stream; but then a run that the stream reads is open.
    """
    outcome: Outcome = {"output": outputs}
    if "inputs" in extra:
        outcome["input"] = extra["inputs"]
        if entry.children:
            outcome["status"] = Status.ABANDONED
            if outputs is None:  # it was stopped at the first item, which LangChain does not report
                del outcome["output"]
    elif internals.is_streamed_input(given := entry.run.input):  # of the user's, although it looks like a stream's
        outcome["input"] = given
    return outcome


def model_outcome(entry: Entry, response: Any, extra: dict[str, Any]) -> Outcome:
    """Return the answer of a model, its token counts and finish reasons."""
    outcome: Outcome = {"output": payloads.answer(response)}
    _keep_whole(entry, response.generations[0] if len(response.generations) == 1 else response.generations)
    if fields := payloads.response_fields(response):
        outcome["fields"], outcome["metadata"] = fields, {}
        if "usage" not in fields:
            outcome["metadata"]["cached"] = True
        requested = entry.run.model
        if requested is not None and (answered := fields.pop("model", None)) not in (None, requested):
            outcome["metadata"]["response_model"] = answered
    return outcome


def tool_outcome(entry: Entry, output: Any, extra: dict[str, Any]) -> Outcome:
    """Return the output of a tool; it is an error if LangChain made a message for the model of one."""
    _keep_whole(entry, output)
    outcome: Outcome = {"output": payloads.tool_output(output), "error": payloads.tool_failure(output)}
    if entry.run.extra.get("tool_call_id") is None and (call_id := payloads.tool_call_id(output)):
        outcome["metadata"] = {"tool_call_id": call_id}
    return outcome


def retriever_outcome(entry: Entry, documents: Any, extra: dict[str, Any]) -> Outcome:
    """Return the documents that a retriever found."""
    _keep_whole(entry, documents)
    return {"output": payloads.documents(documents)}


def _keep_whole(entry: Entry, answer: object) -> None:
    """Keep *answer* with its types, for an exact replay, if the settings ask for it."""
    observation = entry.observation
    if observation is not None and observation.trace.recorder.captures_output:
        add_whole(observation, value=answer)


def failure(entry: Entry, error: BaseException, extra: dict[str, Any]) -> Outcome:
    """Return the exception that ended a run."""
    return {"error": error, **_streamed_input(entry, extra)}


def model_failure(entry: Entry, error: BaseException, extra: dict[str, Any]) -> Outcome:
    """Return the exception that ended a model run, with its answer so far, or the answer that was refused."""
    response = extra.get("response")
    body = payloads.refused_body(error, response)
    if body is not None:
        facts = read_facts(body)
        fields = {} if facts is None else {"usage": facts.usage, "finish_reasons": facts.finish_reasons}
        return {"error": error, "output": payloads.refused_answer(body), "fields": fields}
    if response is None or payloads.is_empty(response):
        return {"error": error}
    return {**model_outcome(entry, response, extra), "error": error}


def unrecorded(result: object) -> Outcome:
    """Return the outcome of a run that is not recorded, which decides how open runs inside it end."""
    return {"error": result} if isinstance(result, BaseException) else {}


def _streamed_input(entry: Entry, extra: dict[str, Any]) -> Outcome:
    """Return the input of a chain that read a stream, which its end event has; empty for other chains."""
    if "inputs" in extra:
        return {"input": extra["inputs"]}
    given = entry.run.input  # of the user's, although it looks like a stream's
    return {"input": given} if internals.is_streamed_input(given) else {}
