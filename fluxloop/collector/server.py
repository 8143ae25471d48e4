"""
Run a collector: its sockets, its time limits on connections, its end.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..errors import ConfigError
from .app import Collector, Options
from .limits import Limits
from .stores.contract import Store

STOP_S = 20
"""How long requests may go on after the signal to stop."""


def run(store: Store, options: Options, *, host: str, port: int, log_level: str = "info") -> None:
    """
    Serve until SIGTERM or SIGINT; requests that are running are answered, then the store is closed.

    Raises:
        ConfigError: If *host* is not a loopback address and no key was given, or if the port is in use.
    """
    if not options.keys and not is_local(host):
        raise ConfigError(
            f"listening on {host} lets other machines read and write records: add --api-key, or listen on 127.0.0.1"
        )
    limits = options.limits
    config = uvicorn.Config(
        Collector(store, options).app(),
        host=host,
        port=port,
        http=_limited(limits),
        ws="none",
        loop="auto",
        lifespan="on",
        access_log=False,
        log_config=None,
        limit_concurrency=limits.connections,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=STOP_S,
        h11_max_incomplete_event_size=64 << 10,
        server_header=False,
        proxy_headers=False,
    )
    try:
        _check_address(host, port)
        _log_to_stderr(log_level)
        with _signals_end_quietly():
            uvicorn.Server(config).run()
    except SystemExit:
        raise ConfigError(
            f"cannot listen on {host} port {port}, see the line above. Choose another one with --port"
        ) from None
    finally:
        store.close()


def _check_address(host: str, port: int) -> None:
    """Raise a `ConfigError` if nothing can listen on *host* and *port*: uvicorn logs five lines before it fails."""
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind(address)
    except OSError as error:
        if not isinstance(error, socket.gaierror) and error.errno not in (errno.EADDRINUSE, errno.EACCES):
            return  # one of several addresses, such as ::1 for localhost, may not exist here
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(f"cannot listen on {host} port {port}: {reason}. Choose another --port, or --host") from None


@contextmanager
def _signals_end_quietly() -> Iterator[None]:
    """Let the block end where uvicorn, after it has stopped, sends the signal again that stopped it."""
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def is_local(host: str) -> bool:
    """Whether only this machine can connect to *host*."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _log_to_stderr(level: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    for name, of_logger in (("fluxloop.collector", level.upper()), ("uvicorn", "INFO")):
        logger = logging.getLogger(name)
        logger.setLevel(of_logger)
        logger.handlers = [handler]
        logger.propagate = False
    logging.getLogger("uvicorn.error").setLevel("INFO")


def _limited(limits: Limits) -> type[asyncio.Protocol]:
    """
    Return uvicorn's protocol with limits that uvicorn does not have.

    The headers of a request must come in time, an answer must be taken in time, and connections beyond twice the limit
    are closed at once: up to the limit requests are answered, up to twice the limit they are refused with 503.
    """

    class Limited(H11Protocol):
        _deadline: asyncio.TimerHandle | None = None
        _stalled: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if len(self.connections) > 2 * limits.connections:
                transport.abort()
            else:
                self._await_request()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._stalled = self.loop.call_later(limits.answer_s, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            self._go_on()

        def _go_on(self) -> None:
            if self._stalled is not None:
                self._stalled.cancel()
                self._stalled = None

        def data_received(self, data: bytes) -> None:
            if self._is_between():
                self._await_request()
            super().data_received(data)
            if not self._is_between():
                self._forget()

        def connection_lost(self, exc: Exception | None) -> None:
            self._forget()
            self._go_on()
            super().connection_lost(exc)

        def _is_between(self) -> bool:
            return self.cycle is None or self.cycle.response_complete

        def _await_request(self) -> None:
            if self._deadline is None:
                self._deadline = self.loop.call_later(limits.header_s, self._close_if_waiting)

        def _forget(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def _close_if_waiting(self) -> None:
            self._deadline = None
            if self._is_between() and not self.transport.is_closing():
                self.transport.close()

    return Limited
