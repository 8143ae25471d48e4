"""
Start Python processes in which no file of the project can take the place of a module that FluxLoop imports.

`multiprocessing` starts a process with the folders of the project first on its search path, and then imports what it
needs: in a project with a file ``queue.py``, that file. Here a process imports FluxLoop first, from where modules are
installed, and gets the search path of the parent afterwards.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from collections.abc import Callable
from importlib import import_module
from multiprocessing import spawn
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ..exits import stack_on_crash


def start(work: Callable[[Connection, bytes], None], connection: Connection) -> subprocess.Popen[bytes]:
    """
    Start a process that calls *work*, a function of a module, with its connection and a setup.

    Args:
        work: What its module imports is imported before the project can be seen.
        connection: The end of the process, where it waits for `introduction` and the setup. The caller closes its own
            copy.
    """
    fd = connection.fileno()
    call = f"begin({work.__module__!r}, {work.__name__!r}, {fd})"
    code = f"import sys; sys.path[:] = {_installed_first()!r}; from {__name__} import begin; {call}"
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # as multiprocessing does
    command = [spawn.get_executable(), *flags, "-c", code]
    return subprocess.Popen(command, pass_fds=[fd], stdin=subprocess.DEVNULL)


def introduction() -> dict[str, Any]:
    """Return what a process needs to find what this one finds: search path, arguments, main module, folder."""
    found: dict[str, Any] = spawn.get_preparation_data("fluxloop-worker")
    return {**found, "authkey": bytes(found["authkey"])}  # the key itself refuses to be pickled


def _installed_first() -> list[str]:
    """Return the search path of this process, with the folders of installed modules before all others."""
    folders = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    own = str(Path(__file__).parents[3])
    known = [path for path in sys.path if path and any(Path(path).is_relative_to(each) for each in folders)]
    return [*known, own, *(path for path in sys.path if path and path not in known)]


def begin(module: str, name: str, fd: int) -> None:
    """Call a function in a process that was just started, with the connection at *fd*; see `start`."""
    work = getattr(import_module(module), name)
    connection = Connection(fd)
    try:
        preparation, setup = connection.recv()
    except EOFError:  # the experiment ended meanwhile
        return
    stack_on_crash()
    spawn.prepare(preparation)
    work(connection, setup)
