"""
The connections of the ClickHouse store to its server.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ...errors import ConfigError
from .clickhouse_queries import Values
from .clickhouse_url import Address
from .contract import StoreError

QUERY_S = 30
"""After which a query is stopped."""

MAX_CONNECTIONS = 32
"""Of one collector to the server that are kept open."""

_INSERT = {"async_insert": 1, "wait_for_async_insert": 1, "max_partitions_per_insert_block": 0}
_CLUSTER = {
    "distributed_foreground_insert": 1,
    "distributed_product_mode": "local",  # a trace is in one shard, so that a query about it asks no other
    "insert_quorum": "auto",
    "load_balancing": "in_order",  # what was inserted is read from the same replica, as long as it answers
    "prefer_localhost_replica": 0,
}

_TOO_SLOW, _UNKNOWN_DATABASE, _NO_LOGIN = 159, 81, 516


class Connection:
    """
    Any number of threads ask the server at *address* at the same time; it is reached when it is first asked.

    Raises:
        ConfigError: If the client library is missing.
    """

    def __init__(self, address: Address) -> None:
        try:
            import clickhouse_connect
            from clickhouse_connect.driver import httputil
        except ModuleNotFoundError:
            raise ConfigError(
                "a ClickHouse store needs clickhouse-connect: pip install 'fluxloop[clickhouse]'"
            ) from None
        self._address = address
        self._is_closed = False
        self._lock = threading.Lock()
        self._client: Any = None
        self._get_client = clickhouse_connect.get_client
        self._pool = httputil.get_pool_manager(maxsize=MAX_CONNECTIONS, num_pools=4)

    def ensure_open(self) -> None:
        """Raise `StoreError` if the store is closed."""
        if self._is_closed:
            raise StoreError("the store is closed")

    def server_version(self) -> str:
        """Return the version of the server."""
        with self._connected() as client:
            return str(client.server_version)

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        """Yield the client; its errors become those of a store."""
        self.ensure_open()
        from clickhouse_connect.driver.exceptions import Error
        from urllib3.exceptions import HTTPError

        try:
            yield self._opened()
        except (Error, HTTPError, OSError) as error:
            if isinstance(error, StoreError):
                raise
            raise _problem(error) from error

    def _opened(self) -> Any:
        with self._lock:
            if self._client is None:
                address = self._address
                self._client = self._get_client(
                    host=address.host,
                    port=address.port,
                    username=address.user,
                    password=address.password,
                    database=address.database,
                    secure=address.is_secure,
                    connect_timeout=10,
                    send_receive_timeout=QUERY_S + 30,
                    autogenerate_session_id=False,  # a session would run one query at a time
                    form_encode_query_params=True,
                    query_limit=0,
                    pool_mgr=self._pool,
                    client_name="fluxloop",
                    settings=_CLUSTER if address.cluster else {},
                )
            return self._client

    def all(self, sql: str, values: Values) -> list[tuple[Any, ...]]:
        """Return the rows that a query finds."""
        with self._connected() as client:
            answer = client.query(sql, parameters=values.by_name, settings={"max_execution_time": QUERY_S})
            return [tuple(row) for row in answer.result_rows]

    def run(self, sql: str, values: Values | None = None, settings: dict[str, Any] | None = None) -> None:
        """Run a statement."""
        with self._connected() as client:
            client.command(sql, parameters=None if values is None else values.by_name, settings=settings)

    def insert(self, table: str, columns: dict[str, str], rows: Sequence[Sequence[Any]]) -> None:
        """Insert rows, given the types of their columns by name; they are durable when this returns."""
        with self._connected() as client:
            client.insert(
                table,
                rows,
                column_names=[*columns],
                column_type_names=[*columns.values()],
                database=self._address.database,
                settings=_INSERT,
            )

    def close(self) -> None:
        """Close the connections."""
        self._is_closed = True
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None
        self._pool.clear()


def _problem(error: BaseException) -> StoreError:
    """Return the error of a store for one of the client; its message never has the password."""
    code = getattr(error, "code", None)
    text = str(error).strip()
    if code is None and (position := text.find("Code: ")) >= 0:
        digits = text[position + 6 : position + 12].partition(".")[0]
        code = int(digits) if digits.isdigit() else None
    if code == _TOO_SLOW:
        return StoreError("the query took too long; add a condition such as since")
    if code == _UNKNOWN_DATABASE:
        return StoreError("the database of the ClickHouse store does not exist. Next step: CREATE DATABASE")
    if code == _NO_LOGIN:
        return StoreError("the ClickHouse server refuses the user or the password of the store")
    reason = text.partition("\n")[0][:300] or type(error).__name__
    return StoreError(f"the ClickHouse store does not answer now: {reason}")
