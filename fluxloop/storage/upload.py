"""
Send the files of a folder to a collector, as ``fluxloop upload`` does.

The positions up to which the files were sent are kept in a hidden folder, one per collector. So a run that was
interrupted is continued, and a later run sends what was added since. Segments of a spool are removed when they were
sent, as by the process that would have sent them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import ReadError
from .address import folder_name
from .crashes import journals_in, recover
from .descriptors import Descriptor, open_regular
from .segment import Segment, claim_all, segments_in
from .spool import REFUSED, SPOOL
from .uploader import Uploader, retry_delay
from .wire import Answer

POSITIONS = ".uploaded"
"""The name of the folder with the positions."""

MAX_FAILURES = 5
"""Attempts to send a batch before the upload ends."""

MAX_WAIT_S = 30.0
"""The longest wait for the next attempt; a collector that asks for more is left for a later upload."""


@dataclass(slots=True)
class Upload:
    """What is to be sent."""

    files: Sequence[Path]
    """Record files; they stay as they are."""
    spools: Sequence[Path] = ()
    """Folders with segments of processes that have ended; each is removed when it was sent."""
    positions: Path | None = None
    """The folder for the positions in *files*; None sends everything."""
    refused: Path = Path(REFUSED)
    """The file for records that the collector rejects."""
    reached: dict[Path, int] = field(default_factory=dict)
    """The positions that this upload has reached, which are in no file if everything is sent."""

    def size(self) -> int:
        """Return the number of bytes that are left to send."""
        segments = [path for spool in self.spools for path in segments_in(spool)]
        left = 0
        for path in [*self.files, *segments]:
            with suppress(OSError):
                segment = self._opened(path)
                left += segment.size - max(segment.offset, self.reached.get(path, 0))
                segment.close()
        return left

    def run(self, uploader: Uploader) -> Answer | None:
        """
        Send everything; return the answer that ended it, if any.

        Raises:
            ReadError: If a file cannot be read.
        """
        for segment in self._segments():
            failure = _drain(segment, uploader)
            self.reached[segment.path] = segment.offset
            if failure is None and segment.path not in self.files and not segment.has_more:
                segment.remove()
            segment.close()
            if failure is not None:
                return failure
        return None

    def _segments(self) -> Iterator[Segment]:
        for spool in self.spools:
            recover(spool)
            yield from claim_all(spool)
        for path in self.files:
            try:
                yield self._opened(path)
            except OSError as error:
                raise ReadError(f"{path}: cannot be read: {error.strerror or error}") from error

    def _opened(self, path: Path) -> Segment:
        position = None
        if path not in self.files:
            position = path.with_suffix(".sent")
        elif self.positions is not None:
            position = self.positions / f"{path.name}.sent"
        segment = Segment(Descriptor(open_regular(path, os.O_RDONLY), path), position, is_complete=False)
        segment.has_references = path in self.files
        return segment


def _drain(segment: Segment, uploader: Uploader) -> Answer | None:
    failures = 0
    while (failure := uploader.drain(segment)) is not None:
        failures += 1
        wait = retry_delay(failure, failures)
        if failure.is_permanent or failures >= MAX_FAILURES or wait > MAX_WAIT_S:
            return failure
        time.sleep(wait)
    return None


def positions_for(folder: Path, url: str) -> Path | None:
    """Return the folder for the positions of uploads to *url*, created if necessary; None if that is not possible."""
    positions = folder / POSITIONS / folder_name(url)
    try:
        positions.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return positions


def spools_in(folder: Path) -> list[Path]:
    """Return the folders with something to send: *folder*, the spool in it, and the folders of collectors in either."""
    spool = folder if folder.name == SPOOL else folder / SPOOL
    candidates = [folder, spool, *sorted(spool.glob("*/"))]
    return [each for each in dict.fromkeys(candidates) if each.is_dir() and (segments_in(each) or _has_journals(each))]


def _has_journals(folder: Path) -> bool:
    """Whether *folder* is a spool by its name, and has journals; those of other folders belong to their files."""
    return SPOOL in (folder.name, folder.parent.name) and bool(journals_in(folder))


def count_unsent(folder: Path) -> int:
    """Return the number of segments in *folder*, as `spools_in` finds them."""
    return sum(len(segments_in(spool)) for spool in spools_in(folder))
