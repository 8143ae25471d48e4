"""
How much of one captured value is kept, and what masks secrets in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"
"""What `json.loads` can return, without NaN and the infinities."""


class Redacting(Protocol):
    """Finds and masks secrets, see `fluxloop.redaction`."""

    def suspects(self, encoded: bytes) -> bool:
        """Return False only if *encoded* JSON contains nothing to mask. Fast, as every value is checked."""

    def redact(self, value: JSON) -> tuple[JSON, int]:
        """Return a masked copy of *value*, of the same shape, and how many places were masked."""

    def redact_json(self, encoded: bytes) -> tuple[bytes, int]:
        """Do as `redact` for a value that is encoded as JSON."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of one captured value is kept."""

    leaf_bytes: int = 65_536
    """UTF-8 bytes of one string; a longer one keeps its beginning."""
    value_bytes: int = 1_048_576
    """Bytes of JSON; of a longer value the first items are kept, and each field of a dict gets its share."""
    depth: int = 100
    """Nested containers. Data that needs no cleaning may have the 254 levels that orjson accepts."""
    objects: int = 500
    """Objects of unknown classes that are opened, as a client may reference its whole connection pool."""
    object_depth: int = 4
    """Such objects nested in each other."""


FIELD_BYTES = 8
"""Estimate of what a field takes at least in a dict of many, to bound how many are copied."""
KEY_BYTES = 1_024
"""A longer key of a dict is shortened like any string."""
MARKER_BYTES = 64
"""A string that is too long by less than its marker is kept whole."""
MARGIN_CHARS = 16_384
"""Searched for secrets beyond the cut; longer than any key or certificate."""
INTEGER_BITS = 10_000
"""Longer integers are not written out: Python itself stops at 4,300 digits, as they take long."""
