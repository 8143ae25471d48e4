"""
Fixtures for the tests of the command line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from cli.commands import Done, runner

import fluxloop
import fluxloop.reading.pricing


@pytest.fixture
def fluxloop_(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """The command, run in this process."""
    return runner(monkeypatch, capsys)


@pytest.fixture(autouse=True)
def adapters() -> Iterator[None]:
    """Switch off the adapters that a command has switched on."""
    yield
    fluxloop.uninstall()


@pytest.fixture
def no_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `genai-prices`, so that what is printed does not depend on its version."""
    monkeypatch.setattr(fluxloop.reading.pricing, "find_spec", lambda name: None)
