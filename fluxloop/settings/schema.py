"""
The settings: one row for each, with its default.

A field of `Settings` says all there is to know about a setting. The loader, the error texts,
``fluxloop doctor`` and the table in the docs are read off these rows, so a new setting is one row more.
"""

# ruff: noqa: RUF009 - calling _row() in the class body is the point: each call makes one dataclass field.
from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ..errors import ConfigError
from . import value_types
from .value_types import (
    FLAG,
    HOOK,
    PATH,
    PATTERNS,
    STORAGE,
    TEXT,
    WORDS,
    Kind,
    RejectedError,
    between,
    did_you_mean,
    whole,
)

if TYPE_CHECKING:
    from ..storage import Storage

T = TypeVar("T")

PREFIX = "FLUXLOOP_"
"""Begins the environment name of every setting."""

DEEPEST = 200
"""Most levels of nesting that can be asked for: orjson refuses what is nested more than 254 deep."""

_SECRET_ENDINGS = ("_key", "_token", "_secret", "_password")
"""Endings of the names of settings whose values are left out of error texts and reports."""


def _row(default: T, kind: Kind, meaning: str, *, unit: str = "", only_in_code: bool = False) -> T:
    """Describe one setting; the type says T since that is what the field holds in a `Settings`."""
    row = {"kind": kind, "meaning": meaning, "unit": unit, "only_in_code": only_in_code}
    return dataclasses.field(default=default, metadata=row)


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings in force. Made by the loader from checked values (see `fluxloop.settings.layers`)."""

    storage: str | Storage | tuple[str | Storage, ...] = _row(
        "file", STORAGE, "where records are written; each storage in a list receives every record"
    )
    base_path: Path = _row(Path("traces"), PATH, "the folder for files, created when it is first needed")
    journal: bool = _row(
        True, FLAG, "list open observations in a hidden file, so that those of a killed process can be read"
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
    redact: bool = _row(True, FLAG, "mask secrets before any storage receives them")
    redact_keys: tuple[str, ...] = _row((), WORDS, "additional key names whose values are masked")
    redact_patterns: tuple[str, ...] = _row((), PATTERNS, "regular expressions for additional texts to mask")
    redact_hook: Callable[..., Any] | None = _row(None, HOOK, "a function that masks values", only_in_code=True)
    max_leaf_bytes: int = _row(65_536, whole(64), "the longest text within a value; the rest is cut", unit="bytes")
    max_value_bytes: int = _row(1_048_576, whole(64), "the largest input or output; the rest is cut", unit="bytes")
    max_depth: int = _row(100, whole(1, DEEPEST), "the deepest nesting of a value; deeper parts are cut", unit="levels")
    max_stream_items: int = _row(1_000, whole(0), "the most items recorded of one stream", unit="items")
    max_stream_bytes: int = _row(
        262_144, whole(0), "the largest total size of the recorded items of one stream", unit="bytes"
    )


class Given(NamedTuple):
    """What a layer says about one setting, and where it was said, in words."""

    raw: Any
    source: str


@dataclass(frozen=True, slots=True)
class Row:
    """All there is to know about one setting."""

    name: str
    default: Any
    kind: Kind
    meaning: str
    unit: str
    only_in_code: bool

    @property
    def env(self) -> str | None:
        """The name of its environment variable; None where text cannot say the value."""
        return None if self.only_in_code else PREFIX + self.name.upper()

    def read(self, given: Given) -> Any:
        """
        Return *given* as a value of the setting.

        Raises:
            ConfigError: If it is not acceptable; the text names setting, value, source and what is.
        """
        try:
            return self.kind.read(given.raw)
        except RejectedError as rejected:
            why = f": {rejected}" if rejected.args and not self.secret else ""
            got = self.shown(given.raw) if self.secret else value_types.shown(given.raw)
            raise ConfigError(f"{self.name} must {self.kind.accepted}, got {got} (from {given.source}){why}") from None

    @property
    def secret(self) -> bool:
        """Whether the value is kept out of texts."""
        return self.name.endswith(_SECRET_ENDINGS)

    def shown(self, value: Any) -> str:
        """Return *value* as a report shows it."""
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


def row(name: str, source: str) -> Row:
    """
    Return the row of the setting *name*.

    Raises:
        ConfigError: If there is no such setting; the text names it, *source*, the closest one and all others.
    """
    found = TABLE.get(name)
    if found is None:
        raise ConfigError(f"{unknown(name, source)} (accepted: {', '.join(TABLE)})")
    return found


def unknown(name: str, source: str) -> str:
    """Return the message for *name*, an unknown setting found in *source*."""
    return f"unknown setting {name!r} (from {source}){did_you_mean(name, TABLE)}"


def markdown_table() -> str:
    """Return the table of all settings as docs/configuration.md holds it."""
    lines = ["| setting | environment | default | it must | meaning |", "|---|---|---|---|---|"]
    for one in TABLE.values():
        env = f"`{one.env}`" if one.env else "(in code only)"
        default = f"`{one.shown(one.default)}`"
        lines.append(f"| `{one.name}` | {env} | {default} | {one.kind.accepted} | {one.meaning} |")
    return "\n".join(lines) + "\n"


def options_source() -> str:
    """Return the fields of `fluxloop.settings.options.SettingOptions` as source code."""
    return "".join(f"    {one.name}: {one.kind.annotation}\n" for one in TABLE.values())
