"""
Diagnose the configuration of FluxLoop in this environment, and the records of earlier runs.

A *problem* needs a correction, and names it as its remedy. Any other finding, such as a run that crashed last week, is
a *note*. The diagnosis changes nothing: it creates no folder and sends nothing.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from ..errors import ReadError
from ..reading import Source
from ..reading.source import lines_of, open_records
from ..settings.dotenv import nearest
from ..settings.layers import Configuration, Described, describe
from ..storage.decoding import records_in
from ..storage.file import FileStorage
from ..storage.untraced import untraced_calls
from ..storage.upload import count_unsent
from .formatting import counted

MAX_LISTED = 20
"""Damaged places and crashed traces that are listed; all are counted."""

FRAMEWORKS = ("langchain", "langgraph", "openai-agents", "chatkit", "openai", "anthropic", "google-genai")
"""The extras that install a framework."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something to correct, and how."""

    problem: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Framework:
    """A framework that has an adapter."""

    name: str
    supported: str
    """The supported versions, as a pip specifier."""
    version: str | None
    """The installed version; None if it is not installed."""
    is_supported: bool


@dataclass(slots=True)
class Files:
    """The folder of the records, and what it contains."""

    path: str
    exists: bool = False
    is_writable: bool = False
    """Whether records can be written to it."""
    files: int = 0
    bytes: int = 0
    records: int = 0
    damaged: int = 0
    """Places that are not records: lines cut off by a kill or a full disk, lines of other programs."""
    damage: list[dict[str, Any]] = field(default_factory=list)
    """The first `MAX_LISTED` of them, each with ``path``, ``line`` and ``reason``."""
    running: int = 0
    """Observations that are open now."""
    crashed: int = 0
    """Observations that were open when their process died."""
    unsent: int = 0
    """Files in the spool, with records that wait to be sent to a collector."""
    untraced: dict[str, str] = field(default_factory=dict)
    """Functions whose calls were not recorded, because their thread had no trace; each with the last time, in UTC."""
    crashed_traces: list[str] = field(default_factory=list)
    """The ids of the first `MAX_LISTED` traces that crashed."""


