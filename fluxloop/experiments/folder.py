"""
The folder of an experiment: the contract between the runner, which writes it, and everything that reads it.

::

    experiments/
      latest_checkout -> checkout_20260117_143022      a link to the newest experiment
      checkout_20260117_143022/
        summary.json            what was run, with which result; written at the start and at the end
        trace_summary.jsonl     one JSON object per finished run, failed ones too
        traces.jsonl            the same, under the second name that the published packages use
        errors.json             the runs that did not succeed, if any
        artifacts/
          traces.jsonl          ordinary FluxLoop records, for `fluxloop.read_traces`
          observations.jsonl
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from ..errors import ReadError

FOLDER_VERSION = 1
"""The version of the format, as ``folder_version`` in summary.json. Readers accept it and earlier ones."""

SUMMARY = "summary.json"
ROWS = "trace_summary.jsonl"
FULL_ROWS = "traces.jsonl"
ERRORS = "errors.json"
ARTIFACTS = "artifacts"

LINK_PREFIX = "latest_"
"""The link to the newest experiment is named ``latest_<name>``."""

_STAMP = re.compile(r"_(\d{8}_\d{6})(?:_(\d+))?$")
"""The time at the end of a folder's name, and the number that makes a second folder of the same second unique."""

UPSTREAM_STATUSES = {True: "success", False: "error"}
"""The status of a row without ``status``, by its field ``success``: the published packages write only that."""


@dataclass(frozen=True, slots=True)
class Row:
    """
    One run, from `ROWS`.

    ``data`` has the members of the line: ``trace_id``, ``run`` (from 0), ``iteration``, ``persona``, ``input_id``,
    ``input``, ``expected``, ``metadata``, ``output``, ``duration_ms``, ``success``, ``status``, ``error`` (``type`` and
    ``message``, or None), ``attempts``, ``token_usage`` (``prompt_tokens``, ``completion_tokens``, ``total_tokens``, or
    None), ``cost`` (US dollars, or None), ``session_id``, ``observation_count``, ``conversation``,
    ``conversation_state`` and ``termination_reason``.
    """

    data: Mapping[str, Any]

    @property
    def trace_id(self) -> str:
        """The id of the run's trace in the artifacts."""
        return str(self.data.get("trace_id") or self.data.get("id") or "")

    @property
    def run(self) -> int:
        """The number of the run within its experiment, from 0; -1 in folders of the published packages."""
        number = self.data.get("run", -1)
        return number if isinstance(number, int) else -1

    @property
    def status(self) -> str:
        """``success``, ``error``, ``timeout`` or ``cancelled``."""
        return str(self.data.get("status") or UPSTREAM_STATUSES[bool(self.data.get("success"))])

    @property
    def succeeded(self) -> bool:
        """Whether the run ended with an output."""
        return self.status == "success"


@dataclass(frozen=True, slots=True)
class ExperimentFolder:
    """
    An experiment on disk, to be read.

    Use `ExperimentFolder.at`, which checks the path. Rows are streamed: memory does not grow with their number.
    """

    path: Path
    summary: Mapping[str, Any]

    @classmethod
    def at(cls, path: str | os.PathLike[str]) -> ExperimentFolder:
        """
        Return the experiment at *path*: a folder, a link to it, a bare experiment name, or a pattern with ``*``.

        A name or a pattern that matches several folders means the newest one; a bare name is looked up in
        ``./experiments``.

        Raises:
            ReadError: If there is no such experiment, or if a newer version of FluxLoop wrote it.
        """
        folder = resolve(path)
        summary = read_summary(folder)
        if not (folder / ROWS).is_file() and not summary:
            raise ReadError(f"{folder} is not an experiment: it has no {ROWS}. {HOW_TO_CREATE}")
        version = summary.get("folder_version", 0)
        if not isinstance(version, int) or version > FOLDER_VERSION:
            raise ReadError(
                f"{folder} has format version {version!r}; this FluxLoop reads versions up to {FOLDER_VERSION}. "
                "Update FluxLoop: pip install -U fluxloop"
            )
        return cls(folder, summary)

    @property
    def name(self) -> str:
        """The name of the experiment."""
        return str(self.summary.get("name") or _STAMP.sub("", self.path.name))

    @property
    def state(self) -> str:
        """``finished``; ``running``; or ``interrupted``: its process ended before all runs were finished."""
        state = str(self.summary.get("state") or "finished")
        return "interrupted" if state == "running" and not is_alive(self.summary.get("process")) else state

    def what_is_missing(self, finished: int) -> str | None:
        """Return a notice if not all runs are finished but *finished* of them; None for a finished experiment."""
        if self.state == "finished":
            return None
        plan = self.summary.get("plan")
        planned = plan.get("runs") if isinstance(plan, Mapping) else None
        of = f" of {planned:,}" if isinstance(planned, int) else ""
        why = "it is still running" if self.state == "running" else "its process ended early"
        advice = "" if self.state == "running" else f". Go on with: fluxloop run experiment --resume {self.path}"
        return f"the experiment is not complete: {finished:,}{of} runs are finished; {why}{advice}"

    @property
    def artifacts(self) -> Path:
        """The folder of the records; in folders of the published packages the experiment itself."""
        inner = self.path / ARTIFACTS
        return inner if inner.is_dir() else self.path

    def rows(self) -> Iterator[Row]:
        """
        Yield the runs in the order in which they ended. Incomplete lines are skipped.

        A run that was finished twice, which a crash between two writes can cause, is yielded once.
        """
        path = self.path / ROWS
        if not path.is_file():
            return
        seen = Numbers()
        with open(path, "rb") as lines:
            for line in lines:
                data = decoded(line)
                if data is None:
                    continue
                row = Row(_usable(data))
                if row.run < 0 or seen.add(row.run):
                    yield row


