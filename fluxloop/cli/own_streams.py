"""
Keep stdout and stderr for the command: the user's code may print where JSON belongs, or close them.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from typing import TextIO


@contextmanager
def around_users_code(*, as_json: bool) -> Iterator[None]:
    """
    Keep stdout for the command's JSON, and keep stdout and stderr open, in a block that runs the user's code.
    """
    with _open_afterwards(), _stdout_to_stderr(as_json):
        yield


@contextmanager
def _stdout_to_stderr(enabled: bool) -> Iterator[None]:
    """
    Redirect stdout to stderr inside a block, if *enabled*: of Python, of C libraries and of subprocesses.
    """
    if not enabled:
        yield
        return
    own = sys.stdout
    with suppress(OSError, ValueError):  # closed
        own.flush()
    saved = _redirected()
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        if saved is not None:
            os.dup2(saved, 1)
            os.close(saved)


def _redirected() -> int | None:
    """Make file descriptor 1 a copy of 2, and return a copy of what it was; None where one of them is closed."""
    try:
        saved = os.dup(1)
    except OSError:
        return None
    try:
        os.dup2(2, 1)
    except OSError:
        os.close(saved)
        return None
    return saved


@contextmanager
def _open_afterwards() -> Iterator[None]:
    """Open stdout and stderr again after a block in which the user's code closed them, or their descriptors."""
    kept = [copy for name in ("stdout", "stderr") if (copy := _Copy.of(name)) is not None]
    try:
        yield
    finally:
        for copy in kept:
            copy.restore()


class _Copy:
    """A second descriptor of the file of a stream."""

    def __init__(self, name: str, stream: TextIO) -> None:
        self._name = name
        self._stream, self._encoding, self._errors = stream, stream.encoding, stream.errors
        self._fd = stream.fileno()
        self._copied_fd = os.dup(self._fd)

    @classmethod
    def of(cls, name: str) -> _Copy | None:
        """Return a copy of the stream of `sys` with this *name*; None if it has no open file."""
        with suppress(OSError, ValueError, AttributeError):  # closed, captured in memory, or None
            return cls(name, getattr(sys, name))
        return None

    def restore(self) -> None:
        """Open the stream again if it was closed."""
        try:
            if not _is_open(self._fd):
                os.dup2(self._copied_fd, self._fd)
            if self._stream.closed and getattr(sys, self._name) is self._stream:
                file = os.fdopen(self._fd, "w", encoding=self._encoding, errors=self._errors, closefd=False)
                setattr(sys, self._name, file)
        finally:
            os.close(self._copied_fd)


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


@contextmanager
def skipped_if_closed() -> Iterator[None]:
    """Ignore in a block that prints that the user's code closed the stream, so that the other runs go on."""
    try:
        yield
    except ValueError:
        if not sys.stdout.closed and not sys.stderr.closed:
            raise
    except OSError as error:
        if error.errno != errno.EBADF:
            raise
