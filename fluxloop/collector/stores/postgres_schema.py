"""
The tables of the PostgreSQL store, its versions, and its partitions: one per day of observations.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from functools import lru_cache
from time import time
from typing import Any

from .contract import StoreError
from .rows import COLUMNS

LOCK = 0x464C5843
"""The advisory lock under which tables are made."""

_TYPES = dict.fromkeys(
    ("start_us", "observations", "errors", "warnings", "input_tokens", "output_tokens", "tokens"), "bigint"
) | {"duration_ms": "double precision", "cost": "double precision", "facets": "text[]"}

_COLUMNS = ", ".join(f"{name} {_TYPES.get(name, 'text')}" for name in COLUMNS if name != "trace_id")

MIGRATIONS = (
    f"""
    CREATE TABLE traces (number bigserial PRIMARY KEY, trace_id text COLLATE "C" NOT NULL UNIQUE, {_COLUMNS},
        line text);
    CREATE INDEX traces_by_start ON traces (start_us, number);
    CREATE INDEX traces_by_session ON traces (session_id, start_us) WHERE session_id IS NOT NULL;
    CREATE INDEX traces_by_duration ON traces (duration_ms);
    CREATE INDEX traces_by_tokens ON traces (tokens) WHERE tokens IS NOT NULL;
    CREATE INDEX traces_by_cost ON traces (cost) WHERE cost IS NOT NULL;
    CREATE INDEX traces_by_facets ON traces USING gin (facets) WITH (fastupdate = on);
    CREATE SEQUENCE observation_numbers CACHE 100;
    CREATE TABLE observations (number bigint NOT NULL DEFAULT nextval('observation_numbers'), day date NOT NULL,
        trace bigint NOT NULL, id text COLLATE "C" NOT NULL, parent_id text, type text, name text, status text,
        level text, start_us bigint, duration_ms double precision, model text, input_tokens bigint,
        output_tokens bigint, tokens bigint, cost double precision, line text NOT NULL) PARTITION BY LIST (day);
    CREATE INDEX observations_by_id ON observations (trace, id);
    CREATE INDEX observations_in_order ON observations (trace, start_us, number);
    CREATE TABLE scores (trace_id text COLLATE "C", id text COLLATE "C", name text, time_us bigint, line text,
        PRIMARY KEY (trace_id, id));
    CREATE TABLE totals (hour_us bigint, type text COLLATE "C", name text COLLATE "C", model text COLLATE "C",
        bucket int, count bigint, errors bigint, input_tokens bigint, output_tokens bigint, tokens bigint,
        cost double precision, PRIMARY KEY (hour_us, type, name, model, bucket)) WITH (fillfactor = 70);
    """,
    """
    CREATE TABLE words (trace bigint PRIMARY KEY, sequences smallint[] NOT NULL);
    CREATE INDEX words_by_sequence ON words USING gin (sequences);
    CREATE TABLE new_words (trace bigint NOT NULL);
    INSERT INTO new_words SELECT number FROM traces ORDER BY number DESC;
    """,
    "CREATE TABLE new_totals (LIKE totals)",
)
"""The statements that lead from each version of the tables to the next; a released entry is never changed."""

VERSION = len(MIGRATIONS)

DAY_US = 86_400_000_000

OTHER_DAY = date(1970, 1, 1)
"""The partition of observations that began long ago, in the future, or at an unknown time."""

DAYS = 400
"""Days that have a partition of their own; it bounds how many a client can make."""


def migrate(connection: Any) -> None:
    """
    Make the tables, or bring them to this version.

    Raises:
        StoreError: If they were made by a newer version.
    """
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        connection.execute("CREATE TABLE IF NOT EXISTS fluxloop_schema (version int NOT NULL)")
        found = connection.execute("SELECT version FROM fluxloop_schema").fetchone()
        version = found[0] if found else 0
        if version > VERSION:
            raise StoreError(
                f"the database was written by a newer FluxLoop (schema {version}, this version knows {VERSION}). "
                "Next step: pip install --upgrade fluxloop"
            )
        for statements in MIGRATIONS[version:]:
            connection.execute(statements)
        connection.execute("DELETE FROM fluxloop_schema")
        connection.execute("INSERT INTO fluxloop_schema VALUES (%s)", (VERSION,))


def day_of(start_us: int) -> date:
    """Return the day of the partition for an observation."""
    return _day(start_us // DAY_US, int(time()) // 86_400)


def days_of(days: Iterable[int]) -> dict[int, str]:
    """Return the day of the partition, as text, for each day since 1970 on which observations began."""
    today = int(time()) // 86_400
    return {day: str(_day(day, today)) for day in days}


@lru_cache(maxsize=4_096)
def _day(day: int, today: int) -> date:
    """Return a day, given as days since 1970; `OTHER_DAY` where it is far from *today*."""
    return OTHER_DAY + timedelta(days=day) if today - DAYS <= day <= today + 1 else OTHER_DAY


def make_partition(connection: Any, day: str) -> None:
    """Make the partition of *day*, unless there is one."""
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        connection.execute(
            f"CREATE TABLE IF NOT EXISTS {partition_of(day)} PARTITION OF observations FOR VALUES IN ('{day}')"
        )


def partition_of(day: str) -> str:
    """Return the name of the partition of a day."""
    return f"observations_{day.replace('-', '')}"
