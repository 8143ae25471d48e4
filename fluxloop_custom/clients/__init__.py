"""
The clients of OpenAI, Anthropic and Google Gen AI: every model call as an observation.

    import fluxloop_custom

    fluxloop_custom.instrument_openai()

An SDK is imported when it is instrumented, not before.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from fluxloop import FluxLoopClient
from fluxloop.bridge import default, register_seam, require, seams_open

from . import internals
from .google import google_request
from .recording import recorded
from .replaying import answering, guarded
from .requests import Reader, Request
from .stainless import anthropic_request, openai_request

__all__ = [
    "instrument_anthropic",
    "instrument_google_genai",
    "instrument_openai",
    "is_instrumented",
    "uninstrument_anthropic",
    "uninstrument_google_genai",
    "uninstrument_openai",
]


def instrument_openai(*, client: FluxLoopClient = default) -> None:
    """
    Record every model call of the ``openai`` clients of this process: chat completions, Responses, embeddings.

    Sync and async clients, those of Azure, and clients made before are included. A call outside a trace opens one.
    Calling it again has no effect, or changes to the other *client*.

    Args:
        client: The client whose traces are recorded into; the package's own by default.

    Raises:
        ImportError: If ``openai`` is not installed.
    """
    _instrument("openai", internals.openai_methods, openai_request, client)


def instrument_anthropic(*, client: FluxLoopClient = default) -> None:
    """
    Record every model call of the ``anthropic`` clients of this process, those of Bedrock and Vertex AI included.

    See `instrument_openai`.
    """
    _instrument("anthropic", internals.anthropic_methods, anthropic_request, client)


def instrument_google_genai(*, client: FluxLoopClient = default) -> None:
    """
    Record every model call of the ``google.genai`` clients of this process: content and embeddings.

    See `instrument_openai`. Each request of automatic function calling is a call of its own.
    """
    _instrument("google.genai", internals.google_methods, google_request, client)


def uninstrument_openai() -> None:
    """Restore the methods that `instrument_openai` replaced; calls that are open are recorded to their end."""
    _uninstrument("openai")


def uninstrument_anthropic() -> None:
    """Restore the methods that `instrument_anthropic` replaced; calls that are open are recorded to their end."""
    _uninstrument("anthropic")


def uninstrument_google_genai() -> None:
    """Restore the methods that `instrument_google_genai` replaced; calls that are open are recorded to their end."""
    _uninstrument("google.genai")


def is_instrumented(sdk: str) -> bool:
    """Whether the calls of *sdk* are recorded: ``openai``, ``anthropic`` or ``google.genai``."""
    return sdk in _instrumented


_EXTRAS = {"openai": "openai", "anthropic": "anthropic", "google.genai": "google-genai"}


class _Instrumented:
    """An SDK whose calls are recorded."""

    def __init__(self, read: Reader, client: FluxLoopClient) -> None:
        self.client = client
        self.is_on = True
        self._read = read
        self._replaced: list[internals.Replaced] = []

    def read(self, *args: Any, **kwargs: Any) -> Request | None:
        """Return the request of a call; None also for calls after `uninstrument`."""
        return self._read(*args, **kwargs) if self.is_on else None

    def open(self) -> None:
        """Let replays answer its requests; see `fluxloop.answering.Seam`."""
        for method in self._replaced:
            if method.name != "close":
                answered = answering(method.original, self._read)
                method.again(recorded(answered, read=self.read, client=self.client))

    def close(self) -> None:
        """See `open`."""
        for method in self._replaced:
            method.once()

    def replace(self, methods: internals.Methods) -> None:
        """Replace the *methods* of the SDK."""
        for owner, name in methods.requests:
            self._replaced.append(internals.replace(owner, name, partial(recorded, read=self.read, client=self.client)))
        self._replaced += [internals.replace(owner, name, internals.ending) for owner, name in methods.closes]

    def restore(self) -> None:
        """Restore the methods of the SDK."""
        self.is_on = False
        for method in self._replaced:
            method.restore()


_instrumented: dict[str, _Instrumented] = {}


class _ClientsSeam:
    """
    Lets replays answer the requests of all SDKs that are instrumented.

    Those of SDKs that are loaded and not instrumented are not sent: in a replay, they are a miss.
    """

    def __init__(self) -> None:
        self._guarded: dict[str, list[internals.Replaced]] = {}

    def open(self) -> None:
        """See `fluxloop.answering.Seam`."""
        for each in _instrumented.values():
            each.open()
        for sdk in _SDKS:
            if sdk in sys.modules:
                self.on_loaded(sdk)

    def on_loaded(self, framework: str) -> None:
        """Guard an SDK that is loaded, unless it is instrumented; see `fluxloop.answering.Seam`."""
        if framework in _SDKS and framework not in _instrumented and framework not in self._guarded:
            methods, read = _SDKS[framework]
            wrap = partial(guarded, read=read, sdk=framework)
            requests = methods().requests
            self._guarded[framework] = [internals.replace(owner, name, wrap) for owner, name in requests]

    def close(self) -> None:
        """See `fluxloop.answering.Seam`."""
        for each in _instrumented.values():
            each.close()
        for sdk in list(self._guarded):
            self.unguard(sdk)

    def unguard(self, sdk: str) -> None:
        """Let requests of *sdk* be sent again."""
        for method in reversed(self._guarded.get(sdk, [])):
            method.restore()
        self._guarded.pop(sdk, None)


_SDKS: dict[str, tuple[Callable[[], internals.Methods], Reader]] = {
    "openai": (internals.openai_methods, openai_request),
    "anthropic": (internals.anthropic_methods, anthropic_request),
    "google.genai": (internals.google_methods, google_request),
}
_seam = _ClientsSeam()


register_seam(_seam)


def _instrument(sdk: str, methods: Callable[[], internals.Methods], read: Reader, client: FluxLoopClient) -> None:
    require(sdk, extra=_EXTRAS[sdk], by=f"instrument_{sdk.replace('.', '_')}()")
    known = _instrumented.get(sdk)
    if known is not None and known.client is client:
        return
    _uninstrument(sdk)
    _seam.unguard(sdk)
    _instrumented[sdk] = made = _Instrumented(read, client)
    made.replace(methods())
    if seams_open():
        made.open()


def _uninstrument(sdk: str) -> None:
    known = _instrumented.pop(sdk, None)
    if known is not None:
        known.restore()
