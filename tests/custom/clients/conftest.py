"""Fixtures for the clients of model providers: a provider on this machine, and instrumented SDKs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

import fluxloop_custom
from fluxloop.testing import Captured, capture

from .provider import Provider, running

SECRET = "key-of-the-user-0123456789"


@pytest.fixture
def provider() -> Iterator[Provider]:
    """Run a provider for a test."""
    with running() as started:
        yield started


@pytest.fixture
def captured() -> Iterator[Captured]:
    """Record into memory for a test, with every client instrumented."""
    with capture() as records:
        fluxloop_custom.instrument_openai()
        fluxloop_custom.instrument_anthropic()
        fluxloop_custom.instrument_google_genai()
        yield records
        fluxloop_custom.uninstrument_openai()
        fluxloop_custom.uninstrument_anthropic()
        fluxloop_custom.uninstrument_google_genai()


class Clients:
    """Makes clients of the SDKs, and closes the sync ones."""

    def __init__(self, url: str, stack: ExitStack) -> None:
        self.url = url
        self.stack = stack
        self.kept: list[Any] = []
        """Clients of Google, which close themselves when they are collected."""

    def openai(self, kind: str = "OpenAI", **options: Any) -> Any:
        """Return a client of OpenAI."""
        import openai

        return self._made(getattr(openai, kind), options)

    def anthropic(self, kind: str = "Anthropic", **options: Any) -> Any:
        """Return a client of Anthropic."""
        import anthropic

        return self._made(getattr(anthropic, kind), options)

    def google(self) -> Any:
        """Return a client of Google Gen AI."""
        from google import genai

        made = genai.Client(api_key=SECRET, http_options={"base_url": self.url})
        self.kept.append(made)
        return made

    def _made(self, kind: Any, options: dict[str, Any]) -> Any:
        client = kind(api_key=SECRET, **{"base_url": self.url, "max_retries": 0, **options})
        return client if hasattr(client, "__aenter__") else self.stack.enter_context(client)


@pytest.fixture
def clients(provider: Provider) -> Iterator[Clients]:
    """Make clients of the provider."""
    with ExitStack() as stack:
        yield Clients(provider.url, stack)
