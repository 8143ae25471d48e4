"""
The tables of the ClickHouse store, their versions, and the same tables spread over a cluster.

Records are rows that replace older versions of themselves when ClickHouse merges parts; until then, queries ask for the
newest version. Nothing is read, changed and written back, so collectors need no lock and no knowledge of each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .contract import StoreError

OLDEST_SERVER = (24, 8)
"""The first version of ClickHouse with projections in tables that replace rows."""

SETTINGS = (
    "index_granularity = {granularity}, fsync_after_insert = 1, fsync_part_directory = 1, ttl_only_drop_parts = 1"
)
"""An insert is answered when it is on the disk, and what is too old is removed a part at a time, without reading it."""

PROJECTED = "deduplicate_merge_projection_mode = 'rebuild', lightweight_mutation_projection_mode = 'rebuild'"


@dataclass(frozen=True, slots=True)
class Table:
    """One table of records: its columns and indexes, and in which order and parts its rows are."""

    name: str
    columns: str
    order: str
    engine: str
    """The parameters of ReplacingMergeTree: the column of the version, and that of rows that only remove others."""
    granularity: int = 8192
    is_projected: bool = False

    @property
    def settings(self) -> str:
        """Return the settings of the table."""
        settings = SETTINGS.format(granularity=self.granularity)
        return f"{settings}, {PROJECTED}" if self.is_projected else settings


_COMMON = (
    "day Date, received DateTime CODEC(Delta, ZSTD), hash UInt64, version UInt64 CODEC(Delta, ZSTD), deleted UInt8"
)
"""The day of the partition, the time of receipt, the hash of the line, when it came, and whether it is removed."""

_LINE = "line String CODEC(ZSTD(3))"
_WORDS = "INDEX words lower(line) TYPE ngrambf_v1(3, 65536, 3, 0) GRANULARITY 1"
"""Which groups of three letters a block of lines has, so that a search reads few of the blocks."""

TABLES = (
    Table(
        "observations",
        f"""trace_id String CODEC(ZSTD), id String CODEC(ZSTD), {_COMMON},
        parent_id Nullable(String) CODEC(ZSTD), type LowCardinality(String), name LowCardinality(String),
        status LowCardinality(Nullable(String)), level LowCardinality(String), start_us Int64 CODEC(Delta, ZSTD),
        duration_ms Nullable(Float64) CODEC(ZSTD), bucket Int32 CODEC(ZSTD), model LowCardinality(Nullable(String)),
        input_tokens Int64 CODEC(ZSTD), output_tokens Int64 CODEC(ZSTD), tokens Int64 CODEC(ZSTD),
        cost Nullable(Float64) CODEC(ZSTD), session_id Nullable(String) CODEC(ZSTD),
        user_id Nullable(String) CODEC(ZSTD), input Nullable(String) CODEC(ZSTD), output Nullable(String) CODEC(ZSTD),
        error Nullable(String) CODEC(ZSTD), {_LINE},
        INDEX traces trace_id TYPE bloom_filter(0.01) GRANULARITY 1, {_WORDS}""",
        order="(trace_id, id)",
        engine="version, deleted",
    ),
    Table(
        "trace_lines",
        f"""trace_id String CODEC(ZSTD), {_COMMON}, name String, session_id Nullable(String), user_id Nullable(String),
        status LowCardinality(String), start_us Int64 CODEC(Delta, ZSTD), duration_ms Nullable(Float64),
        error Nullable(String), input Nullable(String), output Nullable(String), tags Array(String),
        metadata Array(String), counts Array(Int64), {_LINE},
        INDEX traces trace_id TYPE bloom_filter(0.01) GRANULARITY 1, {_WORDS}""",
        order="trace_id",
        engine="version, deleted",
    ),
    Table(
        "scores",
        f"trace_id String CODEC(ZSTD), id String CODEC(ZSTD), {_COMMON}, name String, time_us Int64, {_LINE}",
        order="(trace_id, id)",
        engine="version, deleted",
    ),
    # One row per trace, computed from the tables above. It is in the order of lists; the projection finds it by its id.
    Table(
        "traces",
        """trace_id String CODEC(ZSTD), number Int64, day Date, received DateTime CODEC(Delta, ZSTD),
        version UInt128 CODEC(ZSTD), name LowCardinality(String), session_id Nullable(String) CODEC(ZSTD),
        user_id Nullable(String) CODEC(ZSTD), status LowCardinality(Nullable(String)),
        start_us Int64 CODEC(Delta, ZSTD), duration_ms Nullable(Float64) CODEC(ZSTD), observations Int64 CODEC(ZSTD),
        errors Int64 CODEC(ZSTD), warnings Int64 CODEC(ZSTD), input_tokens Nullable(Int64) CODEC(ZSTD),
        output_tokens Nullable(Int64) CODEC(ZSTD), tokens Nullable(Int64) CODEC(ZSTD),
        cost Nullable(Float64) CODEC(ZSTD), input Nullable(String) CODEC(ZSTD), output Nullable(String) CODEC(ZSTD),
        error Nullable(String) CODEC(ZSTD), tags String CODEC(ZSTD), models String CODEC(ZSTD),
        failed_tools String CODEC(ZSTD), facets Array(String) CODEC(ZSTD),
        INDEX found_by facets TYPE bloom_filter(0.01) GRANULARITY 1,
        PROJECTION by_id (SELECT trace_id, day, start_us, number, version ORDER BY trace_id)""",
        order="(start_us, number, trace_id)",
        engine="version",
        granularity=2048,
        is_projected=True,
    ),
)

SCHEMA = "fluxloop_schema"
"""The table with the versions that the tables have had."""


class Layout:
    """
    The statements for the tables of one server, or of the cluster *cluster*, in *database*.

    In a cluster, each table is a Distributed one over tables with the suffix ``_local``, which are replicated within
    a shard. All records of a trace are in one shard.
    """

    def __init__(self, cluster: str | None = None, database: str = "default") -> None:
        self._database = database.replace("\\", "\\\\").replace("`", "\\`")
        self.cluster = cluster

    @property
    def on(self) -> str:
        """Return the clause by which a statement is run on all servers."""
        return "" if self.cluster is None else f" ON CLUSTER `{self.cluster}`"

    def local(self, table: str) -> str:
        """Return the name of the table that has the rows."""
        return table if self.cluster is None else f"{table}_local"

    def schema_table(self) -> str:
        """Return the statement that makes the table of versions, which all servers share."""
        engine = "MergeTree"
        if self.cluster is not None:
            path = f"/clickhouse/tables/{{database}}/{SCHEMA}"
            engine = f"ReplicatedMergeTree('{path}', '{{shard}}-{{replica}}')"
        return (
            f"CREATE TABLE IF NOT EXISTS {SCHEMA}{self.on} (version UInt32, since DateTime) "
            f"ENGINE = {engine} ORDER BY version"
        )

    def first_version(self) -> Iterator[str]:
        """Yield the statements that make the tables of version 1."""
        for table in TABLES:
            engine = f"ReplacingMergeTree({table.engine})"
            if self.cluster is not None:
                path = f"/clickhouse/tables/{{database}}/{{shard}}/{table.name}"
                engine = f"ReplicatedReplacingMergeTree('{path}', '{{replica}}', {table.engine})"
            yield (
                f"CREATE TABLE IF NOT EXISTS {self.local(table.name)}{self.on} ({table.columns}) ENGINE = {engine} "
                f"PARTITION BY day ORDER BY {table.order} SETTINGS {table.settings}"
            )
            if self.cluster is not None:
                yield (
                    f"CREATE TABLE IF NOT EXISTS {table.name}{self.on} AS {self.local(table.name)} "
                    f"ENGINE = Distributed(`{self.cluster}`, `{self._database}`, {self.local(table.name)}, "
                    "cityHash64(trace_id))"
                )

    def keep_days(self, days: int | None) -> Iterator[str]:
        """Yield the statements by which the server removes what is older than *days*; None keeps everything."""
        for table in TABLES:
            if days is None:
                yield f"ALTER TABLE {self.local(table.name)}{self.on} REMOVE TTL"
            else:
                yield (
                    f"ALTER TABLE {self.local(table.name)}{self.on} MODIFY TTL {AGED} + toIntervalDay({days}) "
                    "SETTINGS materialize_ttl_after_modify = 0"
                )


AGED = "if(day = toDate('1970-01-01'), toDate(received), day)"
"""The day by which a row is old; those of an unknown time, which have a partition of their own, by their receipt."""

MIGRATIONS: tuple[Callable[[Layout], Iterator[str]], ...] = (Layout.first_version,)
"""
The statements that lead from each version of the tables to the next; a released entry is never changed.

Each statement does nothing if it was run before, since two collectors may start at the same time.
"""

VERSION = len(MIGRATIONS)


def migrate(run: Callable[[str], object], found: Callable[[str], int], layout: Layout) -> None:
    """
    Make the tables, or bring them to this version.

    Args:
        run: Runs a statement.
        found: Returns the number that a query finds.
        layout: The tables.

    Raises:
        StoreError: If they were made by a newer version.
    """
    run(layout.schema_table())
    version = found(f"SELECT max(version) FROM {SCHEMA}")
    if version > VERSION:
        raise StoreError(
            f"the database was written by a newer FluxLoop (schema {version}, this version knows {VERSION}). "
            "Next step: pip install --upgrade fluxloop"
        )
    for number, statements in enumerate(MIGRATIONS[version:], version + 1):
        for statement in statements(layout):
            run(statement)
        run(f"INSERT INTO {SCHEMA} VALUES ({number}, now())")
