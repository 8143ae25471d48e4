"""
API keys of a collector: a name, what it may do, and a secret that is compared in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError

READ, WRITE, DELETE = "read", "write", "delete"

RIGHTS = {
    "read": frozenset({READ}),
    "write": frozenset({WRITE}),
    "all": frozenset({READ, WRITE, DELETE}),
}
"""What a key may do, by the word for it."""

MIN_LENGTH = 8
"""Characters of a secret."""

FORMS = "KEY, or NAME:read:KEY, NAME:write:KEY or NAME:all:KEY"


@dataclass(frozen=True, slots=True)
class Key:
    """One key; the secret itself is not kept."""

    name: str
    rights: frozenset[str]
    digest: bytes

    @classmethod
    def of(cls, text: str, source: str) -> Key:
        """
        Return the key that *text* describes, in one of `FORMS`.

        Raises:
            ConfigError: If it is not one of them; the message does not contain it.
        """
        parts = text.strip().split(":", 2)
        name, rights, secret = parts if len(parts) == 3 and parts[1] in RIGHTS else ("default", "all", text.strip())
        is_sendable = secret.isascii() and secret.isprintable() and " " not in secret
        if not name or len(secret) < MIN_LENGTH or not is_sendable:
            raise ConfigError(
                f"an API key from {source} must be {FORMS}, with {MIN_LENGTH} characters or more in KEY, "
                "printable ASCII without spaces"
            )
        return cls(name, RIGHTS[rights], _digest(secret))


class Keys:
    """The keys of a collector; without any, every request may do everything."""

    def __init__(self, keys: Iterable[Key] = ()) -> None:
        self._keys = tuple(keys)

    @classmethod
    def of(cls, texts: Iterable[str], file: Path | None = None) -> Keys:
        """
        Return the keys given as *texts*, and those of the lines of *file*.

        Raises:
            ConfigError: If one is not understood, or the file cannot be read.
        """
        keys = [Key.of(text, "--api-key or COLLECTOR_API_KEYS") for text in texts]
        if file is not None:
            try:
                lines = file.read_text(encoding="utf-8").splitlines()
            except (OSError, ValueError) as error:
                raise ConfigError(f"the file of API keys {file} cannot be read: {error}") from None
            stripped = (line.strip() for line in lines)
            in_file = [Key.of(line, str(file)) for line in stripped if line and not line.startswith("#")]
            if not in_file:  # a collector without keys would let everybody in
                raise ConfigError(f"the file of API keys {file} has no key: expected a line such as {FORMS}")
            keys += in_file
        if len({key.digest for key in keys}) < len(keys):
            names = ", ".join(sorted({key.name for key in keys}))
            raise ConfigError(f"the same API key is given twice (names: {names}): give each name a key of its own")
        return cls(keys)

    def __bool__(self) -> bool:
        return bool(self._keys)

    def find(self, authorization: str) -> Key | None:
        """Return the key of an ``Authorization`` header; every key is compared, in constant time."""
        scheme, _, secret = authorization.partition(" ")
        given = _digest(secret.strip() if scheme.lower() == "bearer" else "")
        found = None
        for key in self._keys:
            if hmac.compare_digest(key.digest, given):
                found = key
        return found


def _digest(secret: str) -> bytes:
    """Return a digest, so that the comparison takes as long for secrets of any length."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
