"""
Time limits of connections to a collector.

The timeouts of httpx are those of single steps: an answer whose headers come byte by byte never exceeds one of them.
Here an answer has one limit from its first byte to its last, and a request that is sent has one, too.
"""

from __future__ import annotations

from typing import Any

from ..report import log
from .clock import seconds

MAX_SEND_S = 300.0
"""The longest time for sending one request: a batch over a slow line."""

_PIECE_BYTES = 65_536
"""Bytes that are sent between two looks at the clock."""


class Backend:
    """
    Makes connections with time limits, by the backend of httpcore that it replaces.

    Args:
        backend: The backend of httpcore.
        timeout: The limit of an answer, in seconds.
    """

    def __init__(self, backend: Any, timeout: float) -> None:
        self._backend, self._timeout = backend, timeout

    def connect_tcp(self, *args: Any, **options: Any) -> Stream:
        """Connect to a host."""
        return Stream(self._backend.connect_tcp(*args, **options), self._timeout)

    def connect_unix_socket(self, *args: Any, **options: Any) -> Stream:
        """Connect to a socket of this machine."""
        return Stream(self._backend.connect_unix_socket(*args, **options), self._timeout)

    def sleep(self, duration_s: float) -> None:
        """Wait between two attempts to connect."""
        self._backend.sleep(duration_s)


class Stream:
    """A connection whose answers have to be complete within *timeout* seconds after the request was sent."""

    def __init__(self, stream: Any, timeout: float) -> None:
        self._stream, self._timeout = stream, timeout
        self._answer_by: float | None = None
        self._sent_by: float | None = None

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return the next bytes of the answer."""
        self._sent_by = None
        if self._answer_by is None:
            self._answer_by = seconds() + self._timeout
        return self._stream.read(max_bytes, self._left(self._answer_by, timeout))  # type: ignore[no-any-return]

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send bytes of a request."""
        self._answer_by = None
        if self._sent_by is None:
            self._sent_by = seconds() + MAX_SEND_S
        for start in range(0, len(buffer), _PIECE_BYTES):
            self._stream.write(buffer[start : start + _PIECE_BYTES], self._left(self._sent_by, timeout))

    def start_tls(self, *args: Any, **options: Any) -> Stream:
        """Encrypt the connection."""
        return Stream(self._stream.start_tls(*args, **options), self._timeout)

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        """Return what httpcore asks for about the connection."""
        return self._stream.get_extra_info(info)

    def _left(self, end: float, timeout: float | None) -> float:
        left = end - seconds()
        if left <= 0:
            raise TimeoutError("it takes too long")
        return left if timeout is None else min(left, timeout)


def limit(transport: Any, timeout: float) -> None:
    """
    Set the time limits for the connections of *transport*, of httpx, which has no public way to its backend.

    In a release of httpx that keeps it elsewhere, the limits are those of httpx: of single steps.
    """
    pool: Any = getattr(transport, "_pool", None)
    backend = getattr(pool, "_network_backend", None)
    if backend is None:
        log.info("this release of httpx has no place for a time limit of whole answers; single steps have one")
        return
    pool._network_backend = Backend(backend, timeout)
