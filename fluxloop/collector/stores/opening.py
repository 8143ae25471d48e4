"""
Open a store by its URL.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from ...errors import ConfigError
from .contract import Store

DEFAULT = "sqlite:///collector.sqlite"

FORMS = "sqlite:///FILE, a file name, postgresql://USER@HOST/DATABASE, or clickhouse://USER@HOST/DATABASE"


def open_store(url: str) -> Store:
    """
    Open the store at *url*, made if it is missing.

    Raises:
        ConfigError: If the URL is not one of `FORMS`; the message does not contain its password.
        StoreError: If the store cannot be opened.
    """
    scheme, separator, _ = url.partition("://")
    if not separator:
        return _sqlite(f"sqlite:///{url}")
    opener = _OPENERS.get(scheme.lower())
    if opener is None:
        raise ConfigError(f"a store must be {FORMS}, got {scheme}://...")
    return opener(url)


def open_existing(url: str) -> Store:
    """
    Open the store at *url* to read it; a file that is missing is an error, and is not made.

    Raises:
        ConfigError: If the URL is not one of `FORMS`, or the file does not exist.
        StoreError: If the store cannot be opened.
    """
    scheme, separator, _ = url.partition("://")
    if not separator or scheme.lower() == "sqlite":
        path = _sqlite_path(url if separator else f"sqlite:///{url}")
        if not path.is_file():
            raise ConfigError(f"store not found: {path}. Name the file of `fluxloop serve --store` with --store")
    return open_store(url)


def _sqlite(url: str) -> Store:
    from .sqlite import SqliteStore

    return SqliteStore(_sqlite_path(url))


def _sqlite_path(url: str) -> Path:
    path = url.partition("://")[2].removeprefix("/")
    if not path or urlsplit(url).netloc:
        raise ConfigError("an SQLite store is sqlite:///FILE (relative) or sqlite:////FILE (absolute)")
    return Path(path)


def _postgres(url: str) -> Store:
    from .postgres import PostgresStore

    return PostgresStore(url)


def _clickhouse(url: str) -> Store:
    from .clickhouse import ClickHouseStore

    return ClickHouseStore(url)


_OPENERS: dict[str, Callable[[str], Store]] = {
    "sqlite": _sqlite,
    "postgresql": _postgres,
    "postgres": _postgres,
    "clickhouse": _clickhouse,
}
