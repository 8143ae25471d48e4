"""
Which of several recorded calls with the same type, name and input answers a call.

The one that was made for the same tool call, with the same model, and by the same task of a graph: tasks and threads
start in any order. Of those that are alike in this too, the one that started first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from itertools import islice
from typing import Any

from ..answering import Question, as_recorded
from .recording import Place

COMPARED = 50
"""Recorded calls that are compared with a call; more than a pool has threads."""

TOOL_CALL = "tool_call_id"
TASK = "langgraph_path"
"""The position of a task in its step of a graph, the same in each run."""
STEP = "langgraph_step"
"""The number of the step; only the tasks of one step run at the same time."""


def next_unasked(places: deque[Place] | None, question: Question) -> Place | None:
    """Return the place that *question* belongs to, of those that no call was answered with; the others are removed."""
    while places and _is_used(places[0]):
        places.popleft()
    if not places:
        return None
    first = places[0]
    if len(places) == 1 or question.node is None:
        return first
    asked = as_recorded(_asked_circumstances(question), question.node)
    known = _circumstances(first)
    if asked == known:
        return first
    step = known[STEP]

    def likeness(place: Place) -> tuple[bool, ...]:
        found = _circumstances(place)
        same = {name: item is not None and item == asked[name] for name, item in found.items()}
        return same[TOOL_CALL], same["model"], same["model_parameters"], same[TASK] and found[STEP] == step

    return max((one for one in islice(places, COMPARED) if not _is_used(one)), key=likeness)


def position(metadata: Mapping[str, Any]) -> str:
    """Return a key that puts equal observations, which ran at the same time, in the same order in each run."""
    return repr([metadata.get(TOOL_CALL), metadata.get(TASK)])


def _is_used(place: Place) -> bool:
    return place.is_asked or place.is_paired


def _circumstances(place: Place) -> dict[str, Any]:
    observation = place.observation
    facts = {name: observation.metadata.get(name) for name in (TOOL_CALL, TASK, STEP)}
    return facts | {"model": observation.model, "model_parameters": observation.model_parameters}


def _asked_circumstances(question: Question) -> dict[str, Any]:
    node = question.node
    metadata, fields = (node.metadata or {}, node.fields or {}) if node is not None else ({}, {})
    facts = {name: metadata.get(name) for name in (TOOL_CALL, TASK, STEP)}
    return facts | {name: fields.get(name) for name in ("model", "model_parameters")}
