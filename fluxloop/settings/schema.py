"""
The definitions of all settings.

Each field of `Settings` defines one setting. The loader, the error messages, ``fluxloop doctor`` and the table in the
docs use these definitions.
"""

# ruff: noqa: RUF009 - _row() creates a dataclass field, so it has to be called in the class body
from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ..errors import ConfigError
from . import value_types
from .value_types import (
    FILE,
    FLAG,
    HOOK,
    KEY,
    PATH,
    PATTERNS,
    PROTOCOL,
    STORAGE,
    TEXT,
    URL,
    WORDS,
    CollectorProtocol,
    RejectedError,
    ValueType,
    between,
    did_you_mean,
    integer,
)

if TYPE_CHECKING:
    from ..storage import Storage

T = TypeVar("T")

PREFIX = "FLUXLOOP_"
"""The prefix of the environment variables of settings."""

MAX_DEPTH = 200
"""The upper limit of ``max_depth``: orjson cannot encode more than 254 levels."""

_SECRET_ENDINGS = ("_key", "_token", "_secret", "_password")
"""Endings of names of settings whose values are not shown in messages and reports."""


def _row(
    default: T,
    value_type: ValueType,
    meaning: str,
    *,
    unit: str = "",
    only_in_code: bool = False,
    former_env: str | None = None,
) -> T:
    """Define a setting. The return type is T because the field of a `Settings` object has that type."""
    row = {
        "value_type": value_type,
        "meaning": meaning,
        "unit": unit,
        "only_in_code": only_in_code,
        "former_env": former_env,
    }
    return dataclasses.field(default=default, metadata=row, repr=value_type is not KEY)


@dataclass(frozen=True, slots=True)
class Settings:
    """The current settings, created by `fluxloop.settings.layers` from checked values."""

    storage: str | Storage | tuple[str | Storage, ...] = _row(
        "file", STORAGE, "where records are written; each storage in a list receives every record"
    )
    base_path: Path = _row(
        Path("traces"),
        PATH,
        "the folder for files, created when it is first needed",
        former_env="FLUXLOOP_OFFLINE_DIR",
    )
    journal: bool = _row(
        True, FLAG, "list open observations in a hidden file, so that those of a killed process can be read"
    )
    compact_histories: bool = _row(
        True, FLAG, "record messages that a file has already as a reference to the earlier record in that file"
    )
    collector_url: str = _row("http://localhost:8000", URL, "the collector that the storage `http` sends records to")
    api_key: str | None = _row(None, KEY, "the key for the collector; never shown")
    collector_protocol: CollectorProtocol = _row(
        "fluxloop", PROTOCOL, "batches, or one request per record for collectors of FluxLoop 0.1 (`upstream`)"
    )
    use_collector: bool = _row(True, FLAG, "whether the storage `http` sends; if not, records stay in its spool")
    auto_flush: bool = _row(True, FLAG, "send while the program runs; if not, on `flush()` and at exit")
    flush_interval: float = _row(1.0, between(0, 3600), "the longest wait before a record is sent", unit="seconds")
    buffer_size: int = _row(
        100,
        integer(1),
        "the number of records that are sent without waiting for `flush_interval`",
        unit="records",
        former_env="FLUXLOOP_BATCH_SIZE",
    )
    timeout: float = _row(
        10.0, between(0.1, 3600), "the longest wait for the collector to connect or answer", unit="seconds"
    )
    shutdown_timeout: float = _row(
        2.0, between(0, 3600), "the longest delay of the program's exit if there is something to send", unit="seconds"
    )
    enabled: bool = _row(True, FLAG, "whether anything is recorded")
    debug: bool = _row(False, FLAG, "log one line per captured or ignored observation, with the reason")
    sample_rate: float = _row(
        1.0, between(0, 1), "the share of traces that is recorded; one decision per named session, or per trace"
    )
    session_id: str | None = _row(None, TEXT, "the session of traces without a session id; by default one per process")
    project_name: str | None = _row(None, TEXT, "written to the metadata of every trace")
    environment: str | None = _row(None, TEXT, "written to the metadata of every trace, as in `production`")
    service_name: str | None = _row(None, TEXT, "written to the metadata of every trace")
    capture_input: bool = _row(True, FLAG, "whether the arguments of functions are recorded")
    capture_output: bool = _row(True, FLAG, "whether returned and yielded values are recorded")
    capture_vectors: bool = _row(
        False, FLAG, "whether embedding vectors are recorded in full, not as length, norm and first values"
    )
    replayable: bool = _row(
        False,
        FLAG,
        "keep answers whole, with their types, so that the trace can be replayed exactly; raises the limits",
    )
    redact: bool = _row(True, FLAG, "mask secrets before any storage receives them")
    redact_keys: tuple[str, ...] = _row((), WORDS, "additional key names whose values are masked")
    redact_patterns: tuple[str, ...] = _row((), PATTERNS, "regular expressions for additional texts to mask")
    redact_hook: Callable[..., Any] | None = _row(None, HOOK, "a function that masks values", only_in_code=True)
    record_args: bool = _row(False, FLAG, "append the arguments of each call of an agent to `recording_file`")
    recording_file: Path | None = _row(
        None, FILE, "the file for recorded arguments; by default `recordings/args_recording.jsonl`"
    )
    max_leaf_bytes: int = _row(65_536, integer(64), "the longest text within a value; the rest is cut", unit="bytes")
    max_value_bytes: int = _row(1_048_576, integer(64), "the largest input or output; the rest is cut", unit="bytes")
    max_depth: int = _row(
        100, integer(1, MAX_DEPTH), "the deepest nesting of a value; deeper parts are cut", unit="levels"
    )
    max_stream_items: int = _row(1_000, integer(0), "the most items recorded of one stream", unit="items")
    max_stream_bytes: int = _row(
        262_144, integer(0), "the largest total size of the recorded items of one stream", unit="bytes"
    )


