"""
Calls that were not recorded because their thread has no trace: a line per function, beside the records.

The count in `fluxloop.report` ends with the process; ``fluxloop doctor`` reads the files afterwards. Only the first
such call of a function in a process is written.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import orjson

from ..interruptions import was_raised_from_outside
from .record_file import RecordFile

KIND = "untraced"
"""The beginning of the name of the files, which have a date as record files do."""

MAX_NAME = 200
"""Characters of a name that are kept."""


def note_untraced(folder: Path, name: str) -> None:
    """Write that a call of *name* was not recorded. If the file cannot be written, only the report has it."""
    now = datetime.now(UTC)
    try:
        text = name[:MAX_NAME].encode(errors="replace").decode()
        line = orjson.dumps({"name": text, "time": f"{now:%Y-%m-%dT%H:%M:%S.%fZ}"}) + b"\n"
        file = RecordFile.at(folder / f"{KIND}_{now:%Y%m%d}.jsonl", 0o600)
        try:
            file.write([line])
        finally:
            file.close()
    except OSError as exc:
        if was_raised_from_outside(exc):
            raise


def untraced_calls(folder: Path) -> dict[str, datetime]:
    """Return the functions whose calls were not recorded, each with the time of the last note."""
    found: dict[str, datetime] = {}
    for path in sorted(folder.glob(f"{KIND}_*.jsonl")):
        try:
            lines = path.read_bytes().splitlines()
        except OSError:
            continue
        for line in lines:
            try:
                record = orjson.loads(line)
                time = datetime.fromisoformat(record["time"]).astimezone(UTC)
                found[str(record["name"])] = max(time, found.get(str(record["name"]), time))
            except (ValueError, TypeError, KeyError, OverflowError):  # a torn line
                continue
    return found
