"""
The thread that sends the spool of a process to a collector.

It sleeps until a record is written, waits for more, and sends what is in the spool: its own records, and then those of
processes that have ended. After each failure it waits longer. It keeps a reference to the storage only while records
wait, so that an unused storage is garbage-collected, together with its thread, once its records are sent.
"""

from __future__ import annotations

import threading
from _thread import start_new_thread
from itertools import count, islice
from math import inf
from queue import Empty, SimpleQueue

from ..forks import after_fork
from .clock import seconds
from .crashes import recover
from .event_loops import unguarded
from .flushing import Flush, Token
from .line_buffer import LineBuffer
from .segment import Segment, claim_all
from .spool import Spool
from .uploader import MAX_BATCH_BYTES, MAX_RETRY_S, Uploader, retry_delay
from .wire import Answer

MIN_INTERVAL_S = 0.1
"""The shortest time between the beginnings of two rounds, so that a busy program sends large batches."""

MAX_CLAIMED = 8
"""The limit of segments of other processes that are open at the same time."""

SLICE_BATCHES = 8
"""The number of batches of an ended process that are sent before new records of this one."""

CLAIM_INTERVAL_S = 30.0
"""The interval of searches for segments of processes that have ended."""


class Sender:
    """
    Sends what a spool contains.

    Args:
        spool: The spool of this process.
        uploader: Sends the segments.
        auto_flush: Whether to send without being asked by `flush`.
        flush_interval: The wait for more records before a batch is sent, in seconds.
        buffer_size: The number of records that are sent without that wait.
    """

    def __init__(
        self, spool: Spool, uploader: Uploader, *, auto_flush: bool, flush_interval: float, buffer_size: int
    ) -> None:
        self.memory = LineBuffer()
        self.waiting = 0
        """The number of records since the last round began. A lost update delays a round by the flush interval."""
        self.has_logged_failure = False
        """Whether an attempt has failed, and the log says where the records wait."""
        self.owner: object = None
        """The storage, while records wait."""
        self.wake_at: float = 1 if auto_flush else inf
        """The value of `waiting` at which the thread is woken."""
        self._spool = spool
        self._uploader = uploader
        self._auto_flush = auto_flush
        self._flush_interval = flush_interval
        self._buffer_size = buffer_size
        self._tokens: SimpleQueue[Token] = SimpleQueue()
        self._is_started = self._is_stopped = self._has_ended = False
        self._own: dict[str, Segment] = {}
        self._claimed: list[Segment] = []
        self._claim_at = 0.0
        self._round_at = 0.0

    # For the threads of the program. A queue needs no lock, so these may be called in signal handlers and finalizers.

    def prepare(self) -> None:
        """Start the thread, which cannot be done at exit any more (Python 3.12)."""
        if not self._is_started:
            unguarded(self._start)

    def wake(self) -> None:
        """Let the thread send what was written; start it if necessary."""
        self.wake_at = inf
        if self._is_started or unguarded(self._start):
            self._tokens.put("records")
        else:
            self.wake_at = self.waiting + self._buffer_size  # try again then

    def flush(self, timeout: float | None, *, is_patient: bool, stall_s: float = inf) -> bool:
        """
        Send everything, and return whether that was possible.

        Args:
            timeout: The limit in seconds; None for none.
            is_patient: Whether to go on after an attempt has failed.
            stall_s: The longest time in which no record is stored.
        """
        if not (self._is_started or unguarded(self._start)):
            return False
        flush = Flush(is_patient=is_patient)
        self._tokens.put(flush)
        now = seconds()
        end = inf if timeout is None else now + timeout
        stored, stalled_at = self._uploader.delivery.sent, now + stall_s
        while (left := min(end, stalled_at) - seconds()) > 0 and not self._has_ended:
            if (sent := flush.wait(min(left, 0.5))) is not None:
                return sent
            if stored != (stored := self._uploader.delivery.sent):
                stalled_at = seconds() + stall_s
        return flush.wait(0) or False

    def stop(self) -> None:
        """End the thread after its current request. Cannot be undone."""
        self._is_stopped = True  # also ends its log: a thread that prints at interpreter shutdown can crash the process
        self._tokens.put("stop")

    def _start(self) -> bool:
        with _lock:
            if not self._is_started:
                try:
                    start_new_thread(self._run, ())
                except RuntimeError as exc:  # too many threads, or the interpreter is ending
                    self._log("thread", f"records stay in {self._spool.base_path}: no thread can be started ({exc})")
                    return False
                self._is_started = True
        return True

    # For the thread itself.

    def _run(self) -> None:
        try:
            while not self._is_stopped:
                try:
                    self._serve(self._tokens.get())
                except Exception as exc:
                    self._log("sender", f"sending records failed: {type(exc).__name__}: {exc}", exc_info=True)
                    self._sleep(MAX_RETRY_S)
                    self._tokens.put("records")
        finally:
            self._has_ended = True
            self._release()

    def _serve(self, token: Token) -> None:
        """Handle *token*: wait for more records if it is about the first ones, then send all."""
        flushes: list[Flush] = []
        if token == "records":
            token = self._gather()
        if isinstance(token, Flush):
            flushes.append(token)
        failures = 0
        while not self._stops(token):
            self.wake_at, self.waiting = inf, 0
            self._round_at = seconds()
            failure = self._round()
            if failure is None:
                break
            failures += 1
            self._report(failure)
            for flush in [flush for flush in flushes if not flush.is_patient and not failure.may_wait]:
                flush.end(sent=False)
                flushes.remove(flush)
            token = self._sleep(retry_delay(failure, failures), ignore_records=True)
            if isinstance(token, Flush):
                flushes.append(token)
                self._claim_at = 0.0
        self._end_round(flushes)

    def _gather(self) -> Token:
        """Wait for the flush interval, or until there are enough records; return an earlier request."""
        self.wake_at = self._buffer_size
        if self.waiting < self._buffer_size:
            token = self._sleep(self._flush_interval)
            if token != "records":
                return token
        # There are enough. Wait nevertheless if the last round has just begun.
        return self._sleep(MIN_INTERVAL_S - (seconds() - self._round_at), ignore_records=True)

    def _end_round(self, flushes: list[Flush]) -> None:
        is_stopped = self._is_stopped
        if not is_stopped:
            self._rest()
        for flush in flushes:  # last, so that a storage that is dropped after a flush is deleted at once
            flush.end(sent=not is_stopped)

    def _rest(self) -> None:
        """Drop the reference to the storage if nothing waits, and let the next record wake the thread."""
        # Before the check, so that a record written meanwhile is noticed.
        owner, self.owner = self.owner, None
        if self._auto_flush:
            self.waiting, self.wake_at = 0, 1
        if self.has_waiting():
            self.owner = owner
            if self._auto_flush:
                self.wake_at = inf
                self._tokens.put("records")

    def _sleep(self, wait_s: float, *, ignore_records: bool = False) -> Token:
        """Wait, and return "records" after that, or an earlier token that is not about records."""
        end = seconds() + wait_s
        while True:
            try:
                token = self._tokens.get(timeout=max(0.0, end - seconds()))
            except Empty:
                return "records"
            if self._stops(token) or token != "records":
                return token
            if not ignore_records and self.wake_at == inf:
                return token

    def _stops(self, token: Token) -> bool:
        self._is_stopped |= token == "stop"
        return self._is_stopped

    def _round(self) -> Answer | None:
        """Send everything that is in the spool now; return the answer that ended this, if any."""
        self._spool.retire()
        while lines := self.memory.first(MAX_BATCH_BYTES):
            if (failure := self._uploader.send(lines)) is not None:
                return failure
            self.memory.remove(lines)
        while not self._is_stopped:
            self._claim()
            own = [segment for segment in self._claimed if segment.own]  # written before the storage was closed
            for segment in [*own, *self._open_own()]:
                if (failure := self._send(segment)) is not None:
                    return failure
            others = [segment for segment in self._claimed if not segment.own]
            if not others:
                break
            if (failure := self._send(others[0], SLICE_BATCHES)) is not None:
                return failure
        return None

    def _send(self, segment: Segment, max_batches: float = inf) -> Answer | None:
        """Send *segment*, or so many batches of it; remove it if nothing is left."""
        batches, offset = count(), segment.offset
        try:
            failure = self._uploader.drain(segment, go_on=lambda: not self._is_stopped and next(batches) < max_batches)
            if failure is None:
                self._finish(segment)
                if segment.is_complete and segment.offset == offset and segment in self._claimed:
                    self._claimed.remove(segment)  # something else changed the file: do not try for ever
                    segment.close()
        except OSError as exc:
            self._log("segment", f"cannot read {segment.path}: {exc}")
            if segment in self._claimed:
                self._claimed.remove(segment)
            segment.close()
            return None
        return failure

    def _claim(self) -> None:
        """Claim segments of processes that have ended, if none are left, and it is time to look for more."""
        if self._claimed or seconds() < self._claim_at:
            return
        recover(self._spool.base_path)
        for segment in islice(claim_all(self._spool.base_path), MAX_CLAIMED):
            segment.own = self._spool.is_own(segment.path)
            self._claimed.append(segment)
        if len(self._claimed) < MAX_CLAIMED:
            self._claim_at = seconds() + CLAIM_INTERVAL_S

    def _open_own(self) -> list[Segment]:
        """Return the segments that this process writes, in order."""
        own: dict[str, Segment] = {}
        for path in self._spool.own():
            known = self._own.get(str(path))
            try:
                if known is None or not known.file.is_in_place():  # it was removed, and written again
                    known = Segment.written_here(path)
            except OSError:
                continue  # removed; the next record writes it again
            own[str(path)] = known
        self._own = own
        return list(own.values())

    def _finish(self, segment: Segment) -> None:
        """Remove *segment* if it was sent and no thread writes to it."""
        if segment.has_more or not (segment.is_complete or self._spool.is_idle(segment.path)):
            return
        try:
            segment.remove()
        except OSError as exc:
            self._log("remove", f"cannot remove {segment.path}, which was sent: {exc}")
        if segment in self._claimed:
            self._claimed.remove(segment)
        else:
            self._spool.forget(segment.path)

    def has_waiting(self) -> bool:
        """Return whether records of this process wait to be sent."""
        if self.memory:
            return True
        own = self._own
        for path in self._spool.own():
            segment = own.get(str(path))
            try:
                if (segment.offset if segment is not None else 0) < path.stat().st_size:
                    return True
            except OSError:
                continue
        return False

    def _report(self, failure: Answer) -> None:
        place = "in memory" if self.memory else f"in {self._spool.base_path}"
        self._log(failure.problem[:40], f"{failure.problem}. Records are kept {place} and sent later")
        self.has_logged_failure = True

    def _log(self, cause: str, message: str, *, exc_info: bool = False) -> None:
        if not self._is_stopped:
            self._uploader.delivery.problems.log_once(cause, message, exc_info=exc_info)

    def _release(self) -> None:
        for segment in [*self._claimed, *self._own.values()]:
            segment.close()
        self._claimed, self._own = [], {}
        self.owner = None
        self._uploader.link.close()

    def forked(self) -> None:
        """In a forked child, which has no such thread: release what belongs to the parent."""
        for segment in [*self._claimed, *self._own.values()]:
            segment.close()
        self._uploader.link.forget()


_lock = threading.RLock()
"""Held while a thread is started. Re-entrant, because a signal handler or a finalizer may record."""


def _renew_lock() -> None:
    global _lock
    _lock = threading.RLock()  # in a forked child, another thread of the parent may have held it


after_fork(_renew_lock)
