"""
Keep a test from connecting to other machines.

Connections of Python sockets are refused with `NetworkBlocked`, except those to this machine. The test also fails if
the program caught the exception. Libraries that do not use Python's sockets (gRPC, uvloop) are not covered.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest

_ATTEMPTS = pytest.StashKey[list[str]]()


class NetworkBlocked(ConnectionError):
    """A test that must not use the network tried to connect to another machine."""


allowed = nullcontext


@contextmanager
def blocked(item: pytest.Item) -> Iterator[None]:
    """Refuse connections to other machines inside the block, and remember them for `check`."""
    attempts = item.stash[_ATTEMPTS] = []
    real_connect, real_connect_ex, real_lookup = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def refuse(address: object) -> None:
        attempts.append(str(address))
        raise NetworkBlocked(f"this test must not use the network, and tried to connect to {address}")

    def guarded(real: Callable[..., Any]) -> Callable[..., Any]:
        def connect(self: socket.socket, address: Any) -> Any:
            if self.family in (socket.AF_INET, socket.AF_INET6) and not is_local(address[0]):
                refuse(f"{address[0]}:{address[1]}")
            return real(self, address)

        return connect

    def lookup(host: Any, port: Any, *args: Any, **options: Any) -> Any:
        if not is_local(host):
            refuse(f"{host}:{port}")
        return real_lookup(host, port, *args, **options)

    socket.socket.connect = guarded(real_connect)  # type: ignore[method-assign]
    socket.socket.connect_ex = guarded(real_connect_ex)  # type: ignore[method-assign]
    socket.getaddrinfo = lookup
    try:
        yield
    finally:
        socket.socket.connect = real_connect  # type: ignore[method-assign]
        socket.socket.connect_ex = real_connect_ex  # type: ignore[method-assign]
        socket.getaddrinfo = real_lookup


def is_local(host: object) -> bool:
    """Return whether *host* is this machine; None is the address to listen on."""
    name = host.decode("ascii", "replace") if isinstance(host, bytes) else host
    if name in (None, "", "localhost"):
        return True
    try:
        address = ipaddress.ip_address(str(name).partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def check(item: pytest.Item) -> None:
    """Fail the test if it tried to connect, although the program caught the exception."""
    if attempts := item.stash.get(_ATTEMPTS, None):
        pytest.fail(f"the test must not use the network, and tried to connect to {', '.join(attempts)}", pytrace=False)
