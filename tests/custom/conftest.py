"""Import ChatKit once, without the deprecation warning that it emits, and start each test without earlier warnings."""

from __future__ import annotations

import warnings
from importlib import import_module
from importlib.util import find_spec

import pytest

from fluxloop.bridge import default
from fluxloop.report import Problems

if find_spec("chatkit") is not None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import chatkit.agents  # noqa: F401


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test calls a provider."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture(autouse=True)
def no_earlier_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test gets the warnings that are logged once."""
    monkeypatch.setattr(default._counts, "problems", Problems())
    monkeypatch.setattr(import_module("fluxloop.report"), "_missing", {})
    if find_spec("agents") is not None:
        import_module("fluxloop_custom.openai_agents.internals").probe.cache_clear()
