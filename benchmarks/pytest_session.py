"""
Measure what the pytest plugin adds to a session that does not use it, in function calls.

Function calls of Python and C are counted instead of time: the plugin adds so little that the load of the machine would
hide it, and the counts repeat.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import fluxloop

from .registry import report
from .results import Row, Spread, Target

TESTS = 50
"""Tests in the session."""

_PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
calls = [0]
def count(frame, event, arg):
    if event in ("call", "c_call"):
        calls[0] += 1
import json
sys.setprofile(count)
import pytest
code = pytest.main(["-q", *sys.argv[2:], "test_it.py"])
sys.setprofile(None)
loaded = sorted(name for name in sys.modules if name.partition("_")[0].partition(".")[0] == "fluxloop")
print(json.dumps({"code": int(code), "calls": calls[0], "modules": loaded}))
"""


@report("pytest-start")
def pytest_start(is_quick: bool) -> Row:
    """Compare a session of pytest without and with the plugin, whose tests do not use it."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "test_it.py")
        path.write_text(f"import pytest\n\n@pytest.mark.parametrize('n', range({TESTS}))\ndef test_it(n):\n    pass\n")
        others = {entry.name for entry in entry_points(group="pytest11")} - {"fluxloop"}
        options = [f"-pno:{name}" for name in sorted({"cacheprovider", *others})]
        for plugin in ([], ["-pno:fluxloop"]):
            _session(folder, [*options, *plugin])  # compiles modules
        bare, ours = _session(folder, [*options, "-pno:fluxloop"]), _session(folder, options)
    if "fluxloop_pytest" not in ours["modules"]:
        raise RuntimeError("pytest did not load the plugin: install FluxLoop, for example with pip install -e .")
    faults = [f"the session ended with code {run['code']}" for run in (bare, ours) if run["code"]]
    faults += [f"loads {name}" for name in ours["modules"] if name != "fluxloop_pytest"]
    return Row(
        "pytest-start",
        bare=bare["calls"],
        ours=ours["calls"] - bare["calls"],
        unit="calls",
        figure=Spread.of([ours["calls"] / bare["calls"]]),
        target=Target(1.02),
        faults=tuple(faults),
        note=f"function calls of a session with {TESTS} tests; loads {', '.join(ours['modules'])}",
    )


def _session(folder: str, options: list[str]) -> dict[str, Any]:
    # Without the variable, pytest keeps the modules that it rewrites, as in the sessions of a user.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    root = str(Path(fluxloop.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, root, *options],
        cwd=folder,
        env={**environment, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
