"""ChatKit, loaded once: importing it makes it warn of itself, and warnings are errors here."""

from __future__ import annotations

import warnings
from importlib.util import find_spec

import pytest

if find_spec("chatkit") is not None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import chatkit.agents  # noqa: F401


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test has anything to say to a provider."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