@dataclass(slots=True)
class Diagnosis:
    """The output of `fluxloop doctor`."""

    fluxloop: str
    python: str
    platform: str
    settings: list[Described]
    files: Files
    frameworks: list[Framework]
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return everything as data for a JSON encoder."""
        return {"ok": not self.problems, **asdict(self)}


def diagnose(configuration: Configuration, version: str) -> Diagnosis:
    """Return the diagnosis of this environment; *version* is the version of FluxLoop."""
    settings = configuration.settings()
    files = Files(str(settings.base_path))
    problems = [Problem(problem, "correct it where it was set, or unset it") for problem in configuration.problems()]
    folder_problems = _folder_problems(settings.base_path, files)
    storages = settings.storage if isinstance(settings.storage, tuple) else (settings.storage,)
    if "file" in storages or "http" in storages:
        problems += folder_problems
    problems += _record_problems(settings.base_path, files)
    frameworks = [*_frameworks()]
    problems += [_framework_problem(framework) for framework in frameworks if not framework.is_supported]
    return Diagnosis(
        version,
        platform.python_version(),
        platform.platform(terse=True),
        describe(configuration),
        files,
        frameworks,
        problems,
        [*_notes(files, enabled=settings.enabled)],
    )


def _framework_problem(framework: Framework) -> Problem:
    return Problem(
        f"{framework.name} {framework.version} is installed, and this FluxLoop supports {framework.supported}",
        f"pip install '{framework.name}{framework.supported}', "
        "or a FluxLoop that supports it: pip install --upgrade fluxloop",
    )


def _folder_problems(folder: Path, files: Files) -> list[Problem]:
    files.exists = folder.exists()
    files.unsent = count_unsent(folder)
    files.untraced = {name: f"{time:%Y-%m-%dT%H:%M:%SZ}" for name, time in sorted(untraced_calls(folder).items())}
    complaints = FileStorage(folder).check()
    files.is_writable = not complaints
    return [Problem(complaint, _CORRECT_FOLDER) for complaint in complaints]


_CORRECT_FOLDER = 'correct that, or choose another folder: fluxloop.configure(base_path="...") or FLUXLOOP_BASE_PATH'


def _record_problems(folder: Path, files: Files) -> Iterator[Problem]:
    """Count the contents of the files and the journals of *folder*; what cannot be read is a problem."""
    if not folder.is_dir():
        return
    try:
        source = Source.at(folder)
        # Journals before files, as in `TraceReader`: they may hold observations whose record is in the files.
        unfinished = {
            str(record.get("id")): (trace_id, alive)
            for trace_id, observations in source.open_observations().items()
            for alive, record in observations
        }
        for path in (path for paths in source.days().values() for path in paths):
            _count(path, files, unfinished)
    except ReadError as error:
        yield Problem(str(error), "make the file readable, or move it away")
        return
    files.running = sum(alive for _, alive in unfinished.values())
    files.crashed = len(unfinished) - files.running
    crashed = dict.fromkeys(trace for trace, alive in unfinished.values() if not alive)
    files.crashed_traces = [*crashed][:MAX_LISTED]


def _count(path: Path, files: Files, unfinished: dict[str, tuple[str, bool]]) -> None:
    """Count the records in the file at *path*, and remove their ids from *unfinished*."""
    if (file := open_records(path)) is None:
        return
    with file:
        files.bytes += os.fstat(file.fileno()).st_size
        for number, (_, line) in enumerate(lines_of(file), start=1):
            for _, _, record in records_in(line):
                if isinstance(record, str):
                    files.damaged += 1
                    if len(files.damage) < MAX_LISTED:
                        files.damage.append({"path": str(path), "line": number, "reason": record})
                else:
                    files.records += 1
                    unfinished.pop(str(record.get("id")), None)
    files.files += 1


def _frameworks() -> Iterator[Framework]:
    """Return the frameworks that our extras name, with the range stated there and nowhere else."""
    try:
        requirements = [Requirement(text) for text in metadata.requires("fluxloop") or ()]
    except metadata.PackageNotFoundError:  # a checkout that is not installed
        return
    named = {requirement.name: requirement for requirement in requirements if _is_framework(requirement)}
    for name, requirement in sorted(named.items()):
        version = _version(name)
        supported = ",".join(sorted(map(str, requirement.specifier), reverse=True))  # the lower end first
        is_supported = version is None or requirement.specifier.contains(version, prereleases=True)
        yield Framework(name, supported, version, is_supported)


def _is_framework(requirement: Requirement) -> bool:
    marker = requirement.marker
    if marker is None or requirement.name == "fluxloop" or marker.evaluate({"extra": ""}):
        return False
    return any(marker.evaluate({"extra": extra}) for extra in FRAMEWORKS)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _notes(files: Files, *, enabled: bool) -> Iterator[str]:
    if not enabled:
        yield "tracing is off: nothing is recorded"
    if not files.exists:
        yield f"{files.path} will be created when the first observation is recorded"
    if (env := nearest(".env")) is not None:
        yield f"{env} applies to programs that call fluxloop.load_env(); this command does not load it"
    if files.running:
        yield f"{counted(files.running, 'observation')} open in running programs: fluxloop view --follow"
    if files.crashed:
        yield (
            f"{counted(files.crashed, 'observation')} open when the process died: "
            f"fluxloop view --trace {files.crashed_traces[0]}"
        )
    if files.untraced:
        names, last = ", ".join([*files.untraced][:MAX_LISTED]), max(files.untraced.values())
        yield (
            f"calls of {names} were not recorded, last at {last}: they ran in threads "
            "without a trace, while one was open. Use ContextThreadPoolExecutor, copy_context or install_threads"
        )
    if files.unsent:
        yield f"{counted(files.unsent, 'file')} in the spool, to be sent to a collector: fluxloop upload"
    if files.damaged:
        first = files.damage[0]
        yield (
            f"{counted(files.damaged, 'place')} in the files skipped when reading, "
            f"first {first['path']} line {first['line']} ({first['reason']})"
        )
