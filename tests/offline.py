"""
Keep a process on this machine: what would leave it raises, by address or by name.

`apply` works in the running process; `environment` is for a subprocess, whose interpreter applies it
before the program begins (``tests/startup/sitecustomize.py``).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def apply(set_attribute: Callable[[Any, str, Any], None] = setattr) -> None:
    """Replace the calls that reach out; *set_attribute* may remember how to undo it."""
    for method in ("connect", "connect_ex"):
        set_attribute(socket.socket, method, _checked(getattr(socket.socket, method), _peer))
    set_attribute(socket, "getaddrinfo", _checked(socket.getaddrinfo, lambda host=None, *rest, **more: host))


def environment(**variables: str) -> dict[str, str]:
    """Return this process's environment for a Python subprocess that is kept here too, without FluxLoop settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FLUXLOOP_")}
    path = os.pathsep.join(filter(None, [str(HERE / "startup"), str(HERE), os.environ.get("PYTHONPATH")]))
    return {**kept, "PYTHONPATH": path, "PYTHONUTF8": "1", "NO_COLOR": "1", "COLUMNS": "120", **variables}


def _checked(call: Callable[..., Any], host_of: Callable[..., Any]) -> Callable[..., Any]:
    def checked(*args: Any, **kwargs: Any) -> Any:
        host = host_of(*args, **kwargs)
        if not _is_here(host):
            raise RuntimeError(f"a test wanted to reach {host!r}; tests stay on this machine")
        return call(*args, **kwargs)

    return checked


def _peer(sock: socket.socket, address: Any) -> Any:
    return address[0] if sock.family in (socket.AF_INET, socket.AF_INET6) else None


def _is_here(host: str | bytes | None) -> bool:
    if isinstance(host, bytes):
        host = host.decode()
    if host in (None, "", "localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
