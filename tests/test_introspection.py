"""
Libraries that read every attribute of every module work with FluxLoop, also while they replace the clock.

They load the names of `fluxloop` that are otherwise loaded on first use.
"""

from __future__ import annotations

import inspect
import pydoc
import subprocess
import sys
from pathlib import Path
from unittest import mock

import offline
import pytest

import fluxloop
import fluxloop.storage

ROOT = Path(__file__).parent.parent

USE = """
observation = fluxloop.ObservationData(type="tool", name="x", end_time="2026-01-17T14:30:00Z")
assert observation.start_time.isoformat() == "2020-02-02T00:00:00+00:00", observation
with fluxloop.testing.capture() as captured:
    fluxloop.agent(len)([datetime.datetime.now()])
assert captured.outline() == "AGENT len -> 1"
assert captured.traces()[0].input == {"obj": ["2020-02-02T00:00:00"]}, captured.traces()
"""
"""Uses the models and the recorder while the clock is fixed at 2020-02-02."""

AFTERWARDS = """
observation = fluxloop.ObservationData(type="tool", name="x")
assert type(observation.start_time) is datetime.datetime
assert observation.start_time.year > 2020
assert fluxloop.Trace(trace_id="t", start_time=datetime.datetime(2021, 1, 1)).start_time.year == 2021
assert fluxloop.ObservationData.model_fields["start_time"].annotation is datetime.datetime
"""
"""Uses the models after the clock has been restored."""


@pytest.mark.parametrize("before", ["", "import langchain_core.messages"])
@pytest.mark.parametrize(
    ("library", "freeze"),
    [
        ("freezegun", 'freezegun.freeze_time("2020-02-02")'),
        ("time_machine", 'time_machine.travel("2020-02-02", tick=False)'),
    ],
)
@pytest.mark.parametrize("order", ["fluxloop first", "frozen first"])
def test_fluxloop_may_be_loaded_while_the_clock_is_replaced(before, library, freeze, order):
    """
    The models work when a library loads them by reading all attributes, or a program with a fixed clock does.
    """
    early, late = ("import fluxloop", "") if order == "fluxloop first" else ("", "import fluxloop")
    body = "\n    ".join(filter(None, [late, *USE.strip().splitlines()]))
    program = f"import datetime, {library}\n{before}\n{early}\nwith {freeze}:\n    {body}\n{AFTERWARDS}"
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", program],
        env=offline.environment(),
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, program + done.stderr


def test_every_attribute_can_be_read():
    """
    `inspect.getmembers` and `pydoc` find every public name, including those loaded on first use.
    """
    for module in (fluxloop, fluxloop.storage):
        members = dict(inspect.getmembers(module))
        text = pydoc.plain(pydoc.render_doc(module))

        assert {*module.__all__} <= members.keys()
        assert all(name in text for name in module.__all__)


def test_the_package_can_be_mocked():
    """
    ``autospec`` finds every public name with its signature, also in `fluxloop.storage`.
    """
    mocked = mock.create_autospec(fluxloop)

    assert {*fluxloop.__all__} <= {*dir(mocked)}
    assert {*fluxloop.storage.__all__} <= {*dir(mocked.storage)}
    with pytest.raises(TypeError):
        mocked.read_traces(1, 2, 3)
    with mock.patch("fluxloop.storage.FileStorage", autospec=True) as patched:
        assert fluxloop.storage.FileStorage is patched


def test_the_version_of_a_checkout_that_is_not_installed_is_unknown(monkeypatch):
    """
    Reading ``__version__`` does not raise without the package's metadata.
    """
    monkeypatch.setattr("importlib.metadata.version", _not_installed)

    assert fluxloop.__version__ == "0+unknown"


def _not_installed(package: str) -> str:
    from importlib.metadata import PackageNotFoundError

    raise PackageNotFoundError(package)


def test_doctests_of_the_package_are_collected():
    """
    ``pytest --doctest-modules`` imports every module of the package and reads every object in it.
    """
    command = [sys.executable, "-m", "pytest", "--doctest-modules", "-q", "-p", "no:cacheprovider", "fluxloop"]
    done = subprocess.run(command, cwd=ROOT, env=offline.environment(), capture_output=True, text=True)

    assert done.returncode == 5, done.stdout  # no doctests, and no errors
