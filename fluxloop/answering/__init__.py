"""
Calls that are answered from a recording instead of being made: what adapters need for that.

An open replay is the value of one context variable, so it holds for a block and for what the block starts. The methods
of frameworks are replaced only while a replay is open anywhere: an adapter registers a `Seam` that replaces them and
restores them. Inside, it calls `ask` with the observation of a call, and returns what the `Answer` has.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson

from ..enums import ObservationType
from ..tracing.node import Node
from ..tracing.observation import OpenObservation
from ..tracing.recorder import NOTHING
from ..tracing.trace import UncountedMarks
from .answers import Answer, exception_of
from .changes import UNCHANGED, Change, change_next, take_change
from .open_replays import Answerer, Opened, Question, replaying
from .seams import ClassMethodsSeam, Seam, SharedSeam, close_seams, load_adapters, open_seams, register_seam, seams_open

__all__ = [
    "UNCHANGED",
    "Answer",
    "Answerer",
    "Change",
    "ClassMethodsSeam",
    "Opened",
    "Question",
    "Seam",
    "SharedSeam",
    "as_recorded",
    "ask",
    "ask_for",
    "change_next",
    "close_seams",
    "exception_of",
    "load_adapters",
    "open_seams",
    "question_of",
    "register_seam",
    "replaying",
    "seams_open",
    "take_change",
]


def ask(node: Node | None, *, given: object = NOTHING) -> Answer | None:
    """
    Return the recorded answer of the call that *node* records; None if no replay is open here, or the call is to run.

    Args:
        node: The observation of the call.
        given: Its input, if the observation has none yet.

    Raises:
        ReplayMismatch: If the recording has no answer for the call.
    """
    replay = replaying.get()
    if replay is None or not isinstance(observation := getattr(node, "observation", node), OpenObservation):
        return None
    question = question_of(observation)
    if given is not NOTHING and question.input is None:
        question = replace(question, input=as_recorded(given, observation))
    return replay.ask(question)


def ask_for(observation_type: ObservationType, name: str, inputs: list[Any], parent: Node | None) -> Answer | None:
    """
    Return the recorded answer of a call whose observation starts later; see `ask`.

    Args:
        observation_type: The type of the observation.
        name: Its name.
        inputs: The input, in the forms in which it may have been recorded.
        parent: The observation around it.
    """
    replay = replaying.get()
    if replay is None:
        return None
    first, *others = (as_recorded(each, parent) for each in inputs)
    return replay.ask(Question(observation_type, name, first, parent, others=tuple(others)))


def as_recorded(value: object, node: Node | None) -> Any:
    """Return *value* as JSON, with secrets masked as in the records of the trace of *node*."""
    if node is None:
        return value
    return orjson.loads(node.trace.recorder.encode(value, UncountedMarks()))


def question_of(observation: OpenObservation) -> Question:
    """Return the question that the call of *observation* asks."""
    label = orjson.loads(f"{{{observation.label}}}")
    given = orjson.loads(b"{" + observation.input[1:] + b"}")["input"] if observation.input else None
    key = observation.trace.id, observation.id
    return Question(ObservationType(label["type"]), label["name"], given, observation.parent, key, node=observation)
