"""
Read a small file in one pass: each line is decoded once, and all lines are in memory until their trace is assembled.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from ..storage.decoding import Json, decode, kind_of, start_text, trace_id_of
from ..storage.record_input import RecordInput
from ..storage.references import TAILS
from .assembly import Assembly
from .source import open_records

LARGEST_BYTES = 8 << 20
"""A larger file is read by the index of its day, which holds the lines of one trace at a time."""


def assemblies_in(
    path: Path, is_wanted: Callable[[str], object], on_schema: Callable[[Json], object], *, newest_first: bool
) -> list[Assembly] | None:
    """
    Return the traces of a file in the order of their starts, from the last to the first, for ``pop``.

    Args:
        path: The file.
        is_wanted: Decides by its id whether a trace is returned.
        on_schema: Is called with each record of these traces that has the version of its format.
        newest_first: Whether the order is the reverse one.

    Returns:
        None if the file is large, or has anything but whole records.
    """
    file = open_records(path)
    if file is None:
        return []
    with file:
        if os.fstat(file.fileno()).st_size > LARGEST_BYTES:
            return None
        lines = _complete_lines(file)
    if lines is None:
        return None
    found: dict[str, Assembly] = {}
    starts: dict[str, str] = {}
    for line in lines:
        try:
            record = decode(line)
        except ValueError:
            return None
        if kind_of(record) is None:
            return None
        trace_id, start = trace_id_of(record), start_text(record)
        known = starts.get(trace_id)
        if known is None:
            if not is_wanted(trace_id):
                continue
            found[trace_id] = Assembly(trace_id)
            starts[trace_id] = start
        elif start < known:
            starts[trace_id] = start
        if "schema" in record:
            on_schema(record)
        found[trace_id].add_line(line, record)
    in_order = sorted(found, key=starts.__getitem__, reverse=newest_first)
    return [found[trace_id] for trace_id in reversed(in_order)]


def _complete_lines(file: RecordInput) -> list[bytes] | None:
    """Return all lines; None if they take more than a small file without references."""
    lines = file.readlines()
    size = 0
    for index, line in enumerate(lines):
        if line.endswith(TAILS):
            lines[index] = complete = file.complete(line)
            size += len(complete)
            if size > LARGEST_BYTES:
                return None
    return lines
