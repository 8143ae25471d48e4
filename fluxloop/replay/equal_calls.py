"""
Which of several recorded calls with the same type, name and input answers a call.

The one that was made for the same tool call, with the same model, under the same key, and by the same task of a graph:
tasks and threads start in any order. Of those that are alike in this too, the one whose position among them is the same
as the position of the call among the calls that wait for an answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

from ..answering import Question, as_recorded
from .recording import Place

COMPARED = 50
"""Recorded calls that are compared with a call; more than a pool has threads."""

TOOL_CALL = "tool_call_id"
KEY = "parallel_key"
"""The key of a branch of ``RunnableParallel``."""
TASK = "langgraph_path"
"""The position of a task in its step of a graph, the same in each run."""
STEP = "langgraph_step"
"""The number of the step; only the tasks of one step run at the same time."""


def next_unasked(
    places: deque[Place] | None,
    question: Question,
    count_before: Callable[[], int],
    has_inside: Callable[[Place], bool] | None = None,
) -> Place | None:
    """
    Return the place that *question* belongs to, of those that no call was answered with; the others are removed.

    Args:
        places: Recorded calls with the same type, name and input, in the order of their start.
        question: The call.
        count_before: Returns how many calls like it started before it, and have no place yet.
        has_inside: Whether a place contains the call that is asked for, if *question* is an observation around it.
    """
    while places and _is_used(places[0]):
        places.popleft()
    if not places:
        return None
    first = places[0]
    if len(places) == 1 or question.node is None:
        return first
    position = count_before()
    asked = as_recorded(_asked_circumstances(question), question.node)
    if position == 0 and asked == _circumstances(first) and (has_inside is None or has_inside(first)):
        return first
    unused = [one for one in islice(places, COMPARED) if not _is_used(one)]
    alike = _most_alike(unused, asked)
    expected = next((one for one in unused[position : position + 1] if one in alike), alike[0])
    if has_inside is None or has_inside(expected):
        return expected
    return next((one for one in alike if _may_replace(one, expected) and has_inside(one)), expected)


def _most_alike(places: list[Place], asked: dict[str, Any]) -> list[Place]:
    """Return those *places* that have most of the circumstances of the call."""
    step = _circumstances(places[0])[STEP]

    def likeness(place: Place) -> tuple[bool, ...]:
        found = _circumstances(place)
        same = {name: item is not None and item == asked[name] for name, item in found.items()}
        is_same_task = same[TASK] and found[STEP] == step
        return same[TOOL_CALL], same["model"], same["model_parameters"], same[KEY], is_same_task

    scores = [likeness(place) for place in places]
    best = max(scores)
    return [place for place, score in zip(places, scores, strict=True) if score == best]


def _may_replace(place: Place, expected: Place) -> bool:
    """Whether an observation may have *place* instead: they ran at the same time, or *expected* made no calls."""
    if not any(one.is_answer() for one in expected.walk()):
        return True
    one, other = place.observation, expected.observation
    return _starts_inside(one, other) or _starts_inside(other, one)


def _starts_inside(one: Any, other: Any) -> bool:
    ended = other.end_time
    return bool(other.start_time <= one.start_time and (ended is None or one.start_time < ended))


def position(metadata: Mapping[str, Any]) -> str:
    """Return a key that puts equal observations, which ran at the same time, in the same order in each run."""
    return repr([metadata.get(KEY), metadata.get(TASK)])


def _is_used(place: Place) -> bool:
    return place.is_asked or place.is_paired


def _circumstances(place: Place) -> dict[str, Any]:
    observation = place.observation
    facts = {name: observation.metadata.get(name) for name in (TOOL_CALL, KEY, TASK, STEP)}
    return facts | {"model": observation.model, "model_parameters": observation.model_parameters}


def _asked_circumstances(question: Question) -> dict[str, Any]:
    node = question.node
    metadata, fields = (node.metadata or {}, node.fields or {}) if node is not None else ({}, {})
    facts = {name: metadata.get(name) for name in (TOOL_CALL, KEY, TASK, STEP)}
    return facts | {name: fields.get(name) for name in ("model", "model_parameters")}
