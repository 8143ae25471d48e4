"""
Apply what a fork changes to a request of a model client that is sent: other messages, or another model.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from fluxloop.bridge import Change, replaying

from .requests import Request

_INPUT_MEMBERS = {
    "openai.chat.completions": "messages",
    "openai.responses": "input",
    "anthropic.messages": "messages",
    "google_genai.generate_content": "contents",
    "openai.embeddings": "input",
}
"""The member of a request's JSON that has the input, by operation; ``prompt`` for the others."""


def changed(request: Request, change: Change, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """
    Return the arguments of the client's method with the change.

    The input of a fork is a mapping with members of the request's JSON, or the messages (the prompt, the texts).
    """
    if change.has_input:
        member = _INPUT_MEMBERS.get(request.endpoint.name, "prompt")
        members = dict(change.input) if isinstance(change.input, Mapping) else {member: change.input}
    else:
        members = {"model": _name_of(change.model)}
    if request.endpoint.name.startswith("google_genai."):
        return _google(members, args)
    client, cast_to, options, *more = args
    options = copy.copy(options)
    options.json_data = {**options.json_data, **members}
    return client, cast_to, options, *more


def _name_of(model: Any) -> str:
    if isinstance(model, str):
        return model
    message = f"fork: model= must be the name of a model for a client's request, got {type(model).__name__}"
    replay = replaying.get()
    raise TypeError(message) if replay is None else replay.fail(message)


def _google(members: dict[str, Any], args: tuple[Any, ...]) -> tuple[Any, ...]:
    client, method, path, body, *more = args
    model = members.pop("model", None)
    if model is not None:
        _, _, operation = path.rpartition(":")
        path = f"models/{model.removeprefix('models/')}:{operation}"
    contents = members.get("contents")
    if isinstance(contents, str):
        members["contents"] = [{"role": "user", "parts": [{"text": contents}]}]
    return client, method, path, {**body, **members}, *more
