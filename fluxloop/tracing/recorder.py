"""
What a set-up records with: settings, an encoder, a storage, a clock; and the counts of what became of the records.

A failure of FluxLoop while recording ends here: it is counted and logged once, and never reaches the program.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from ..encoding import ids
from ..errors import WriteError
from ..forks import after_fork
from ..interruptions import was_raised_from_outside
from ..report import Report, Tally, Troubles
from ..storage import Record, Storage
from ..storage.contract import journal_of
from .outcomes import message_of

if TYPE_CHECKING:
    from ..encoding.encoder import Encoder
    from ..redaction import Redactor
    from ..settings.schema import Settings


class _Nothing:
    """Represents that no value was captured, since None is a value."""

    def __repr__(self) -> str:
        return "NOTHING"


NOTHING: Final = _Nothing()


class Switch:
    """Whether a set-up records at all; shared by all its recorders, so that off takes effect at once."""

    __slots__ = ("on",)

    def __init__(self, on: bool = True) -> None:
        self.on = on


class Counts:
    """What became of the records of one set-up; outlives the recorders that `configure` replaces."""

    def __init__(self) -> None:
        self.troubles = Troubles()
        self.written = Tally()
        self._of = dict.fromkeys(("failed", "dropped", "truncated", "redacted", "sampled_out"), 0)

    def add(self, what: str, number: int = 1) -> None:
        """Count *number* more of *what*, a field of `Report`."""
        with _counting:
            self._of[what] += number

    def failed(self, doing: str, exc: BaseException) -> None:
        """Count an observation that was lost while *doing* something, and log the first loss of each cause."""
        self.add("dropped")
        self.troubles.say(
            f"{doing} {type(exc).__name__}", f"an observation was lost while {doing}: {exc!r}", exc_info=True
        )

    def report(self) -> Report:
        """Return the counts so far."""
        with _counting:
            return Report(written=self.written.value, **self._of, troubles=self.troubles.all())


_counting = threading.RLock()
"""Held while a count changes. Re-entrant: a finalizer that runs meanwhile may record, and count, something."""


def _renew_lock() -> None:
    global _counting
    _counting = threading.RLock()  # in a forked child, another thread of the parent may have held it


after_fork(_renew_lock)

_ON_TRACES = ("project_name", "environment", "service_name")
"""Settings that are written on every trace, into its metadata."""

_UUID_LENGTH = 36

make_record = tuple.__new__
"""Makes a `Record` at a third of the price of calling the class, whose constructor is a Python function."""


class Recorder:
    """Turns observations into records, by the settings it was made with; a trace keeps the recorder it began with."""

    def __init__(
        self,
        settings: Settings,
        storage: Storage,
        encoder: Encoder,
        redactor: Redactor | None = None,
        *,
        counts: Counts | None = None,
        switch: Switch | None = None,
        now: Callable[[], int] = time.time_ns,
        tick: Callable[[], int] = time.perf_counter_ns,
        new_id: Callable[[], str] = ids.new_id,
        stream_items: Callable[[Any], Any],
    ) -> None:
        self.settings = settings
        self.storage = storage
        self.encode, self.quick, self.encode_part = encoder.encode, encoder.quick, encoder.encode_part
        self.redactor = redactor
        self.session_id = settings.session_id
        self.trace_metadata = {name: value for name in _ON_TRACES if (value := getattr(settings, name)) is not None}
        self.counts = counts or Counts()
        self.count_written = self.counts.written.up
        self.switch = switch or Switch(settings.enabled)
        self.debug = settings.debug
        self.captures_input, self.captures_output = settings.capture_input, settings.capture_output
        self.now, self.tick, self.new_id = now, tick, new_id
        self.journal = journal_of(storage)
        self.stream_items = stream_items

    def id_of(self, given: object) -> str:
        """Return the id *given* by the program as text; a secret in it is replaced by a hash of the id."""
        text = str(given)
        is_uuid = len(text) == _UUID_LENGTH and text.count("-") == 4
        if is_uuid or self.redactor is None or self.redactor.name(text) == text:
            return text
        return f"redacted-{sha256(text.encode(errors='replace')).hexdigest()[:24]}"

    def write_line(self, day: str, line: bytes, trace: Record | None = None) -> bool:
        """
        Hand an observation's line, and its trace's record, to the storage; count what the storage refuses.

        Returns:
            Whether the storage has all of it.
        """
        try:
            observation = make_record(Record, ("observation", day, line))
            self.storage.write((observation,) if trace is None else (observation, trace))
        except Exception as exc:
            if was_raised_from_outside(exc):
                raise
            number = 1 if trace is None else 2
            lost = exc.lost if isinstance(exc, WriteError) else number
            self.counts.add("failed", lost)
            for _ in range(number - lost):
                self.count_written()
            self.counts.troubles.say(
                f"storage {type(exc).__name__}", f"a record could not be stored: {message_of(exc)}"
            )
            return False
        self.count_written()
        if trace is not None:
            self.count_written()
        return True

    def record_failure(self, doing: str, exc: BaseException) -> None:
        """Count an observation lost to a failure of FluxLoop's own; the program goes on."""
        self.counts.failed(doing, exc)
