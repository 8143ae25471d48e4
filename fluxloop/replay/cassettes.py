"""
Cassettes: trace files that answer the calls of a test, recorded when they are missing.

A cassette is an ordinary record file. Ids and times in it are replaced by numbers, so that recording the same run again
changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, Self

from ..client import default
from ..errors import ReplayError
from ..models import Trace
from ..reading import traces_of
from ..settings.layers import Configuration
from ..storage import MemoryStorage
from .block import Block, Replay
from .canonical import Normalize
from .cassette_files import prune, version, write
from .checks import damages_in, divergences_in, problems_in
from .live import check_live
from .matching import MODES, Match
from .reports import ReplayReport
from .sources import traces_in
from .unmasking import Secrets, check_secrets

__all__ = [
    "FOLDER",
    "Cassette",
    "Mode",
    "cassette",
    "damages_in",
    "divergences_in",
    "problems_in",
    "prune",
]

Mode = Literal["once", "none", "new_episodes", "rewrite"]
FOLDER = "cassettes"
"""The folder, beside a file of tests, with the cassettes of its tests in a folder named after the file."""

CASSETTE_MODES: tuple[Mode, ...] = ("once", "none", "new_episodes", "rewrite")


class Cassette(Block):
    """A block whose calls are answered from a cassette, or recorded into it; see `cassette`."""

    is_for_process = False
    """Whether calls of the whole process are answered, or those of the block."""

    def __init__(
        self,
        path: Path,
        mode: Mode,
        match: Match,
        normalize: Normalize | None = None,
        live: tuple[str, ...] = (),
        secrets: Secrets | None = None,
    ) -> None:
        self.path = path
        self.mode = mode
        self._match = match
        self._normalize = normalize
        self._live = live
        self._secrets = check_secrets(secrets)
        self._stack = ExitStack()
        self._before: object = None
        """The version of the file when the block was opened."""
        self._storage: MemoryStorage | None = None
        self._replay: Replay | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:  # closed if something fails, so that nothing stays open
            self._open(stack)
            self._stack = stack.pop_all()
        return self

    def _open(self, stack: ExitStack) -> None:
        self._before = version(self.path)
        exists = self.path.exists()
        if self.mode == "none" and not exists:
            raise ReplayError(
                f"expected a cassette at {self.path}, and the file does not exist: record it with mode='once'"
            )
        is_recording = self.mode == "rewrite" or (self.mode in ("once", "new_episodes") and not exists)
        if is_recording or self.mode == "new_episodes":
            self._storage = self._record(stack)
        if not is_recording:
            options: dict[str, Any] = {"live": self._live, "pace": None, "normalize": self._normalize}
            options |= {"is_open_ended": self.mode == "new_episodes", "everywhere": self.is_for_process}
            options |= {"secrets": self._secrets}
            traces = traces_in(self.path, None)
            if damages := damages_in(self.path, traces):
                raise ReplayError(
                    f"the cassette {self.path} is damaged: {damages[0]}. Restore the file, or record it again with "
                    "mode='rewrite'"
                )
            self._replay = Replay(traces, options, self._match)
            stack.enter_context(self._replay)

    def _pause(self) -> None:
        if self._replay is not None:
            self._replay._pause()

    def _resume(self) -> None:
        if self._replay is not None:
            self._replay._resume()

    def __exit__(self, kind: object, exc: BaseException | None, traceback: object) -> None:
        self._stack.__exit__(kind, exc, traceback)  # type: ignore[arg-type]
        if exc is not None or self._storage is None:
            return
        if self._replay is not None and not self._replay.report().live:
            return  # everything was answered, so the cassette is complete
        traces = self._recorded(self._storage)
        if not traces:
            raise ReplayError(
                f"no call was recorded into {self.path}: wrap the run in fluxloop.agent, or install the adapter of its "
                "framework, see fluxloop.install"
            )
        write(self.path, traces, self._before)

    def _record(self, stack: ExitStack) -> MemoryStorage:
        """Record into memory until *stack* is closed, and return the storage."""
        storage = MemoryStorage()
        settings = Configuration(isolated=True).configure(storage=storage, replayable=True)
        stack.enter_context(default.using_recorder(default.make_recorder(settings)))
        return storage

    def _recorded(self, storage: MemoryStorage) -> list[Trace]:
        """Return the traces to write."""
        return list(traces_of(storage.read()))

    def _again(self) -> Self:
        return type(self)(self.path, self.mode, self._match, self._normalize, self._live, self._secrets)

    @property
    def replay(self) -> Replay | None:
        """The open replay; None while the cassette is recorded."""
        return self._replay

    def report(self) -> ReplayReport | None:
        """Return the report of the replay; None while the cassette is recorded."""
        return self._replay.report() if self._replay is not None else None


def cassette(
    path: str | os.PathLike[str],
    mode: Mode = "once",
    *,
    match: Match = "strict",
    live: str | Sequence[str] = (),
    normalize: Normalize | None = None,
    secrets: Secrets | None = None,
) -> Cassette:
    """
    Answer the calls of a block from the file *path*, or record them: with ``with``, ``async with``, or as a decorator.

    The traces of a block that records are written to the cassette only, when the block ends without an error.

    Args:
        path: The cassette, a ``.jsonl`` file.
        mode: ``once``: record if there is no file, else replay. ``none``: replay. ``new_episodes``: replay, and record
            the calls that are not in it. ``rewrite``: record again.
        match: See `fluxloop.replay`.
        live: See `fluxloop.replay`.
        normalize: See `fluxloop.replay`.
        secrets: See `fluxloop.replay`.

    Raises:
        ReplayError: If *mode* or *match* is unknown; when the block is entered, if a cassette is missing.
    """
    if mode not in CASSETTE_MODES:
        raise ReplayError(f"mode must be one of {', '.join(CASSETTE_MODES)}, got {mode!r:.100}")
    if match not in MODES:
        raise ReplayError(f"match must be one of {', '.join(MODES)}, got {match!r:.100}")
    return Cassette(Path(path), mode, match, normalize, check_live(live), secrets)
