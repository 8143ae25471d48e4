"""
What each event says: what a run was given when it starts, and how it went when it ends.

A reader for a start returns the input to record; one for an end returns what `Ledger.finish` is to be told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from fluxloop import Status
from fluxloop.bridge import NOTHING, Entry, ToolMatcher

from . import payloads
from .runs import Run

Ending: TypeAlias = dict[str, Any]
"""Keyword arguments of `fluxloop.bridge.Ledger.finish`."""

StartReader: TypeAlias = Callable[[Run], object]
EndReader: TypeAlias = Callable[[Entry, Any, dict[str, Any]], Ending]
"""Takes the run's entry, the event's main value (a result or an exception), and the rest of what the event said."""


def chain_given(run: Run) -> object:
    """What a chain was given; of a streamed one only its end event tells."""
    run.is_streamed = run.is_fed()
    return NOTHING if run.is_streamed else run.given


def chat_given(run: Run) -> object:
    """The messages a chat model was given."""
    return payloads.only([[payloads.message(one) for one in messages] for messages in run.given])


def prompt_given(run: Run) -> object:
    """The prompt a completion model was given."""
    return payloads.only(run.given)


def tool_given(run: Run) -> object:
    """A tool's arguments, or its text where it has no schema."""
    arguments = run.extra.get("inputs")
    return run.given if arguments is None else arguments


def tool_matcher(run: Run) -> ToolMatcher:
    """What tells the `fluxloop.tool` function that a tool calls that it is this very call."""
    return ToolMatcher(lambda: (run.name,), _CALLERS)


_CALLERS = frozenset({"langchain_core"})
"""What calls the function of a tool; a function that is called by another is a helper of that one's."""


def same(run: Run) -> object:
    """What a run was given, as it is: a retriever's query."""
    return run.given


def model_fields(run: Run) -> dict[str, Any]:
    """The model, its provider and its settings."""
    fields = payloads.model_fields(run.metadata, run.extra.get("invocation_params") or {})
    run.model = fields["model"]
    return fields


def add_details(run: Run, facts: dict[str, Any]) -> None:
    """Add what is noted about models, tools and retrievers beside `Run.facts`."""
    if run.event == "model":
        if names := payloads.tool_names(run.extra.get("invocation_params") or {}):
            facts["tools"] = names
    elif run.event == "tool":
        if (call_id := run.extra.get("tool_call_id")) is not None:
            facts["tool_call_id"] = call_id
    elif run.event == "retriever":
        facts |= {ours: found for theirs, ours in _STORE.items() if (found := run.metadata.get(theirs)) is not None}


_STORE = {
    "ls_vector_store_provider": "vector_store",
    "ls_embedding_provider": "embedding_provider",
    "ls_embedding_model": "embedding_model",
}
"""What LangChain tells about a retriever's store, in our words."""


def chain_ended(entry: Entry, outputs: Any, extra: dict[str, Any]) -> Ending:
    """
    A chain's output, and its input if that was still open.

    A stream that its consumer leaves is told as any other end; but then what feeds it is still open.
    """
    told: Ending = {"output": outputs}
    if entry.about.is_streamed:
        told["input"] = _late_input(extra)
        if entry.below:
            told["status"] = Status.ABANDONED
            if outputs is None:  # it was left at the first piece, which LangChain does not count
                del told["output"]
    return told


def model_ended(entry: Entry, response: Any, extra: dict[str, Any]) -> Ending:
    """A model's answer, and all it says about the call."""
    told: Ending = {"output": payloads.answer(response)}
    if fields := payloads.response_fields(response):
        told["fields"], told["metadata"] = fields, {}
        if "usage" not in fields:
            told["metadata"]["cached"] = True
        asked = entry.about.model
        if asked is not None and (answered := fields.pop("model", None)) not in (None, asked):
            told["metadata"]["response_model"] = answered  # the record has the name it was asked for by
    return told


def tool_ended(entry: Entry, output: Any, extra: dict[str, Any]) -> Ending:
    """What a tool gave back; an error LangChain turned into a message for the model is one."""
    told: Ending = {"output": payloads.tool_output(output), "error": payloads.tool_failure(output)}
    if entry.about.extra.get("tool_call_id") is None and (call_id := payloads.tool_call_id(output)):
        told["metadata"] = {"tool_call_id": call_id}
    return told


def retriever_ended(entry: Entry, documents: Any, extra: dict[str, Any]) -> Ending:
    """The documents a retriever found."""
    return {"output": payloads.documents(documents)}


def failed(entry: Entry, error: BaseException, extra: dict[str, Any]) -> Ending:
    """What ended a run before its time."""
    return {"error": error, "input": _late_input(extra)} if entry.about.is_streamed else {"error": error}


def model_failed(entry: Entry, error: BaseException, extra: dict[str, Any]) -> Ending:
    """What ended a model run before its time, and what it had said by then."""
    partial = extra.get("response")
    if partial is None or not any(partial.generations):
        return {"error": error}
    return {**model_ended(entry, partial, extra), "error": error}


def bare(result: object) -> Ending:
    """All that is told of a run that is not recorded: how what is open below it ends."""
    return {"error": result} if isinstance(result, BaseException) else {}


def _late_input(extra: dict[str, Any]) -> object:
    return extra.get("inputs", {"input": ""})
