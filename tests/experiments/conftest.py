"""
Fixtures for the tests of experiments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from cli.commands import Done, runner

import fluxloop


@pytest.fixture
def fluxloop_(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """The command, run in this process."""
    return runner(monkeypatch, capsys)


@pytest.fixture(autouse=True)
def adapters() -> Iterator[None]:
    """Switch off the adapters that a command has switched on."""
    yield
    fluxloop.uninstall()
