"""
Stores for the tests of the collector: each test of the contract runs with each of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from clickhouse_aids import new_database, running_clickhouse
from serving_aids import postgres_binaries, running_postgres

from fluxloop.collector.records import RowMaker
from fluxloop.collector.stores.contract import Store, Written
from fluxloop.collector.stores.opening import open_store

STORES = ("sqlite", "postgresql", "clickhouse")


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL server, without a database."""
    if given := os.environ.get("FLUXLOOP_TEST_POSTGRES_URL"):
        yield given.rstrip("/")
        return
    binaries = postgres_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL: set FLUXLOOP_TEST_POSTGRES_URL, or install the package postgresql")
    with running_postgres(binaries) as server:
        yield server.url


@pytest.fixture
def postgres_url(postgres: str) -> Iterator[str]:
    """The URL of a new, empty database."""
    import psycopg

    name = f"fluxloop_{uuid4().hex}"
    with psycopg.connect(f"{postgres}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield f"{postgres}/{name}"
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def clickhouse() -> Iterator[str]:
    """The URL of a ClickHouse server, without a database."""
    with running_clickhouse() as url:
        yield url


@pytest.fixture
def clickhouse_url(clickhouse: str) -> Iterator[str]:
    """The URL of a new, empty database."""
    with new_database(clickhouse) as url:
        yield url


@pytest.fixture(params=STORES)
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store of each kind."""
    if request.param != "sqlite":
        return str(request.getfixturevalue({"postgresql": "postgres_url", "clickhouse": "clickhouse_url"}[request.param]))
    return f"sqlite:///{tmp_path / 'store.sqlite'}"


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """An empty store of each kind."""
    opened = open_store(store_url)
    yield opened
    opened.close()


@pytest.fixture
def write(store: Store) -> Callable[..., Written]:
    """A function that writes lines to the store, each list as one batch, and returns what the last one changed."""

    def write_batches(*batches: list[bytes]) -> Written:
        written = Written(0, 0)
        for lines in batches:
            batch = RowMaker().batch(lines)
            assert not batch.rejected
            written = store.write(batch.rows)
        return written

    return write_batches
