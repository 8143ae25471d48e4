"""
The settings as typed keyword arguments, for editors and type checkers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from os import PathLike
from typing import Any, TypedDict

from ..storage import Storage
from .value_types import CollectorProtocol, StorageName


class SettingOptions(TypedDict, total=False):
    """
    The keyword arguments of `fluxloop.configure`, `fluxloop.FluxLoopClient` and `fluxloop.testing.capture`.

    A test compares the fields with `fluxloop.settings.schema.options_source`.
    """

    storage: StorageName | Storage | Sequence[StorageName | Storage]
    base_path: str | PathLike[str]
    journal: bool
    compact_histories: bool
    collector_url: str
    api_key: str | None
    collector_protocol: CollectorProtocol
    use_collector: bool
    auto_flush: bool
    flush_interval: float
    buffer_size: int
    timeout: float
    shutdown_timeout: float
    enabled: bool
    debug: bool
    sample_rate: float
    session_id: str | None
    project_name: str | None
    environment: str | None
    service_name: str | None
    capture_input: bool
    capture_output: bool
    capture_vectors: bool
    replayable: bool
    redact: bool
    redact_keys: str | Sequence[str] | Set[str]
    redact_patterns: str | Sequence[str] | Set[str]
    redact_hook: Callable[..., Any] | None
    record_args: bool
    recording_file: str | PathLike[str] | None
    max_leaf_bytes: int
    max_value_bytes: int
    max_depth: int
    max_stream_items: int
    max_stream_bytes: int
