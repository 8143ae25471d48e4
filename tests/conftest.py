"""
Fixtures for all tests: an empty folder, default settings, no network.
"""

from __future__ import annotations

import gc
import os
import ssl
import sys
import threading
from collections.abc import Generator, Iterator
from pathlib import Path

import hypothesis
import offline
import pytest
from hypothesis.database import DirectoryBasedExampleDatabase
from isolation import isolated_settings
from prepared_python import PreparedPython

import fluxloop

IN_CI = "CI" in os.environ
"""In CI, property tests are deterministic, so that a failure is due to the change; elsewhere they vary."""

hypothesis.settings.register_profile(
    "fluxloop",
    deadline=None,  # the time of an example depends on the machine more than on FluxLoop
    derandomize=IN_CI,
    print_blob=True,
    # The default location is the working directory, which is different for each test.
    database=None if IN_CI else DirectoryBasedExampleDatabase(Path(__file__).parent.parent / ".hypothesis"),
)
hypothesis.settings.load_profile("fluxloop")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Leave all that is loaded with the tests out of collections of garbage, which would walk it each time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_sessionfinish() -> None:
    """End the processes that tests share."""
    PreparedPython.end_all()


@pytest.fixture(scope="session", autouse=True)
def _without_certificates() -> Iterator[None]:
    """Load no certificates of authorities, which takes 30 ms for each client of HTTP: no test connects with TLS."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl.SSLContext, "load_verify_locations", lambda *args, **kwargs: None)
        yield


@pytest.fixture(autouse=True)
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run the test in an empty folder, offline, with default settings, and restore the process afterwards."""
    offline.keep_coverage_here()
    with isolated_settings(tmp_path):
        offline.apply(monkeypatch.setattr)
        fluxloop.reset_config()
        yield
        fluxloop.shutdown()


@pytest.fixture
def without_coverage() -> Iterator[None]:
    """Measure no coverage: an exception that is raised while coverage.py holds its lock leaves it locked."""
    here, in_threads = sys.gettrace(), threading.gettrace()
    sys.settrace(None)
    threading.settrace(None)  # type: ignore[arg-type]
    yield
    sys.settrace(here)
    threading.settrace(in_threads)  # type: ignore[arg-type]
