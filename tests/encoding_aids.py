"""
What the tests of the encoder share: counts, strict JSON, and a small redactor.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, NoReturn

from fluxloop.encoding.encoder import JSON, Encoder, Limits

SECRET = re.compile(r"sk-[a-z0-9]{20}")


@dataclass
class Counts:
    """A record that is being built, as far as the encoder sees it."""

    redacted: int = 0
    truncated: int = 0


class Masker:
    """A redactor of the simplest kind: texts like ``sk-…`` of 20 characters, and what is called ``api_key``."""

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


def encode(value: object, marks: Counts | None = None, *, redactor: Masker | None = None, **limits: int) -> bytes:
    """Encode once, within the default limits but for *limits*."""
    return Encoder(Limits(**limits), redactor).encode(value, Counts() if marks is None else marks)


def strictly(encoded: bytes) -> Any:
    """Decode JSON as the standard says it: no NaN, UTF-8, one document."""

    def refuse(constant: str) -> NoReturn:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(encoded.decode(), parse_constant=refuse)


def record(value: object, marks: Counts | None = None, *, redactor: Masker | None = None, **limits: int) -> Any:
    """What a reader of the record gets for *value*."""
    return strictly(encode(value, marks, redactor=redactor, **limits))
