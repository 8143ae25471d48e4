"""
What every test stands on: its own empty folder, no settings from outside, no network.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import offline
import pytest
from hypothesis.database import DirectoryBasedExampleDatabase

import fluxloop

hypothesis.settings.register_profile(
    "fluxloop",
    deadline=None,  # how long an example takes says more about the machine than about us
    print_blob=True,
    # By default it would lie in the working directory, which is each test's own.
    database=DirectoryBasedExampleDatabase(Path(__file__).parent.parent / ".hypothesis"),
)
hypothesis.settings.load_profile("fluxloop")


@pytest.fixture(autouse=True)
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run the test in an empty folder, offline, without ``FLUXLOOP_*`` variables; put the settings back after it."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("FLUXLOOP_")]:
        monkeypatch.delenv(name)
    offline.apply(monkeypatch.setattr)
    yield
    fluxloop.reset_config()
