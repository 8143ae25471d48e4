"""
Run a collector: its address, its log, its end.
"""

from __future__ import annotations

import errno
import gc
import logging
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address

import uvicorn

from ..errors import ConfigError
from .app import Collector, Options
from .connections import limited_protocol
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
        http=limited_protocol(limits),
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
        with _signals_end_quietly(), _rare_collections():
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


@contextmanager
def _rare_collections() -> Iterator[None]:
    """
    Let the garbage collector run less often, and pass over what is in memory now.

    A batch has thousands of objects and no cycles; to look at all of them again and again takes 5 % of the time.
    """
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


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
