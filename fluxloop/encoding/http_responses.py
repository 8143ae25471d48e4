"""
Convert responses of HTTP libraries, and those that the SDKs of OpenAI and Anthropic return unparsed.

The body is recorded if the program has received it. A response that is still being received is never read.
"""

from __future__ import annotations

from typing import Any

import orjson

from .introspection import Converter, name_of, own

MAX_PARSED_BYTES = 1 << 20
"""A longer body is recorded as text, which is shortened as any other."""


def response(value: object) -> dict[str, Any]:
    """Return a response of an HTTP library as its status and its body, without headers and connections."""
    found: dict[str, Any] = {
        "__class__": name_of(type(value)),
        "status_code": _first(value, "status_code", "status", kind=int),
    }
    if url := _first(value, "url", kind=str):
        found["url"] = url
    body = received(value)
    return found if body is None else found | {"body": body}


def unparsed(value: object) -> object:
    """Return the body of an SDK's ``with_raw_response`` or ``with_streaming_response``, as parsing it would."""
    inner = _first(value, "http_response")
    body = received(inner)
    return response(inner) | {"__class__": name_of(type(value))} if body is None else body


def received(value: object) -> Any:
    """Return the body of an HTTP response, from JSON if it is JSON; None if it has not been received whole."""
    content = _first(value, "_content", "_body", kind=bytes)
    if content is None:
        return None
    if len(content) <= MAX_PARSED_BYTES and content.lstrip()[:1] in (b"{", b"["):
        try:
            return orjson.loads(content)
        except ValueError:
            pass  # recorded as text
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content


def _first(value: object, *names: str, kind: type = object) -> Any:
    """Return the first of the attributes *names* that is stored, and a *kind*; None if there is none."""
    held = own(value, "__dict__") or {}  # not the properties of a response: they may read from a connection
    return next((held[name] for name in names if isinstance(held.get(name), kind)), None)


HTTP_TYPES: dict[type | str, Converter] = {
    **dict.fromkeys(
        (
            "aiohttp.client_reqrep.ClientResponse",
            "httpx.Response",
            "httpx2.Response",
            "requests.models.Response",
            "urllib3.response.BaseHTTPResponse",
        ),
        response,
    ),
    **dict.fromkeys(
        (
            "anthropic._legacy_response.LegacyAPIResponse",
            "anthropic._response.BaseAPIResponse",
            "openai._legacy_response.LegacyAPIResponse",
            "openai._response.BaseAPIResponse",
        ),
        unparsed,
    ),
}
"""``module.Class`` to converter, see `fluxloop.encoding.converters`."""
