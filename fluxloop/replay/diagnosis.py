"""
Find what makes a run irreproducible: which requests differ from run to run, and the lines of the program that cause it.

The target runs several times, each time in a new process, its calls answered from a recording. Then all sources of
changing values are made repeatable, and one line after the other reads another value: a line whose change changes a
request is a cause.
"""

from __future__ import annotations

import ast
import dataclasses
import json
import linecache
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ReplayError
from ..models import Trace
from . import canonical
from .cassette_files import write
from .probes import Site

TIMEOUT_S = 300
"""The longest run of the target."""

MOST_SITES = 40
"""Lines that are tried one after the other; the first that the program reaches."""

TRIED = ("clock", "random numbers", "ids", "directory order", "environment")
"""The kinds of sources whose values can be changed at one line."""


@dataclass(frozen=True, slots=True)
class Cause:
    """What makes requests differ."""

    kind: str
    """clock, random numbers, ids, set order, directory order, environment or concurrency."""
    request: str
    """The first request that differs."""
    difference: tuple[str, ...]
    """The lines of its input that differ."""
    places: tuple[str, ...]
    """``file:line`` of the program, with the code there; several if the cause is one of them."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The result of `diagnose`."""

    target: str
    runs: int
    differing: tuple[str, ...]
    """The requests that differ between runs without any change."""
    causes: tuple[Cause, ...]
    errors: tuple[str, ...]
    """The messages of runs that failed."""

    @property
    def is_reproducible(self) -> bool:
        """Whether no request differs, and no line was found that makes one differ."""
        return not self.differing and not self.causes and not self.errors

    @property
    def is_explained(self) -> bool:
        """Whether a cause was found, if requests differ."""
        return bool(self.causes) or not self.differing


@dataclass(frozen=True, slots=True)
class _Run:
    """One run of the target."""

    requests: tuple[dict[str, Any], ...]
    sites: tuple[Site, ...]
    functions: tuple[tuple[str, int], ...]
    error: str | None

    def keys(self) -> Counter[tuple[str, str, bytes]]:
        """Return the requests as they are matched, in no order."""
        return Counter((one["what"], one["where"], canonical.stable_key(one["input"])) for one in self.requests)


def diagnose(
    target: str,
    trace: Trace | None = None,
    *,
    runs: int = 3,
    on_run: Callable[[str], None] | None = None,
) -> Diagnosis:
    """
    Run *target* several times, and name what makes its requests differ.

    Args:
        target: ``module:function``.
        trace: The recording that answers its calls, with the input of the target; without one, the target is called
            without arguments and recorded once.
        runs: How often it runs unchanged.
        on_run: Is called before each run with what is tried.

    Raises:
        ReplayError: If the target cannot run, or makes no recorded call.
    """
    if runs < 2:
        raise ReplayError(f"runs must be at least 2, to compare them, got {runs}")
    with tempfile.TemporaryDirectory() as folder:
        probe = _Prober(target, Path(folder), is_own_recording=trace is None, on_run=on_run)
        probe.record(trace)
        natural = [probe.run(f"run {number}", hash_seed=number) for number in range(1, runs + 1)]
        if not natural[0].requests:
            reason = natural[0].error or "record it with fluxloop.agent, prompt and tool"
            raise ReplayError(f"{target} made no recorded call: {reason}")
        baseline = probe.run("with repeatable values", is_repeatable=True)
        causes = list(_causes(probe, baseline))
        errors = tuple(dict.fromkeys(run.error for run in natural if run.error is not None))
        return Diagnosis(target, runs, tuple(_differing(natural)), tuple(causes), errors)


class _Prober:
    """Runs the target in processes of its own."""

    def __init__(self, target: str, folder: Path, *, is_own_recording: bool, on_run: Any) -> None:
        self._target = target
        self._folder = folder
        self._is_own = is_own_recording
        self._on_run = on_run
        self._recording = folder / "recording.jsonl"

    def record(self, trace: Trace | None) -> None:
        """Write the recording: *trace*, or that of a run."""
        if trace is not None:
            write(self._recording, [trace])
            return
        recorded = self.run("recording")
        if recorded.error is not None or not self._recording.exists():
            raise ReplayError(f"{self._target} cannot be run without arguments: {recorded.error}")

    def run(
        self,
        what: str,
        *,
        hash_seed: int = 0,
        is_repeatable: bool = False,
        changed: Site | None = None,
        delays: bool = False,
    ) -> _Run:
        """Run the target once."""
        if self._on_run is not None:
            self._on_run(what)
        job = self._folder / "job.json"
        wanted = {"target": self._target, "trace": str(self._recording), "is_repeatable": is_repeatable}
        wanted |= {"changed": dataclasses.asdict(changed) if changed else None}
        job.write_text(json.dumps({**wanted, "delays": delays, "is_own_recording": self._is_own}))
        command = [sys.executable, "-m", "fluxloop.replay.probing", str(job)]
        paths = [path for path in sys.path if path]
        environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": os.pathsep.join(paths)}
        try:
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise ReplayError(f"{self._target} ran longer than {TIMEOUT_S} s ({what})") from None
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise ReplayError(f"{self._target} could not be run ({what}): {last}")
        result = json.loads(job.read_text())
        sites = tuple(Site(**site) for site in result["sites"])
        return _Run(tuple(result["requests"]), sites, tuple(map(tuple, result["functions"])), result["error"])


