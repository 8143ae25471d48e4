"""
Find out whether FluxLoop is set up well here, and what the records of earlier runs tell.

A *problem* is something to put right, and comes with its remedy. What was merely found, such as a run
that crashed last week, is a *note*. Looking changes nothing: no folder is made, nothing is sent.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from ..errors import ReadError
from ..reading import Source
from ..reading.source import open_records
from ..settings.dotenv import nearest
from ..settings.layers import Configuration, Described, describe
from ..storage.decoding import records_in
from ..storage.file import FileStorage
from .formatting import counted

MOST_NAMED = 20
"""Damaged places and crashed traces that are named one by one; all are counted."""

FRAMEWORKS = ("langchain", "langgraph", "openai-agents", "chatkit")
"""The extras that stand for a framework."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something to put right, and how."""

    problem: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Framework:
    """A framework there is an adapter for."""

    name: str
    supported: str
    """The versions this FluxLoop works with, as pip spells a range."""
    version: str | None
    """The version installed here."""
    is_supported: bool


@dataclass(slots=True)
class Files:
    """The folder the records go to, and what is in it."""

    path: str
    exists: bool = False
    is_writable: bool = False
    """Whether nothing stands in the way of writing there."""
    files: int = 0
    bytes: int = 0
    records: int = 0
    damaged: int = 0
    """Places that are no records: lines cut off by a kill or a full disk, lines of other programs."""
    damage: list[dict[str, Any]] = field(default_factory=list)
    """The first of them, each with ``path``, ``line`` and ``reason``."""
    running: int = 0
    """Observations that are open right now."""
    crashed: int = 0
    """Observations that were open when their process died."""
    crashed_traces: list[str] = field(default_factory=list)
    """The ids of some of the traces they belong to."""


@dataclass(slots=True)
class Diagnosis:
    """What `fluxloop doctor` prints."""

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
    """Look at everything there is to look at; *version* is that of FluxLoop."""
    settings = configuration.settings()
    files = Files(str(settings.base_path))
    problems = [Problem(problem, "correct it where it was set, or unset it") for problem in configuration.problems()]
    of_folder = _trouble_with_folder(settings.base_path, files)
    if settings.storage == "file" or (isinstance(settings.storage, tuple) and "file" in settings.storage):
        problems += of_folder
    problems += _trouble_with_records(settings.base_path, files)
    frameworks = [*_frameworks()]
    problems += [_trouble_with_framework(one) for one in frameworks if not one.is_supported]
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


def _trouble_with_framework(one: Framework) -> Problem:
    return Problem(
        f"{one.name} {one.version} is installed, and this FluxLoop works with {one.supported}",
        f"pip install '{one.name}{one.supported}', or a FluxLoop that knows it: pip install --upgrade fluxloop",
    )


def _trouble_with_folder(folder: Path, files: Files) -> list[Problem]:
    files.exists = folder.exists()
    complaints = FileStorage(folder).check()
    files.is_writable = not complaints
    return [Problem(complaint, _ELSEWHERE) for complaint in complaints]


_ELSEWHERE = 'put that right, or choose another folder: fluxloop.configure(base_path="…") or FLUXLOOP_BASE_PATH'


def _trouble_with_records(folder: Path, files: Files) -> Iterator[Problem]:
    """Count what is in the files and the journals of *folder*; what cannot be read is a problem."""
    if not folder.is_dir():
        return
    try:
        source = Source.at(folder)
        for path in (path for paths in source.days().values() for path in paths):
            _count(path, files)
        heads = source.open_observations()
    except ReadError as error:
        yield Problem(str(error), "make the file readable, or move it away")
        return
    for trace_id, opened in heads.items():
        files.running += sum(alive for alive, _ in opened)
        if dead := sum(not alive for alive, _ in opened):
            files.crashed += dead
            files.crashed_traces += [trace_id][: MOST_NAMED - len(files.crashed_traces)]


def _count(path: Path, files: Files) -> None:
    if (file := open_records(path)) is None:
        return
    with file:
        for number, line in enumerate(file, start=1):
            files.bytes += len(line)
            for _, record in records_in(line):
                if isinstance(record, str):
                    files.damaged += 1
                    if len(files.damage) < MOST_NAMED:
                        files.damage.append({"path": str(path), "line": number, "reason": record})
                else:
                    files.records += 1
    files.files += 1


def _frameworks() -> Iterator[Framework]:
    """The frameworks our extras name, with the range stated there: that is the only place which knows it."""
    try:
        requirements = [Requirement(text) for text in metadata.requires("fluxloop") or ()]
    except metadata.PackageNotFoundError:  # run from a checkout that was never installed
        return
    named = {one.name: one for one in requirements if _is_of_framework(one)}
    for name, requirement in sorted(named.items()):
        version = _version(name)
        supported = ",".join(sorted(map(str, requirement.specifier), reverse=True))  # from-to, as people write it
        is_supported = version is None or requirement.specifier.contains(version, prereleases=True)
        yield Framework(name, supported, version, is_supported)


def _is_of_framework(requirement: Requirement) -> bool:
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
        yield f"{files.path} will be made when the first observation is recorded"
    if (env := nearest(".env")) is not None:
        yield f"{env} counts in programs that call fluxloop.load_env(); this command does not load it"
    if files.running:
        yield f"{counted(files.running, 'observation')} open in running programs: fluxloop view --follow"
    if files.crashed:
        yield (
            f"{counted(files.crashed, 'observation')} still open when the process died: "
            f"fluxloop view --trace {files.crashed_traces[0]}"
        )
    if files.damaged:
        first = files.damage[0]
        yield (
            f"{counted(files.damaged, 'place')} in the files left out when reading, "
            f"first {first['path']} line {first['line']} ({first['reason']})"
        )
