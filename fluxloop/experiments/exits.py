"""
Targets that end their process: what `fluxloop run` makes of ``os._exit`` and of crashes in C code.
"""

from __future__ import annotations

import faulthandler
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

from ..tracing.propagation import current


class HardExit(SystemExit):
    """The target called ``os._exit``; like ``sys.exit``, it ends the run and not the experiment."""


def _is_in_run() -> bool:
    return current() is not None


GO_ON = (
    "Finished runs are kept. Next step: add --engine processes to the command, or go on with: "
    "fluxloop run experiment --resume experiments/latest_* --engine processes"
)


@contextmanager
def exits_contained(
    is_contained: Callable[[], bool] = _is_in_run, caller: str = "the target", advice: str = GO_ON
) -> Iterator[None]:
    """
    Let ``os._exit`` in a run end that run only, and elsewhere end the process with a message and exit code 2.

    The exit code of the target would be that of the command: 0 would pass a gate that no run has passed. Processes that
    were forked meanwhile exit as they asked. Crashes in C code print the Python stack of their thread.

    For commands only, which own their process.

    Args:
        is_contained: Returns whether the current call is one that may end, by default a run.
        caller: The code that may exit, for the message.
        advice: The end of the message.
    """
    before, own = os._exit, os.getpid()

    def contained(status: int) -> NoReturn:
        if os.getpid() != own:
            before(status)
        if is_contained():
            raise HardExit(status)
        with suppress(Exception):
            sys.stderr.write(
                f"fluxloop: a thread of {caller} called os._exit({status}), which ends this process. {advice}\n"
            )
            sys.stderr.flush()
        before(2)

    enabled = stack_on_crash()
    os._exit = contained
    try:
        yield
    finally:
        os._exit = before
        if enabled:
            faulthandler.disable()


def stack_on_crash() -> bool:
    """Print the Python stack when C code crashes; return False if that is so already or cannot be."""
    if faulthandler.is_enabled():
        return False
    stderr: Any = sys.__stderr__
    try:
        faulthandler.enable(stderr, all_threads=False)
    except (OSError, ValueError, AttributeError, RuntimeError):  # closed
        return False
    return True