def _differing(runs: list[_Run]) -> Iterator[str]:
    """Yield the requests that are not the same in all *runs*."""
    first = runs[0]
    found: dict[str, None] = {}
    for other in runs[1:]:
        for one, _ in _pairs(first, other):
            found.setdefault(_named(one))
    yield from found


def _named(request: dict[str, Any]) -> str:
    return f"{request['what']} in {request['where']}"


def _pairs(first: _Run, other: _Run) -> Iterator[tuple[dict[str, Any], dict[str, Any] | None]]:
    """Yield the requests of *first* that *other* does not have, each with one of the same name that *first* lacks."""
    missing, added = first.keys() - other.keys(), other.keys() - first.keys()

    def left(requests: tuple[dict[str, Any], ...], keys: Counter[tuple[str, str, bytes]]) -> list[dict[str, Any]]:
        found = []
        for one in requests:
            key = one["what"], one["where"], canonical.stable_key(one["input"])
            if keys[key] > 0:
                keys[key] -= 1
                found.append(one)
        return found

    new = left(other.requests, added)
    for one in left(first.requests, missing):
        match = next((each for each in new if _named(each) == _named(one)), None)
        if match is not None:
            new.remove(match)
        yield one, match
    for each in new:
        yield each, None


def _causes(probe: _Prober, baseline: _Run) -> Iterator[Cause]:
    """Change one source after the other, and yield those that change a request."""
    again = probe.run("with repeatable values, again", is_repeatable=True)
    is_stable = not list(_pairs(baseline, again))
    if is_stable:
        sites = [site for site in baseline.sites if site.kind in TRIED]
        for site in sites[:MOST_SITES]:
            run = probe.run(f"{site.kind}: {_place(site.file, site.line)}", is_repeatable=True, changed=site)
            yield from _cause(site.kind, baseline, run, [site])
        other = probe.run("set order", is_repeatable=True, hash_seed=7)
        yield from _cause("set order", baseline, other, _sets_in(baseline.functions))
    tasks = [site for site in baseline.sites if site.kind == "concurrency"]
    if tasks:
        delayed = again if not is_stable else probe.run("concurrency", is_repeatable=True, delays=True)
        yield from _cause("concurrency", baseline, delayed, tasks)


def _cause(kind: str, baseline: _Run, changed: _Run, sites: list[Site]) -> Iterator[Cause]:
    if kind == "environment" and changed.error is not None and baseline.error is None:
        return  # the program does not run with another value
    first = next(_pairs(baseline, changed), None)
    if first is None:
        return
    one, other = first
    lines = canonical.difference(one["input"], other["input"] if other is not None else None)
    places = tuple(dict.fromkeys(f"{_place(site.file, site.line)}: {_code(site.file, site.line)}" for site in sites))
    yield Cause(kind, _named(one), tuple(lines), places)


def _place(file: str, line: int) -> str:
    path = Path(file)
    try:
        return f"{path.relative_to(Path.cwd())}:{line}"
    except ValueError:
        return f"{path}:{line}"


def _code(file: str, line: int) -> str:
    return linecache.getline(file, line).strip()


def _sets_in(functions: tuple[tuple[str, int], ...]) -> list[Site]:
    """Return the lines in the called *functions* that make a set, or use one that the module has."""
    found: list[Site] = []
    for file in dict.fromkeys(file for file, _ in functions):
        try:
            tree = ast.parse(Path(file).read_text())
        except (OSError, SyntaxError, ValueError):
            continue
        constants = {
            target.id
            for each in tree.body
            if isinstance(each, ast.Assign) and _is_set(each.value)
            for target in each.targets
            if isinstance(target, ast.Name)
        }
        called = {line for name, line in functions if name == file}
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) and called & _first_lines(function):
                found += [
                    Site("set order", file, node.lineno, "")
                    for node in ast.walk(function)
                    if isinstance(node, ast.expr) and (_is_set(node) or _is_use_of(node, constants))
                ]
    return found


def _first_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[int]:
    return {function.lineno, *(decorator.lineno for decorator in function.decorator_list)}


def _is_set(node: ast.expr) -> bool:
    """Whether *node* makes a set, or a hash, which depends on the same seed."""
    if isinstance(node, ast.Call):
        made = isinstance(node.func, ast.Name) and node.func.id in ("set", "frozenset", "hash")
        return made or (isinstance(node.func, ast.Attribute) and node.func.attr in _SET_METHODS)
    return isinstance(node, ast.Set | ast.SetComp)


_SET_METHODS = frozenset({"union", "intersection", "difference", "symmetric_difference"})


def _is_use_of(node: ast.expr, names: set[str]) -> bool:
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in names
