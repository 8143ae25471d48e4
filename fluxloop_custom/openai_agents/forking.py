"""
Apply what a fork changes to a model or a function tool of the Agents SDK that runs for real.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

from agents import Model

from fluxloop.bridge import Change, replaying

from .rebuilding import PARAMETERS


def run(
    original: Callable[..., Any], change: Change | None, model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Call the method *original* of *model* with the change: a coroutine, or an async iterator."""
    if change is None:
        return original(model, *args, **kwargs)
    if change.has_input:
        given = {**dict(zip(PARAMETERS, args, strict=False)), **kwargs, "input": change.input}
        return original(model, **given)
    if isinstance(change.model, Model):
        return getattr(change.model, original.__name__)(*args, **kwargs)
    if isinstance(change.model, str) and hasattr(model, "model"):
        other = copy.copy(model)
        other.model = change.model
        return original(other, *args, **kwargs)
    message = f"fork: model= must be a Model of the Agents SDK or the name of one, got {type(change.model).__name__}"
    replay = replaying.get()
    raise TypeError(message) if replay is None else replay.fail(message)


def arguments(change: Change | None, given: str) -> str:
    """Return the arguments of a tool, as JSON, with the input of a fork."""
    if change is None or not change.has_input:
        return given
    if isinstance(change.input, str):
        return change.input
    try:
        known = json.loads(given or "{}")
    except ValueError:
        known = {}
    return json.dumps({**known, **change.input})
