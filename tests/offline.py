"""
Block the network in a process: connections to other machines, by address or by name, raise an error.

`apply` works in the running process. `environment` is for a subprocess, whose interpreter calls `apply` and
`hide_modules` before the program starts (``tests/startup/sitecustomize.py``).
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent

HIDDEN = "TESTS_HIDDEN_MODULES"
"""Names of modules, with spaces between them, that a subprocess does not find."""

_coverage: dict[str, str] = {}
"""The variable by which coverage.py measures subprocesses."""


def keep_coverage_here() -> None:
    """
    Let only those subprocesses inherit the variable of coverage.py that ask for it, see `environment`.

    Others are killed, or count the modules that they load.
    """
    if value := os.environ.pop("COVERAGE_PROCESS_CONFIG", None):
        _coverage["COVERAGE_PROCESS_CONFIG"] = value


def apply(set_attribute: Callable[[Any, str, Any], None] = setattr) -> None:
    """Replace the calls that connect; *set_attribute* sets an attribute, and can restore it later."""
    for method in ("connect", "connect_ex"):
        set_attribute(socket.socket, method, _checked(getattr(socket.socket, method), _peer))
    set_attribute(socket, "getaddrinfo", _checked(socket.getaddrinfo, lambda host=None, *rest, **more: host))


def hide_modules() -> None:
    """Make the modules in the variable `HIDDEN` as if they were not installed."""
    sys.modules.update(dict.fromkeys(os.environ.pop(HIDDEN, "").split()))  # type: ignore[arg-type]


def environment(*, is_measured: bool = False, **variables: str) -> dict[str, str]:
    """
    Return the environment for a Python subprocess without network and without FluxLoop settings.

    Args:
        is_measured: Whether the coverage of the subprocess is measured, if that of the tests is.
        variables: Further variables.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FLUXLOOP_")}
    path = os.pathsep.join(filter(None, [str(HERE / "startup"), str(HERE), os.environ.get("PYTHONPATH")]))
    measured = _coverage if is_measured else {}
    return {**kept, "PYTHONPATH": path, "PYTHONUTF8": "1", "NO_COLOR": "1", "COLUMNS": "120", **variables, **measured}


def _checked(call: Callable[..., Any], host_of: Callable[..., Any]) -> Callable[..., Any]:
    def checked(*args: Any, **kwargs: Any) -> Any:
        host = host_of(*args, **kwargs)
        if not _is_local(host):
            raise RuntimeError(f"a test tried to connect to {host!r}; tests must stay on this machine")
        return call(*args, **kwargs)

    return checked


def _peer(sock: socket.socket, address: Any) -> Any:
    return address[0] if sock.family in (socket.AF_INET, socket.AF_INET6) else None


def _is_local(host: str | bytes | None) -> bool:
    if isinstance(host, bytes):
        host = host.decode()
    if host in (None, "", "localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