class RawValue(NamedTuple):
    """The unchecked value of a setting in one layer, and the name of its source."""

    raw: Any
    source: str


@dataclass(frozen=True, slots=True)
class Row:
    """The definition of a setting."""

    name: str
    default: Any
    value_type: ValueType
    meaning: str
    unit: str
    only_in_code: bool
    former_env: str | None = None
    """The environment variable for it in FluxLoop 0.1, if that had another name."""

    @property
    def env(self) -> str | None:
        """The name of its environment variable; None if its value cannot be written as text."""
        return None if self.only_in_code else PREFIX + self.name.upper()

    def read(self, given: RawValue) -> Any:
        """
        Check *given* and return the value of the setting.

        Raises:
            ConfigError: If it is invalid; the message contains the setting, the value, its source and the valid values.
        """
        try:
            return self.value_type.read(given.raw)
        except RejectedError as rejected:
            why = f": {rejected}" if rejected.args and not self.secret else ""
            got = self.shown(given.raw) if self.secret else value_types.shown(given.raw)
            must = self.value_type.accepted
            raise ConfigError(f"{self.name} must {must}, got {got} (from {given.source}){why}") from None

    @property
    def secret(self) -> bool:
        """Whether messages and reports must not show the value."""
        return self.name.endswith(_SECRET_ENDINGS)

    def shown(self, value: Any) -> str:
        """Return *value* as text for reports."""
        if value is None:
            return "none"
        if self.secret:
            return "***"
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, tuple):
            return ", ".join(self.shown(item) for item in value) or "none"
        if isinstance(value, (str, int, float, Path)):
            return f"{value} {self.unit}".rstrip()
        return str(getattr(value, "__name__", type(value).__name__))


TABLE: Mapping[str, Row] = {
    field.name: Row(field.name, field.default, **field.metadata) for field in dataclasses.fields(Settings)
}
"""Every setting by name, in the order of the docs."""


def find_row(name: str, source: str) -> Row:
    """
    Return the definition of the setting *name*.

    Raises:
        ConfigError: If there is no such setting; the message contains *source*, the closest name and all names.
    """
    found = TABLE.get(name)
    if found is None:
        raise ConfigError(f"{unknown(name, source)} (accepted: {', '.join(TABLE)})")
    return found


_SPOOLED = "remove it, because records that wait for a collector are always in files, in base_path"

REPLACED: Mapping[str, str] = {
    "batch_size": "use buffer_size",
    "max_queue_size": "remove it, because HTTP storage keeps waiting records in files, without a limit on their number",
    "offline_enabled": _SPOOLED,
    "offline_store_enabled": _SPOOLED,
    "offline_store_dir": "use base_path",
}
"""What to do about each setting of FluxLoop 0.1 that does not exist any more."""


def unknown(name: str, source: str) -> str:
    """Return the message for *name*, an unknown setting found in *source*."""
    if name in REPLACED:
        return f"{name} is a setting of FluxLoop 0.1 (from {source}): {REPLACED[name]}"
    return f"unknown setting {name!r} (from {source}){did_you_mean(name, TABLE)}"


def markdown_table() -> str:
    """Return the table of all settings in docs/configuration.md."""
    lines = ["| setting | environment | default | it must | meaning |", "|---|---|---|---|---|"]
    for row in TABLE.values():
        env = f"`{row.env}`" if row.env else "(in code only)"
        default = f"`{row.shown(row.default)}`"
        lines.append(f"| `{row.name}` | {env} | {default} | {row.value_type.accepted} | {row.meaning} |")
    return "\n".join(lines) + "\n"


def options_source() -> str:
    """Return the fields of `fluxloop.settings.options.SettingOptions` as source code."""
    return "".join(f"    {row.name}: {row.value_type.annotation}\n" for row in TABLE.values())
