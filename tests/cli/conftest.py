"""
Fixtures for the tests of the command line.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cli.commands import Done, runner

import fluxloop.reading.pricing


@pytest.fixture
def fluxloop_(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """The command, run in this process."""
    return runner(monkeypatch, capsys)


@pytest.fixture
def no_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `genai-prices`, so that what is printed does not depend on its version."""
    monkeypatch.setattr(fluxloop.reading.pricing, "find_spec", lambda name: None)
