"""
Open the storage that the setting ``storage`` selects.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .contract import Storage, StorageSettings
from .fanout import FanOut
from .file import FileStorage
from .memory import MemoryStorage


def open_storage(spec: str | Storage | tuple[str | Storage, ...], settings: StorageSettings) -> Storage:
    """
    Return the storage for *spec*.

    Args:
        spec: The checked value of the setting ``storage``: a name, a storage object, or a tuple of these for several
            storages.
        settings: The settings for a storage that is opened by name.
    """
    if isinstance(spec, tuple):
        return FanOut(open_storage(each, settings) for each in spec)
    return BY_NAME[spec](settings) if isinstance(spec, str) else spec


def _open_http(settings: StorageSettings) -> Storage:
    from .address import folder_name
    from .http import HTTPStorage  # not loaded by programs that write to files only
    from .spool import SPOOL

    return HTTPStorage(
        settings.collector_url,
        api_key=settings.api_key,
        spool=settings.base_path / SPOOL / folder_name(settings.collector_url),
        protocol=settings.collector_protocol,
        use_collector=settings.use_collector,
        auto_flush=settings.auto_flush,
        flush_interval=settings.flush_interval,
        buffer_size=settings.buffer_size,
        timeout=settings.timeout,
        shutdown_timeout=settings.shutdown_timeout,
        service_name=settings.service_name,
        environment=settings.environment,
        journal=settings.journal,
    )


BY_NAME: Mapping[str, Callable[[StorageSettings], Storage]] = {
    "file": lambda settings: FileStorage(
        settings.base_path, journal=settings.journal, compact_histories=settings.compact_histories
    ),
    "memory": lambda _: MemoryStorage(),
    "http": _open_http,
}
"""Constructors of the storages that can be opened by name; the setting accepts the same names."""
