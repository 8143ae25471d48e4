"""
Keep a test from connecting to other machines.

Python reports each use of a socket to its audit hooks: connections, datagrams and look-ups of names, also those of code
that holds the functions of the C module. The hook refuses them with `NetworkBlocked`, except those to this machine. The
test also fails if the program caught the exception. Libraries with sockets of their own, such as gRPC, uvloop, libcurl
and libpq, and other processes do not report to Python and are not covered.
"""

from __future__ import annotations

import ipaddress
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest

_ATTEMPTS = pytest.StashKey[list[str]]()
MOST_SHOWN = 5
"""Addresses that a message lists."""


class NetworkBlocked(ConnectionError):
    """A test that must not use the network tried to connect to another machine."""


allowed = nullcontext


class _Guard:
    """The audit hook of this process. Python cannot remove a hook; between blocks it does nothing."""

    def __init__(self) -> None:
        self.attempts: list[str] | None = None
        """The refused addresses of the test that runs; None if it may use the network."""
        self._is_added = False

    def add(self) -> None:
        """Add the hook, once."""
        if not self._is_added:
            sys.addaudithook(self._check)
            self._is_added = True

    def _check(self, event: str, args: tuple[Any, ...]) -> None:
        attempts = self.attempts
        if attempts is None or event not in _ADDRESSES:
            return
        address = args[_ADDRESSES[event]]
        has_socket = event in ("socket.connect", "socket.sendto", "socket.sendmsg")
        if has_socket and not (args[0].family in _INTERNET and isinstance(address, tuple)):
            return  # a path; or None, for the address of a socket that was connected before
        host, *port = address if isinstance(address, tuple) else (address, *_port(event, args))
        if not is_local(host):
            shown = ":".join(_text(part) for part in (host, *port[:1]))
            attempts.append(shown)
            raise NetworkBlocked(f"this test must not use the network, and tried to connect to {shown}")


_ADDRESSES = {
    "socket.connect": 1,
    "socket.sendto": 1,
    "socket.sendmsg": 1,
    "socket.getaddrinfo": 0,
    "socket.gethostbyname": 0,
    "socket.gethostbyaddr": 0,
    "socket.getnameinfo": 0,
}
"""The audit events of sockets, and the argument with the address or the name."""

_INTERNET = (socket.AF_INET, socket.AF_INET6)

_guard = _Guard()


def _port(event: str, args: tuple[Any, ...]) -> tuple[Any, ...]:
    return args[1:2] if event == "socket.getaddrinfo" and args[1] is not None else ()


def _text(part: object) -> str:
    return part.decode("utf-8", "replace") if isinstance(part, bytes | bytearray) else str(part)


@contextmanager
def blocked(item: pytest.Item) -> Iterator[None]:
    """Refuse connections to other machines inside the block, in all threads, and remember them for `check`."""
    _guard.add()
    before, _guard.attempts = _guard.attempts, item.stash.setdefault(_ATTEMPTS, [])
    try:
        yield
    finally:
        _guard.attempts = before


def is_local(host: object) -> bool:
    """Return whether *host* is this machine; None is the address to listen on."""
    name = "" if host is None else _text(host).lower().removesuffix(".")
    if name in ("", "localhost", socket.gethostname().lower()) or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None) or address
    return mapped.is_loopback or mapped.is_unspecified


def check(item: pytest.Item) -> None:
    """Fail the test if it tried to connect since the last check, although the program caught the exception."""
    found = item.stash.get(_ATTEMPTS, [])
    attempts = list(dict.fromkeys(found))
    found.clear()
    if attempts:
        more = f" and {len(attempts) - MOST_SHOWN} more" if len(attempts) > MOST_SHOWN else ""
        listed = ", ".join(attempts[:MOST_SHOWN])
        pytest.fail(f"the test must not use the network, and tried to connect to {listed}{more}", pytrace=False)
