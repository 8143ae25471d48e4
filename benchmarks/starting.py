"""
Measure the start of a program: `import fluxloop`, compared with `import pydantic`, and the first trace.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import fluxloop

from .registry import report
from .results import Row, Spread, Target

_ROOT = Path(fluxloop.__file__).parent.parent

_PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
before = set(sys.modules)
def pages():
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1])
    except OSError:
        return 0
from time import process_time
resident, begun = pages(), process_time()
{work}
took = process_time() - begun
grown, modules = pages() - resident, sorted(set(sys.modules) - before)
import json
print(json.dumps({{"ms": took * 1000, "pages": grown, "modules": modules}}))
"""

_FIRST_TRACE = """
import fluxloop
fluxloop.configure(base_path=sys.argv[2])
fluxloop.agent(len)("hello")
"""

UNWANTED = {
    *("agents", "anthropic", "chatkit", "httpx", "langchain", "langchain_core", "langgraph", "openai"),
    *("opentelemetry", "rich", "typer"),
}
"""Packages that `import fluxloop` must not load."""


@report("import")
def importing(is_quick: bool) -> Row:
    """Compare `import fluxloop` with `import pydantic`, each in new interpreters, in turn."""
    ours, theirs = _in_turns("import fluxloop", "import pydantic", rounds=3 if is_quick else 25)
    foreign = _foreign(ours[0]["modules"])
    kb = [median(run["pages"] for run in runs) * os.sysconf("SC_PAGE_SIZE") / 1024 for runs in (ours, theirs)]
    return Row(
        "import",
        floor=median(run["ms"] for run in theirs),
        ours=median(run["ms"] for run in ours),
        unit="ms",
        figure=Spread.of([own["ms"] / other["ms"] for own, other in zip(ours, theirs, strict=True)]),
        target=Target(1.3, "x"),
        faults=tuple(f"loads {name}" for name in foreign if name in UNWANTED),
        note=f"floor: import pydantic; memory {kb[0]:,.0f} kB (pydantic {kb[1]:,.0f} kB); loads {', '.join(foreign)}",
    )


@report("first-trace")
def first_trace(is_quick: bool) -> Row:
    """Measure a whole start up to the first stored trace: import, settings, redaction rules, folder, files, journal."""
    with TemporaryDirectory() as folder:
        [runs] = _in_turns(_FIRST_TRACE, rounds=3 if is_quick else 15, argument=folder)
    return Row("first-trace", ours=median(run["ms"] for run in runs), unit="ms", note="import and first trace, once")


def _in_turns(*works: str, rounds: int, argument: str = "") -> list[list[dict[str, Any]]]:
    """Run each of *works* in new interpreters, in turn; the first round, which compiles modules, is not counted."""
    runs: list[list[dict[str, Any]]] = [[] for _ in works]
    for number in range(rounds + 1):
        for work, results in zip(works, runs, strict=True):
            result = _fresh(work, argument)
            if number:
                results.append(result)
    return runs


def _fresh(work: str, argument: str) -> dict[str, Any]:
    # Isolated mode ignores the environment of the caller, above all PYTHONDONTWRITEBYTECODE.
    command = [sys.executable, "-I", "-c", _PROGRAM.format(work=work), str(_ROOT), argument]
    found: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return found


def _foreign(modules: list[str]) -> list[str]:
    """Return the packages of *modules* that belong neither to FluxLoop nor to the standard library."""
    packages = {module.partition(".")[0] for module in modules}
    return sorted(package for package in packages - sys.stdlib_module_names - {"fluxloop"} if package.isidentifier())