LARGEST = 1 << 63
"""Numbers in rows are smaller, as every sum of them then is a number that JSON can have."""


def _usable(data: dict[str, Any]) -> dict[str, Any]:
    """Return *data* without what is not a number where one must be: a row may have been changed by hand."""
    for name in ("duration_ms", "cost", "attempts"):
        if name in data and not _is_number(data[name]):
            data[name] = None
    usage = data.get("token_usage")
    if usage is not None and not (isinstance(usage, dict) and all(map(_is_number, usage.values()))):
        data["token_usage"] = None
    return data


def _is_number(value: Any) -> bool:
    kind = type(value)
    return value is None or ((kind is float or kind is int) and -LARGEST < value < LARGEST)


class Numbers:
    """A set of numbers from 0, one byte for each number below `MOST_DENSE`."""

    MOST_DENSE = 1 << 22

    def __init__(self) -> None:
        self._dense = bytearray()
        self._others: set[int] = set()

    def add(self, number: int) -> bool:
        """Add *number*, and return whether it is new."""
        if number >= self.MOST_DENSE:
            is_new = number not in self._others
            self._others.add(number)
            return is_new
        if number >= len(self._dense):
            self._dense.extend(bytes(number + 1024 - len(self._dense)))
        is_new = not self._dense[number]
        self._dense[number] = 1
        return is_new


HOW_TO_CREATE = "Create one with: fluxloop run experiment"


def decoded(line: bytes) -> dict[str, Any] | None:
    """Return the JSON object of *line*; None if it is incomplete or not an object."""
    try:
        data = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return data if isinstance(data, dict) else None


def resolve(path: str | os.PathLike[str]) -> Path:
    """
    Return the folder that *path* means; see `ExperimentFolder.at`.

    Raises:
        ReadError: If there is none.
    """
    given = Path(path).expanduser()
    if "*" in str(given):
        base, pattern = given.parent, given.name
        while "*" in str(base) and base != base.parent:
            base, pattern = base.parent, f"{base.name}/{pattern}"
        found = [match for match in base.glob(pattern) if match.is_dir()] if base.is_dir() else []
    elif given.is_dir():
        return given.resolve()
    else:
        places = [given.parent] if len(given.parts) > 1 else [Path("experiments"), Path()]
        # The next experiment replaced the link of this one, whose name still means the newest of its name.
        names = dict.fromkeys((given.name, given.name.removeprefix(LINK_PREFIX)))
        named = ([each for place in places for each in experiments_in(place, name)] for name in names)
        found = next(filter(None, named), [])
    if not found:
        raise ReadError(f"experiment not found: {given}. {HOW_TO_CREATE}")
    return max((match.resolve() for match in found), key=_age)


def newest_of(paths: Sequence[Path]) -> Path:
    """Return the one of *paths* that is the newest experiment: a shell expands ``experiments/*`` to many folders."""
    folders = [path.resolve() for path in paths if path.is_dir()]
    return max(folders, key=_age) if len(paths) > 1 and folders else paths[0]


def is_experiment(folder: Path) -> bool:
    """Whether *folder* has the files of an experiment."""
    return (folder / ROWS).is_file() or (folder / SUMMARY).is_file()


def experiments_in(folder: Path, name: str | None = None) -> list[Path]:
    """
    Return the experiments in *folder*, oldest first, without links.

    Args:
        folder: Usually ``experiments``. It does not have to exist.
        name: Only those whose folder is named *name* or ``<name>_<time>``.
    """
    if not folder.is_dir():
        return []
    found = [
        each
        for each in folder.iterdir()
        if each.is_dir()
        and not each.is_symlink()
        and is_experiment(each)
        and (name is None or name in (each.name, _STAMP.sub("", each.name)))
    ]
    return sorted(found, key=_age)


def _age(folder: Path) -> tuple[str, int, float]:
    """A sort key: the time in the folder's name, or else that of its last change."""
    match = _STAMP.search(folder.name)
    return (match[1] if match else "", int(match[2] or 0) if match else 0, folder.stat().st_mtime)


def read_summary(folder: Path) -> dict[str, Any]:
    """
    Return summary.json of *folder*, or an empty dict if there is none.

    Raises:
        ReadError: If the file is not a JSON object.
    """
    path = folder / SUMMARY
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as exc:
        raise ReadError(f"could not read {path}: {exc.strerror}") from None
    summary = decoded(content)
    if summary is None:
        raise ReadError(f"{path} is not a JSON object: the file is damaged")
    return {name: value for name, value in summary.items() if name not in _OBJECTS or isinstance(value, dict)}


_OBJECTS = frozenset({"plan", "source", "results", "config", "process"})
"""Members of a summary that are objects; another value in their place is ignored."""


def is_alive(process: object) -> bool:
    """Return whether *process*, the member ``process`` of a summary (``pid`` and ``host``), still runs here."""
    if not isinstance(process, Mapping) or process.get("host") != platform.node():
        return False
    pid = process.get("pid")
    if not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # it belongs to another user
        return True
    return True
