"""
Print lines, in a terminal through a pager if they are more than fit the screen.

The pager is that of ``PAGER``, else ``less``. It starts when the screen is full, and gets the lines as they are made.
"""

from __future__ import annotations

import io
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain, islice

from rich.console import Console
from rich.text import Text

LESS = "FRX"
"""Options of ``less`` where ``LESS`` is not set: print colors, and leave the last screen in the terminal."""

CHUNK = 200
"""Lines that are printed at once."""


def show(lines: Iterable[Text], output: Console, *, pages: bool = True) -> None:
    """
    Print *lines* on *output*.

    Args:
        lines: Taken one by one, so that an enormous tree is never in memory.
        output: A console on stdout.
        pages: Whether to use a pager where *output* is a terminal and the lines do not fit it.
    """
    lines = iter(lines)
    command = _pager() if pages and output.is_terminal and output.file.isatty() else None
    if command is None:
        _print(lines, output)
        return
    first = [*islice(lines, output.height)]
    if len(first) < output.height:
        _print(iter(first), output)
    elif not _paged(chain(first, lines), output, command):
        _print(chain(first, lines), output)


def _pager() -> list[str] | None:
    """Return the command of the pager; None where there is none, or it only prints."""
    chosen = os.environ.get("PAGER")
    if chosen is None:
        chosen = "less" if shutil.which("less") else ""
    try:
        command = shlex.split(chosen)
    except ValueError:  # a quote that is not closed
        return None
    return command if command and command != ["cat"] and shutil.which(command[0]) else None


def _paged(lines: Iterator[Text], output: Console, command: list[str]) -> bool:
    """Send *lines* to a pager; return False if it cannot be started, in which case none is taken."""
    environment = {"LESS": LESS, "LESSCHARSET": "utf-8", "LV": "-c", **os.environ}
    if not output.encoding.lower().startswith("utf"):
        del environment["LESSCHARSET"]
    try:
        pager = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment)
    except OSError:
        return False
    assert pager.stdin is not None
    pipe = io.TextIOWrapper(pager.stdin, encoding=output.encoding, errors="backslashreplace")
    with _pager_gets_ctrl_c():
        with suppress(BrokenPipeError), pipe:  # the reader may quit before the end
            _print(lines, output, pipe.write)
        pager.wait()
    return True


def _print(lines: Iterator[Text], output: Console, write: Callable[[str], object] | None = None) -> None:
    while chunk := [*islice(lines, CHUNK)]:
        if write is None and output.color_system is None:
            output.file.write("".join(f"{line.plain}\n" for line in chunk))
            continue
        with output.capture() as captured:
            output.print(Text("\n").join(chunk), soft_wrap=True)
        (write or output.file.write)(captured.get())


@contextmanager
def _pager_gets_ctrl_c() -> Iterator[None]:
    """Leave Ctrl-C to the pager, which stops a search with it."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
