"""
End a command on Ctrl-C, and on SIGTERM, which CI systems and containers send, in the same way: cleanly, with a message.
"""

from __future__ import annotations

import functools
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import typer

from .formatting import note

EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
"""The exit code after each signal: 128 and its number, as shells have it."""

_WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}


@contextmanager
def stoppable(advice: str) -> Iterator[None]:
    """
    Exit with a code of `EXIT_CODES` after a signal, once the block has cleaned up, and print *advice*.
    """
    received = signal.SIGINT

    def on_terminate(number: int, frame: FrameType | None) -> None:
        nonlocal received
        received = signal.SIGTERM
        on_interrupt = signal.getsignal(signal.SIGINT)  # that of asyncio cancels the main task
        if not callable(on_interrupt):
            raise KeyboardInterrupt
        on_interrupt(signal.SIGINT, frame)

    is_main = threading.current_thread() is threading.main_thread()
    takes = is_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    ignores_interrupts = takes and signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if ignores_interrupts:  # a background job of a shell. asyncio needs the handler to end its tasks after SIGTERM
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if takes:
        _end_forked_processes()
        _handlers.add(on_terminate)
        signal.signal(signal.SIGTERM, on_terminate)
    try:
        yield
    except KeyboardInterrupt:
        note(f"{_WORDS[received]}; {advice}")
        raise typer.Exit(EXIT_CODES[received]) from None
    finally:
        if takes and signal.getsignal(signal.SIGTERM) is on_terminate:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _handlers.discard(on_terminate)
        if ignores_interrupts:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])


_handlers: set[Any] = set()
"""The handlers of the blocks that are open."""


@functools.cache
def _end_forked_processes() -> None:
    """
    Let SIGTERM end the processes that the user's code forks, as without the command: `multiprocessing` relies on it.

    Python forgets a signal that arrives while it prepares the new process, so until then it stays with the system.
    """

    forking = threading.local()

    def hold() -> None:
        forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])

    def release() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, forking.mask)

    def reset() -> None:
        if signal.getsignal(signal.SIGTERM) in _handlers:  # and not one of the user's code
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        release()

    os.register_at_fork(before=hold, after_in_parent=release, after_in_child=reset)
