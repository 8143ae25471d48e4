"""
Connections to PostgreSQL, which are used again, and replaced when they fail.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, LifoQueue
from threading import Semaphore
from typing import Any

from ...errors import ConfigError
from .contract import StoreError

MAX_CONNECTIONS = 16
"""Of one collector to the database."""

MAX_WRITERS = 12
"""Of them for writing, so that a lock for which all writers wait leaves some for questions."""

QUERY_S = 30
"""After which a query is cancelled, and after which a connection is waited for no longer."""


class Connections:
    """
    Up to `MAX_CONNECTIONS` connections to the database at *url*.

    Raises:
        ConfigError: If the client library is missing, or the URL is not one.
    """

    def __init__(self, url: str) -> None:
        try:
            import psycopg
        except ModuleNotFoundError:
            raise ConfigError("a PostgreSQL store needs psycopg: pip install 'fluxloop[postgres]'") from None
        self._psycopg = psycopg
        self._url = url
        try:
            psycopg.conninfo.conninfo_to_dict(url)
        except psycopg.ProgrammingError:
            raise ConfigError("the URL of a PostgreSQL store must be postgresql://USER@HOST/DATABASE") from None
        self._idle: LifoQueue[Any] = LifoQueue()
        self._slots = Semaphore(MAX_CONNECTIONS)
        self._writers = Semaphore(MAX_WRITERS)
        self._is_closed = False

    @contextmanager
    def _connection(self) -> Iterator[Any]:
        """Yield a connection; it is used again, unless it fails."""
        if self._is_closed:
            raise StoreError("the store is closed")
        with self._slot(self._slots), self._connected() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[Any]:
        """Yield a connection for writing."""
        with self._slot(self._writers), self._connection() as connection:
            yield connection

    @contextmanager
    def _slot(self, slots: Semaphore) -> Iterator[None]:
        if not slots.acquire(timeout=QUERY_S):
            raise StoreError(f"the PostgreSQL store does not answer now: no connection became free within {QUERY_S} s")
        try:
            yield
        finally:
            slots.release()

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        connection = None
        try:
            try:
                connection = self._idle.get_nowait()
            except Empty:
                connection = self._psycopg.connect(
                    self._url,
                    autocommit=True,
                    connect_timeout=10,
                    application_name="fluxloop",
                    options=f"-c statement_timeout={QUERY_S}s -c synchronous_commit=on -c timezone=UTC -c jit=off",
                )
            yield connection
        except self._psycopg.Error as error:
            if connection is not None and not isinstance(error, self._psycopg.IntegrityError):
                connection.close()
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise StoreError(f"the PostgreSQL store does not answer now: {reason}") from error
        finally:
            if connection is not None and not connection.closed:
                self._idle.put(connection)
            if self._is_closed:
                self._forget_idle()

    def _forget_idle(self) -> None:
        """Close connections that are idle: those to a server that was restarted are of no use."""
        while True:
            try:
                self._idle.get_nowait().close()
            except Empty:
                return

    def close(self) -> None:
        """Close all connections; those in use are closed when they are given back."""
        self._is_closed = True
        self._forget_idle()
