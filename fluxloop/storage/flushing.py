"""
Requests of the program to the thread that sends its records.
"""

from __future__ import annotations

from queue import Empty, SimpleQueue
from typing import Literal


class Flush:
    """A request to send everything now."""

    def __init__(self, *, is_patient: bool) -> None:
        self.is_patient = is_patient
        """Whether to go on after an attempt has failed."""
        self._result: SimpleQueue[bool] = SimpleQueue()

    def wait(self, timeout: float) -> bool | None:
        """Return whether everything was sent; None if that is not known within *timeout* seconds."""
        try:
            return self._result.get(timeout=timeout)
        except Empty:
            return None

    def end(self, *, sent: bool) -> None:
        """Let `wait` return *sent*."""
        self._result.put(sent)


Token = Flush | Literal["records", "stop"]
