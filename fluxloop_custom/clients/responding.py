"""
Make the responses of a provider from recorded answers, and give them to the SDK's own code.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from typing import Any

from fluxloop.bridge import Answer

from . import bodies, internals
from .requests import Request


def respond(method: str, request: Request, answer: Answer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """
    Return what the *method* of the SDK returns for the recorded answer, or raise the recorded error.

    Args:
        method: Its name.
        request: The request.
        answer: The recorded answer.
        args: The arguments of the method, the client first.
        kwargs: The keyword arguments of the method.
    """
    if request.endpoint.name.startswith("google_genai."):
        return _google(method, request, answer)
    return _stainless(request, answer, args, kwargs)


def _stainless(request: Request, answer: Answer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    client, cast_to, options = args[:3]
    error = answer.error()
    status = answer.recorded.metadata.get("status_code")
    if error is not None and isinstance(status, int):
        response = internals.http_response(client, options, status, json.dumps(_error_body(answer)).encode())
        raise internals.status_error(client, response)
    if error is not None and not (request.is_streamed and answer.is_stream):
        raise error
    stream_class = kwargs.get("stream_cls") or next(iter(args[3:]), None)
    if request.is_streamed:
        is_plain = answer.pace is None and error is None and not answer.is_partial
        events = list(_events(request, answer))
        play = answer.aplay if hasattr(client._client, "aclose") else answer.play  # of an async HTTP client
        content: Any = b"".join(events) if is_plain else play(events)
    else:
        content = json.dumps(_body(request, answer)).encode()
    kind = "text/event-stream" if request.is_streamed else "application/json"
    response = internals.http_response(client, options, 200, content, kind)
    return internals.processed(client, cast_to, options, response, request.is_streamed, stream_class)


_RESPONSE_MEMBERS = {"choices", "output", "stop_reason", "candidates", "data"}
"""Members of responses: a mapping with one of them is a response, others are a message."""


def _error_body(answer: Answer) -> Any:
    """Return the body of a recorded error response; of an ordinary record, from the text of the exception."""
    whole = answer.whole.get("body")
    if isinstance(whole, dict):
        return whole if "error" in whole else {"error": whole}
    text = re.sub(r"^Error code: \d+ - ", "", answer.recorded.error or "")
    try:
        body = ast.literal_eval(text) if text.startswith("{") else None
    except (ValueError, SyntaxError):
        body = None
    return body if isinstance(body, dict) else {"error": {"message": text}}


def _body(request: Request, answer: Answer) -> Any:
    given = answer.given.model_dump(mode="json") if hasattr(answer.given, "model_dump") else answer.given
    if answer.is_given and isinstance(given, dict) and _RESPONSE_MEMBERS & given.keys():
        return given
    whole = answer.value() if "value" in answer.whole else None
    return whole["json"] if isinstance(whole, dict) and "json" in whole else bodies.body_of(request, answer)


def _items(request: Request, answer: Answer) -> list[Any]:
    """Return the items of the recorded stream as JSON; of a call that did not stream, its answer as a stream."""
    if "items" in answer.whole:
        return answer.items()
    if answer.is_given and isinstance(answer.given, list) and all(isinstance(each, dict) for each in answer.given):
        return answer.given
    items = answer.stream.get("items")
    if isinstance(items, list) and items and all(isinstance(item, dict) for item in items):
        return [_without_none(item) for item in items]
    return bodies.stream_of(request, answer, _body(request, answer))


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_none(item) for name, item in value.items() if item is not None}
    return [_without_none(item) for item in value] if isinstance(value, list) else value


def _events(request: Request, answer: Answer) -> Iterator[bytes]:
    """Yield the events of a stream, as they are sent."""
    is_chat = request.endpoint.name in ("openai.chat.completions", "openai.completions")
    for item in _items(request, answer):
        name = "" if is_chat or not item.get("type") else f"event: {item['type']}\n"
        yield f"{name}data: {json.dumps(item)}\n\n".encode()
    if is_chat and not answer.is_partial and answer.error() is None:
        yield b"data: [DONE]\n\n"


def _google(method: str, request: Request, answer: Answer) -> Any:
    if "stream" not in method:
        if (error := answer.error()) is not None:
            raise error
        return internals.google_response(json.dumps(_body(request, answer)))
    parts = [internals.google_response(json.dumps(item)) for item in _items(request, answer)]
    return answer.aplay(parts) if method.startswith("async") else answer.play(parts)
