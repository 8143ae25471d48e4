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
from surroundings import alone

import fluxloop

IN_CI = "CI" in os.environ
"""There a run of property tests is to speak of the change, not of luck; elsewhere each run looks anew."""

hypothesis.settings.register_profile(
    "fluxloop",
    deadline=None,  # how long an example takes says more about the machine than about us
    derandomize=IN_CI,
    print_blob=True,
    # By default it would lie in the working directory, which is each test's own.
    database=None if IN_CI else DirectoryBasedExampleDatabase(Path(__file__).parent.parent / ".hypothesis"),
)
hypothesis.settings.load_profile("fluxloop")


@pytest.fixture(autouse=True)
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run the test in an empty folder, offline, with default settings, and leave the process as it was."""
    with alone(tmp_path):
        offline.apply(monkeypatch.setattr)
        fluxloop.reset_config()
        yield
        fluxloop.shutdown()
