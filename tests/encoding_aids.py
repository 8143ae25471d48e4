"""
Helpers for the tests of the encoder: counts, strict JSON, and a small redactor.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, NoReturn

import orjson

from fluxloop.encoding.encoder import JSON, Encoder, Limits

SECRET = re.compile(r"sk-[a-z0-9]{20}")


@dataclass
class Counts:
    """The counts that the encoder updates while it encodes a record."""

    redacted: int = 0
    truncated: int = 0


class Masker:
    """A minimal redactor: masks texts like ``sk-…`` with 20 characters, and values of the key ``api_key``."""

    def suspects(self, encoded: bytes) -> bool:
        return b"sk-" in encoded or b"api_key" in encoded

    def redact(self, value: JSON) -> tuple[JSON, int]:
        if isinstance(value, str):
            return SECRET.subn("[redacted]", value)
        if isinstance(value, list):
            pairs = [self.redact(item) for item in value]
            return [item for item, _ in pairs], sum(count for _, count in pairs)
        if isinstance(value, dict):
            masked = {key: ("[redacted]", 1) if key == "api_key" else self.redact(item) for key, item in value.items()}
            return {key: item for key, (item, _) in masked.items()}, sum(count for _, count in masked.values())
        return value, 0

    def redact_json(self, encoded: bytes) -> tuple[bytes, int]:
        value, count = self.redact(orjson.loads(encoded))
        return orjson.dumps(value), count


def encode(value: object, marks: Counts | None = None, *, redactor: Masker | None = None, **limits: int) -> bytes:
    """Encode *value*, with the default limits unless *limits* are given."""
    return Encoder(Limits(**limits), redactor).encode(value, Counts() if marks is None else marks)


def strictly(encoded: bytes) -> Any:
    """Decode standard JSON: UTF-8, one document, no NaN."""

    def refuse(constant: str) -> NoReturn:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(encoded.decode(), parse_constant=refuse)


def record(value: object, marks: Counts | None = None, *, redactor: Masker | None = None, **limits: int) -> Any:
    """Return *value* as a reader of the record gets it."""
    return strictly(encode(value, marks, redactor=redactor, **limits))
