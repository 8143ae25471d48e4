"""
Where the SDKs send their requests, which is not public API.

The method ``request`` of a client's base class is public, its module is not. A missing part is reported once, and only
ever costs detail.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, wraps
from importlib import import_module
from typing import Any

from fluxloop.bridge import note_missing

from .calls import stop_reading

_missing = partial(note_missing, "fluxloop_custom.clients")

Method = tuple[type, str]
"""A class, and the name of a method that it defines."""


@dataclass(frozen=True, slots=True)
class Methods:
    """The methods of an SDK that are replaced."""

    requests: list[Method]
    """Those by which its clients send requests."""
    closes: list[Method]
    """Those that close a helper around a stream, which does not always close the stream itself."""


def openai_methods() -> Methods:
    """Return the methods of ``openai``; without them its calls are not recorded."""
    helpers = "openai.lib.streaming.chat ChatCompletionStream", "openai.lib.streaming.responses ResponseStream"
    return Methods(_found(["openai OpenAI", "openai AsyncOpenAI"], ["request"]), _closes(helpers))


def anthropic_methods() -> Methods:
    """Return the methods of ``anthropic``; without them its calls are not recorded."""
    helpers = ("anthropic.lib.streaming MessageStream", "anthropic.lib.streaming BetaMessageStream")
    return Methods(_found(["anthropic Anthropic", "anthropic AsyncAnthropic"], ["request"]), _closes(helpers))


def google_methods() -> Methods:
    """Return the methods of ``google.genai``; without them its calls are not recorded."""
    names = ["request", "request_streamed", "async_request", "async_request_streamed"]
    return Methods(_found(["google.genai._api_client BaseApiClient"], names), [])


def _closes(helpers: tuple[str, str]) -> list[Method]:
    """Return ``close`` of *helpers*; without it a stream that is closed early ends when it is collected."""
    asynchronous = [
        helper.replace(" Beta", " BetaAsync") if " Beta" in helper else helper.replace(" ", " Async")
        for helper in helpers
    ]
    return _found([*helpers, *asynchronous], ["close"])


def _found(classes: list[str], names: list[str]) -> list[Method]:
    found = []
    for path in classes:
        module, _, name = path.partition(" ")
        kind = getattr(import_module(module), name, None)
        for method in names:
            owner = next((base for base in getattr(kind, "__mro__", ()) if method in vars(base)), None)
            if owner is not None:
                found.append((owner, method))
            else:
                _missing(f"{module}.{name}.{method}", "its calls, or the ends of its streams, are not recorded")
    return list(dict.fromkeys(found))


def ending(close: Callable[..., Any]) -> Callable[..., Any]:
    """Return *close* of a helper around a stream, which then ends the call of the stream."""
    ended: Any
    if inspect.iscoroutinefunction(close):

        async def ended(self: Any) -> Any:
            stop_reading(getattr(self, "_raw_stream", None), sys.exception())
            return await close(self)

    else:

        def ended(self: Any) -> Any:
            stop_reading(getattr(self, "_raw_stream", None), sys.exception())
            return close(self)

    return wraps(close)(ended)


@dataclass(slots=True)
class Replaced:
    """A method of a class that was replaced."""

    owner: type
    name: str
    original: Any
    replacement: Any
    other: Any = None
    """What stands in for the replacement for a while."""

    def again(self, other: Any) -> None:
        """Put *other* in the place of the replacement, unless another library has replaced that."""
        if vars(self.owner).get(self.name) is self.replacement:
            self.other = other
            setattr(self.owner, self.name, other)

    def once(self) -> None:
        """Undo `again`."""
        if self.other is not None and vars(self.owner).get(self.name) is self.other:
            setattr(self.owner, self.name, self.replacement)
        self.other = None

    def restore(self) -> None:
        """Restore the original, unless another library has replaced the replacement, and calls that."""
        self.once()
        if vars(self.owner).get(self.name) is self.replacement:
            setattr(self.owner, self.name, self.original)


def replace(owner: type, name: str, wrap: Callable[[Any], Any]) -> Replaced:
    """Replace the method *name* of *owner* by what *wrap* makes of it."""
    original = vars(owner)[name]
    replaced = Replaced(owner, name, original, wrap(original))
    setattr(owner, name, replaced.replacement)
    return replaced


# The SDKs' own code for responses, for a replay.


def http_response(client: Any, options: Any, status: int, content: Any, kind: str = "application/json") -> Any:
    """Return a response of the HTTP library that *client* uses, with *content*: bytes, or a stream of them."""
    bases = [base.__module__.partition(".")[0] for base in type(client._client).__mro__]
    http = import_module(next((library for library in bases if library.startswith("httpx")), "httpx"))
    given = options.headers if isinstance(options.headers, dict) else {}
    headers = {name: value for name, value in given.items() if isinstance(value, str)}
    request = http.Request("POST", str(client.base_url).rstrip("/") + options.url, headers=headers)
    return http.Response(status, headers={"content-type": kind}, content=content, request=request)


def processed(client: Any, cast_to: Any, options: Any, response: Any, is_streamed: bool, stream_class: Any) -> Any:
    """Return what *client* makes of *response*; awaitable for an async client."""
    return client._process_response(
        cast_to=cast_to, options=options, response=response, stream=is_streamed, stream_cls=stream_class
    )


def status_error(client: Any, response: Any) -> BaseException:
    """Return the exception that *client* raises for a response with an error status."""
    error: BaseException = client._make_status_error_from_response(response)
    return error


def google_response(body: str) -> Any:
    """Return a response of ``google.genai`` with this *body*."""
    from google.genai import types

    kind: Any = getattr(types, "HttpResponse", None)
    module = import_module("google.genai._api_client")
    return (getattr(module, "SdkHttpResponse", None) or kind)(headers={}, body=body)
