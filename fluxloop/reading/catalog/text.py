"""
Find the traces whose names, inputs, outputs or errors contain a text.

The lines of the files are searched as they are for a part of the text that every encoding of it contains; only lines
that have it are decoded. So a search takes about as long as reading the files.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ...storage.decoding import Json, kind_of, records_in, trace_id_of
from ..json_text import pieces
from ..source import LONGEST_LINE_BYTES, OpenObservations, open_records

_BLOCK_BYTES = 1 << 16
"""Bytes of a file that are searched at once."""


Place = tuple[str | None, str]
"""The day and the id of a trace; the day is None where it is not known."""


def in_files(text: str, files: Iterable[tuple[str, Path]]) -> Iterator[Place]:
    """Yield each trace with *text* in one of its records in *files*, each with its day; some more than once."""
    wanted, part = text.casefold(), plain_part(text)
    for day, path in files:
        for line in _lines_with(part, path):
            for found in records_in(line):
                if (
                    not isinstance(found.record, str)
                    and kind_of(found.record) != "score"
                    and contains(found.record, wanted)
                ):
                    yield day, trace_id_of(found.record)


def in_journals(text: str, journals: dict[str, OpenObservations]) -> Iterator[Place]:
    """Yield each trace with *text* in one of its open observations."""
    wanted = text.casefold()
    for trace_id, observations in journals.items():
        if any(contains(record, wanted) for _, record in observations):
            yield None, trace_id


def in_records(text: str, records: Iterable[Json]) -> Iterator[Place]:
    """Yield each trace with *text* in one of *records*; some more than once."""
    wanted = text.casefold()
    for record in records:
        if kind_of(record) in ("observation", "trace") and contains(record, wanted):
            yield None, trace_id_of(record)


def contains(record: Json, wanted: str) -> bool:
    """Whether the name, input, output or error of a record contains *wanted*, which is case-folded."""
    return any(wanted in _text(value) for name in _SEARCHED if (value := record.get(name)))


def searched_text(record: Json) -> str:
    """Return the case-folded text of a record in which `contains` looks, one line per field."""
    return "\n".join(_text(value) for name in _SEARCHED if (value := record.get(name)))


_SEARCHED = ("name", "input", "output", "error")


def _text(value: Any) -> str:
    return (value if isinstance(value, str) else "".join(pieces(value))).casefold()


def plain_part(text: str) -> bytes:
    """Return the longest part of *text* that JSON always writes as it is, in lower case."""
    # The Kelvin sign and the long s become ASCII when their case is folded, so k and s are left out.
    parts = re.findall(r"[a-jl-rt-zA-JL-RT-Z0-9 .,:;_()\[\]{}#$*+=?!@-]+", text)
    return max(parts, key=len, default="").lower().encode()


def _lines_with(part: bytes, path: Path) -> Iterator[bytes]:
    """Yield the lines that contain *part*, which is in lower case, in any case."""
    if (file := open_records(path)) is None:
        return
    with file, open(file.fileno(), "rb", closefd=False) as lines:
        for offset in _offsets_of_lines(part, file):
            lines.seek(offset)
            yield lines.readline(LONGEST_LINE_BYTES)


def _offsets_of_lines(part: bytes, file: BinaryIO) -> Iterator[int]:
    """Yield the offset of each line with *part*."""
    offset = line_start = after = 0
    seam = b""
    fd = file.fileno()
    while block := os.pread(fd, _BLOCK_BYTES, offset):
        lowered = block.lower()
        if offset >= after and part in seam + lowered[: len(part)]:
            yield line_start
            after = offset + (block.find(b"\n") + 1 or len(block))
        at = lowered.find(part, max(0, after - offset))
        while at >= 0:
            yield offset + start if (start := block.rfind(b"\n", 0, at) + 1) else line_start
            end = block.find(b"\n", at) + 1
            after = offset + (end or len(block))
            at = lowered.find(part, end) if 0 < end < len(block) else -1
        if newline := block.rfind(b"\n") + 1:
            line_start = offset + newline
        offset += len(block)
        seam = (seam + lowered)[-len(part) :]
