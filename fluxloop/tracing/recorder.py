"""
The recorder of a trace: settings, encoder, storage and clock; and the counts of written and lost records.

A failure of FluxLoop while recording is counted here, logged once per cause, and never raised into the program.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from ..encoding import ids
from ..encoding.introspection import short_name
from ..errors import WriteError
from ..forks import after_fork
from ..interruptions import was_raised_from_outside
from ..report import Problems, Report, Tally
from ..storage import Record, Storage
from ..storage.contract import append_of, journal_of
from .outcomes import message_of

if TYPE_CHECKING:
    from ..encoding.encoder import Encoder
    from ..redaction import Redactor
    from ..settings.schema import Settings


class _Nothing:
    """The type of `NOTHING`, which means that no value was captured. None is a valid value."""

    def __repr__(self) -> str:
        return "NOTHING"


NOTHING: Final = _Nothing()


class Switch:
    """Whether a client records; shared by all its recorders, so that switching off has an immediate effect."""

    __slots__ = ("on",)

    def __init__(self, on: bool = True) -> None:
        self.on = on


class Counts:
    """The counts of the records of a client. They continue when `configure` replaces the recorder."""

    def __init__(self) -> None:
        self.problems = Problems()
        self.written = Tally()
        self._counts = dict.fromkeys(("failed", "dropped", "truncated", "redacted", "sampled_out", "untraced"), 0)

    def add(self, field: str, number: int = 1) -> None:
        """Add *number* to the count *field* of `Report`."""
        with _counts_lock:
            self._counts[field] += number

    def add_dropped(self, doing: str, exc: BaseException) -> None:
        """Count an observation that was lost while *doing* something, and log the first loss of each cause."""
        self.add("dropped")
        self.problems.log_once(
            f"{doing} {short_name(type(exc))}",
            f"an observation was lost while {doing}: {short_name(type(exc))}: {message_of(exc)}",
            exc_info=True,
        )

    def report(self) -> Report:
        """Return the counts so far."""
        with _counts_lock:
            return Report(written=self.written.value, **self._counts, problems=self.problems.all())


_counts_lock = threading.RLock()
"""Protects the counts. Re-entrant, because a finalizer that runs meanwhile may record and count."""


def _renew_lock() -> None:
    global _counts_lock
    _counts_lock = threading.RLock()  # in a forked child, another thread of the parent may have held it


after_fork(_renew_lock)

_TRACE_METADATA = ("project_name", "environment", "service_name")
"""Settings that are written to the metadata of every trace."""

_UUID_LENGTH = 36

make_record = tuple.__new__
"""Creates a `Record` three times as fast as calling the class, whose constructor is a Python function."""


class Recorder:
    """Writes observations as records, according to its settings. A trace keeps the recorder that it started with."""

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
        self.trace_metadata = {
            name: value for name in _TRACE_METADATA if (value := getattr(settings, name)) is not None
        }
        self.counts = counts or Counts()
        self.count_written = self.counts.written.increment
        self.switch = switch or Switch(settings.enabled)
        self.debug = settings.debug
        self.shortens_vectors = not settings.capture_vectors
        self.captures_input, self.captures_output = settings.capture_input, settings.capture_output
        self.now, self.tick, self.new_id = now, tick, new_id
        self.journal = journal_of(storage)
        self.append = append_of(storage)
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
        Write the line of an observation, and the record of its trace if given, to the storage. Count failures.

        Returns:
            Whether the storage accepted everything.
        """
        try:
            append = self.append
            if trace is None and append is not None:
                append("observation", day, line)
            else:
                observation = make_record(Record, ("observation", day, line))
                self.storage.write((observation,) if trace is None else (observation, trace))
        except Exception as exc:
            if was_raised_from_outside(exc):
                raise
            self._count_failed(exc, 1 if trace is None else 2)
            return False
        count_written = self.count_written
        count_written()
        if trace is not None:
            count_written()
        return True

    def write_score(self, score: Record) -> None:
        """Write a score to the storage. Count failures."""
        try:
            self.storage.write((score,))
        except Exception as exc:
            if was_raised_from_outside(exc):
                raise
            self._count_failed(exc, 1)
        else:
            self.count_written()

    def _count_failed(self, exc: Exception, number: int) -> None:
        """Count *number* records that the storage did not accept as a whole, and log the cause once."""
        lost = exc.lost if isinstance(exc, WriteError) else number
        self.counts.add("failed", lost)
        for _ in range(number - lost):
            self.count_written()
        self.counts.problems.log_once(
            f"storage {short_name(type(exc))}", f"a record could not be stored: {message_of(exc)}"
        )

    def record_failure(self, doing: str, exc: BaseException) -> None:
        """Count an observation that was lost because FluxLoop failed while *doing* something."""
        self.counts.add_dropped(doing, exc)
