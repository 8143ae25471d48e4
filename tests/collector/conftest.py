"""
Stores for the tests of the collector: each test of the contract runs with each of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest
from clickhouse_aids import new_database, running_clickhouse
from serving_aids import postgres_binaries, running_postgres

from fluxloop.collector.records import RowMaker
from fluxloop.collector.stores.contract import Store, Written
from fluxloop.collector.stores.opening import open_store

STORES = ("sqlite", "postgresql", pytest.param("clickhouse", marks=pytest.mark.slow))


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


@contextmanager
def new_postgres_database(server: str) -> Iterator[str]:
    """Yield the URL of a new, empty database of *server*."""
    import psycopg

    name = f"fluxloop_{uuid4().hex}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield f"{server}/{name}"
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def postgres_url(postgres: str) -> Iterator[str]:
    """The URL of a new, empty database."""
    with new_postgres_database(postgres) as url:
        yield url


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


@contextmanager
def empty_store(kind: str, request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    """Yield the URL of an empty store."""
    if kind == "postgresql":
        with new_postgres_database(request.getfixturevalue("postgres")) as url:
            yield url
    elif kind == "clickhouse":
        with new_database(request.getfixturevalue("clickhouse")) as url:
            yield url
    else:
        yield f"sqlite:///{folder / 'store.sqlite'}"


@pytest.fixture(params=STORES)
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty store of each kind."""
    with empty_store(request.param, request, tmp_path) as url:
        yield url


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """An empty store of each kind."""
    opened = open_store(store_url)
    yield opened
    opened.close()


@pytest.fixture(scope="module", params=STORES)
def shared_store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store of each kind that the tests of a module fill once, and then only read."""
    with empty_store(request.param, request, tmp_path_factory.mktemp("shared")) as url:
        opened = open_store(url)
        yield opened
        opened.close()


@pytest.fixture
def write(store: Store) -> Callable[..., Written]:
    """A function that writes lines to the store, each list as one batch, and returns what the last one changed."""
    return partial(write_batches, store)


def write_batches(store: Store, *batches: list[bytes]) -> Written:
    written = Written(0, 0)
    for lines in batches:
        batch = RowMaker().batch(lines)
        assert not batch.rejected
        written = store.write(batch.rows)
    return written
