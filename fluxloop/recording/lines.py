"""
The lines of a recording: written here, and read back here.

A line is ``{"_version": "2", "iteration": 0, "target": "module:qualname", "kwargs": {...}, "timestamp": "..."}``.
Version "1" is that of the published packages.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from ..errors import ConfigError
from ..report import log

VERSION = "2"


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """One recorded call."""

    target: str
    kwargs: dict[str, Any]
    """The arguments by name, as `fluxloop.recording.encoding.tagged` returns them."""
    iteration: int = 0
    timestamp: str = ""


def read_recording(path: Path) -> Iterator[RecordedCall]:
    """
    Yield the calls of the recording at *path*. Incomplete lines are skipped with a warning.

    Raises:
        ConfigError: If it cannot be read.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as exc:
        raise ConfigError(f"could not read the recording {path}: {exc.strerror or exc}") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            data = orjson.loads(line)
            target, kwargs = data["target"], data["kwargs"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            log.warning("%s, line %d: skipped, since it is not a complete recorded call", path, number)
            continue
        if isinstance(kwargs, dict):
            iteration = data.get("iteration", 0)
            yield RecordedCall(
                str(target), kwargs, iteration if isinstance(iteration, int) else 0, str(data.get("timestamp", ""))
            )
