"""
Send files of records to a collector, in batches.

A batch that is too large is sent again in smaller ones, until the record that the collector does not accept is alone.
Such a record, and each one that the collector rejects, is kept in a file of its own and not sent again.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from ..report import Delivery
from .descriptors import open_regular
from .segment import Segment
from .wire import Answer, Link, orjson_or_none

MAX_BATCH_BYTES = 1_000_000
"""The limit of a batch before compression, unless one record is larger."""

MIN_BATCH_BYTES = 256
"""The smallest batch that is tried with more than one record."""


FIRST_RETRY_S = 0.5
"""The longest wait after the first failure; it doubles with each further one."""

MAX_RETRY_S = 60.0
"""The longest wait between two attempts; also the wait while the collector refuses the key."""

_random = random.Random()  # not the generator of the program, whose state must not change


def retry_delay(failure: Answer, failures: int) -> float:
    """Return the wait before the next attempt. It varies, so that many processes do not retry at the same time."""
    if failure.retry_after_s is not None:
        return failure.retry_after_s + _random.uniform(0, FIRST_RETRY_S)
    if failure.is_permanent:
        return MAX_RETRY_S
    longest = min(MAX_RETRY_S, FIRST_RETRY_S * 2.0 ** min(failures - 1, 20))
    return _random.uniform(longest / 2, longest)


class Uploader:
    """
    Sends segments over a link, and counts what it sends.

    Args:
        link: The way to the collector.
        delivery: The counts.
        refused: The file to which records that the collector does not accept are appended.
        on_batch: Called with the size of each batch that was stored.
    """

    def __init__(
        self, link: Link, delivery: Delivery, refused: Path, on_batch: Callable[[int], object] | None = None
    ) -> None:
        self.link = link
        self.delivery = delivery
        self.refused = refused
        self._on_batch = on_batch
        self.duplicates = 0
        """Records that the collector had already."""
        self._limit = self._most = MAX_BATCH_BYTES

    def drain(self, segment: Segment, *, go_on: Callable[[], bool] = lambda: True) -> Answer | None:
        """
        Send all complete lines of *segment*.

        Args:
            segment: The file, whose position is moved after each batch.
            go_on: Called before each batch; False ends the work.

        Returns:
            None if all were sent, or *go_on* returned False; else the answer to the batch that was not stored.
        """
        while go_on():
            lines = segment.batch(self._limit, self.link.max_lines)
            if segment.skipped:
                self._count_skipped(segment)
            if not lines:
                break
            if segment.attempt is None:
                segment.attempt = len(lines), uuid4().hex
            else:
                self.delivery.retry()
            body = segment.complete(lines)
            answer = self.link.send(body, segment.attempt[1])
            if answer.stored:
                segment.advance(len(lines))
                self._settle(body, answer, own=segment.own)
                self._limit = min(self._limit * 2, self._most)
            elif answer.is_too_large:
                self._shrink(segment, lines, body, answer)
            else:
                return answer
        return None

    def send(self, lines: list[bytes]) -> Answer | None:
        """Send records that are in no file; return the answer if they were not stored."""
        most = self.link.max_lines or len(lines)
        if len(lines) > most:
            return self.send(lines[:most]) or self.send(lines[most:])
        body = b"".join(lines)
        answer = self.link.send(body, uuid4().hex)
        if answer.is_too_large and len(lines) > 1:
            half = len(lines) // 2
            return self.send(lines[:half]) or self.send(lines[half:])
        if answer.is_too_large:
            answer = Answer(stored=True, rejected=((1, answer.problem),))
        if not answer.stored:
            return answer
        self._settle(body, answer, own=True)
        return None

    def _shrink(self, segment: Segment, lines: bytes, body: bytes, answer: Answer) -> None:
        """Prepare to send smaller batches, or give up on a single record; *body* is what was sent of *lines*."""
        segment.attempt = None
        if lines.count(b"\n") == 1:
            segment.advance(len(lines))
            self._settle(body, Answer(stored=True, rejected=((1, answer.problem),)), own=segment.own)
            return
        if answer.limit_bytes is not None:
            self._most = max(MIN_BATCH_BYTES, min(self._most, answer.limit_bytes))
        # Half of what was sent, since the limit may be that of a proxy, which does not name it.
        self._limit = max(MIN_BATCH_BYTES, min(self._most, len(body) // 2))
        if self._limit >= len(body) - 1:
            self._limit = lines.index(b"\n") + 1

    def _settle(self, lines: bytes, answer: Answer, *, own: bool) -> None:
        count = lines.count(b"\n")
        dropped = torn = 0
        self.duplicates += answer.duplicates
        if answer.rejected:
            dropped, torn = self._keep_refused(lines, answer)
        self.delivery.settle(sent=max(0, count - dropped - torn), dropped=dropped, own=own)
        if self._on_batch is not None:
            self._on_batch(len(lines))

    def _keep_refused(self, lines: bytes, answer: Answer) -> tuple[int, int]:
        """Append the rejected records to their file; return how many there are, and how many lines were torn ones."""
        by_number = [line + b"\n" for line in lines.split(b"\n")[:-1]]
        dropped = torn = 0
        for number, reason in dict(answer.rejected).items():
            if not 1 <= number <= len(by_number):
                continue
            line = by_number[number - 1]
            if orjson_or_none(line) is None:
                torn += 1  # the rest of a write that failed, which was counted then
                continue
            dropped += 1
            reason = self.link.scrubbed(reason)
            self.delivery.problems.log_once(
                f"refused {reason}"[:60],
                f"the collector at {self.link.url} does not accept a record, which is kept in {self.refused}: {reason}",
            )
            self._append(line)
        return dropped, torn

    def _count_skipped(self, segment: Segment) -> None:
        number, segment.skipped = segment.skipped, 0
        self.delivery.settle(dropped=number, own=segment.own)
        message = f"{segment.path} has a line that is too long for a record; it was left out"
        self.delivery.problems.log_once("too long", message)

    def _append(self, line: bytes) -> None:
        try:
            self.refused.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_CREAT | os.O_APPEND | os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0)
            fd = open_regular(self.refused, flags)
            try:
                os.write(fd, line)
            finally:
                os.close(fd)
        except OSError as exc:
            self.delivery.problems.log_once("refused file", f"cannot write to {self.refused}: {exc}")
