"""
Mask the secrets in a JSON value.

Only containers with a masked value inside are copied; the input is never changed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import cast

import orjson

from .heuristics import is_argument, is_description, is_opaque
from .keys import PASSES, USERS, Keys, Sensitivity
from .rules import JSON
from .shapes import MASK

SEARCHED_LEVELS = 4
"""The levels of containers, below the outermost one, that are searched as a whole."""

_BYTES = re.compile(r"<bytes [\d,]+: (.*)>", re.DOTALL)
_TYPE_NAMES = frozenset(("array", "boolean", "integer", "null", "number", "object", "string"))

# fmt: off
_SCHEMA_WORDS = frozenset((
    "$defs", "$ref", "$schema", "additionalProperties", "allOf", "anyOf", "const", "default", "definitions",
    "deprecated", "description", "enum", "env_names", "example", "examples", "exclusiveMaximum", "exclusiveMinimum",
    "format", "items", "maxItems", "maxLength", "maximum", "minItems", "minLength", "minimum", "not", "nullable",
    "oneOf", "pattern", "properties", "readOnly", "required", "title", "type", "uniqueItems", "writeOnly",
))
# fmt: on
"""The keys of JSON schemas. A mapping with another key is not a schema, but data with a ``type``."""

_SCHEMA_VALUES = frozenset(("const", "default", "example", "examples"))
"""The keys of a JSON schema that contain values of the described kind."""

_LABELS = ("name", "key", "header", "variable", "field")
"""The keys that contain the name of a mapping with a ``value``."""


class Masking:
    """
    Masks one value, and counts the masked places.

    Args:
        keys: The names of secrets.
        text: Masks the secrets in a text, and returns the text and their number.
        suspects: Returns False for JSON in UTF-8 that certainly has no secrets; None if no such search is possible.
    """

    __slots__ = ("_copies", "_depth", "_keys", "_suspects", "_text", "places")

    def __init__(
        self,
        keys: Keys,
        text: Callable[[str], tuple[str, int]],
        suspects: Callable[[bytes], bool] | None = None,
    ) -> None:
        self._keys = keys
        self._text = text
        self._suspects = suspects
        self._copies = 1
        self._depth = 0
        self.places = 0
        """The number of masked places."""

    def value(self, value: JSON, secret: bool = False) -> JSON:
        """
        Return *value* masked: the same object if it has no secrets, else a copy with secrets in keys masked too.

        Args:
            value: Any JSON.
            secret: Whether it is the value of a secret key, so that all texts and numbers in it are masked.
        """
        if isinstance(value, (dict, list)):
            if not secret and self._is_clean(value):
                return value
            self._depth += 1
            masked = self._object(value, secret) if isinstance(value, dict) else self._array(value, secret)
            self._depth -= 1
            return masked
        if secret:
            return self._scalar(value)
        if isinstance(value, str):
            value, places = self._text(value)
            self.places += places
        return value

    def _is_clean(self, value: JSON) -> bool:
        """
        Return whether one search finds that a container has no secrets, which is faster than to examine each text.

        The value as a whole is known to have one. Each of its parts is searched at most `SEARCHED_LEVELS` times, so the
        work stays linear however deep the secret is.
        """
        if self._suspects is None or not 0 < self._depth <= SEARCHED_LEVELS:
            return False
        try:
            return not self._suspects(orjson.dumps(value))
        except TypeError:  # for example, an integer of more than 64 bits
            return False

    def _scalar(self, value: JSON) -> JSON:
        if value is None or isinstance(value, bool) or value in ("", MASK):
            return value
        if isinstance(value, str) and " " in value and is_description(value):  # "password": ["This field is required."]
            return self.value(value)
        self.places += 1
        return MASK

    def _object(self, given: dict[str, JSON], secret: bool) -> dict[str, JSON]:
        schema = secret and _is_schema(given)
        named = "value" in given and self._is_named_secret(given)
        table = "columns" in given and "data" in given
        clean = given
        for key, value in given.items():
            hidden = (
                (key in _SCHEMA_VALUES if schema else secret)
                or (named and key == "value")
                or (key.lower() in PASSES and isinstance(value, str) and self._has_user(given) and is_argument(value))
                or (self._keys.sensitivity(key) is not None and self._is_hidden(key, value))
            )
            masked = self._rows(value, given["columns"]) if table and key == "data" else self.value(value, hidden)
            if masked is not value:
                clean = dict(given) if clean is given else clean
                clean[key] = masked
        return self._with_masked_keys(clean)

    def _rows(self, rows: JSON, columns: JSON) -> JSON:
        """Mask the rows of a table: the columns whose name is secret, and what is found in the others."""
        if not isinstance(rows, list) or not isinstance(columns, list):
            return self.value(rows)
        secret = [index for index, name in enumerate(columns) if self._is_secret(name)]
        if not secret:
            return self.value(rows)
        masked: list[JSON] = []
        for row in rows:
            if isinstance(row, list):
                row = [self.value(item, index in secret) for index, item in enumerate(row)]
                masked.append(row)
            else:
                masked.append(self.value(row))
        return masked

    def _with_masked_keys(self, given: dict[str, JSON]) -> dict[str, JSON]:
        """Return *given* with the secrets in its keys masked; a number keeps equal masked keys apart."""
        masked = {key: name for key in given if (name := self._text(key)[0]) != key}
        if not masked:
            return given
        clean: dict[str, JSON] = {}
        for key, value in given.items():
            name = base = masked.get(key, key)
            while name in clean or (key in masked and name in given):
                self._copies += 1
                name = f"{base} {self._copies}"
            clean[name] = value
        self.places += len(masked)
        return clean

    def _has_user(self, given: dict[str, JSON]) -> bool:
        return any(key.lower() in USERS for key in given)

    def _is_named_secret(self, given: dict[str, JSON]) -> bool:
        """Return whether *given* is ``{"name": "authorization", "value": "…"}``, or has its name at the end."""
        keys = list(given)
        for label in _LABELS:
            if label in given and keys[keys.index(label) + 1 :][:1] in ([], ["value"], ["type"]):
                return self._is_secret(given[label])
        return False

    def _array(self, given: list[JSON], secret: bool) -> list[JSON]:
        pairs = not secret and _are_pairs(given)
        clean = given
        for index, value in enumerate(given):
            if pairs:
                masked: JSON = self._pair(cast("list[JSON]", value))
            else:
                masked = self.value(value, secret or (index > 0 and self._follows_its_name(given, index)))
            if masked is not value:
                clean = list(given) if clean is given else clean
                clean[index] = masked
        return clean

    def _follows_its_name(self, given: list[JSON], index: int) -> bool:
        """Return whether the previous item is the name of a secret: ``["--api-key", "…"]``, ``["api_key", "…"]``."""
        name, value = given[index - 1], given[index]
        if not isinstance(name, str) or not isinstance(value, str) or not self._is_secret(name):
            return False
        if name[:1] == "-":
            return is_argument(value) and not is_description(value)
        return index == 1 and len(given) == 2 and is_opaque(value) and self._keys.hides(name, value)

    def _pair(self, given: list[JSON]) -> list[JSON]:
        """Mask a ``[name, value]`` pair of a list, a usual form of headers."""
        name, value = given
        plain = self._without_bytes(name)
        secret = self._is_secret(plain) or (
            isinstance(value, str) and self._keys.hides(plain, self._without_bytes(value))
        )
        clean = [self.value(name), self.value(value, secret)]
        return given if clean[0] is name and clean[1] is value else clean

    @staticmethod
    def _without_bytes(text: JSON) -> str:
        """Return the text in the text of bytes, as the headers of a web server are; empty if it is not a text."""
        if not isinstance(text, str):
            return ""
        return found[1] if text[:7] == "<bytes " and (found := _BYTES.fullmatch(text)) else text

    def _is_hidden(self, key: str, value: JSON) -> bool:
        return self._keys.hides(key, value) if isinstance(value, str) else self._is_secret(key)

    def _is_secret(self, name: JSON) -> bool:
        return isinstance(name, str) and self._keys.sensitivity(name) is Sensitivity.ALWAYS


def _is_schema(given: dict[str, JSON]) -> bool:
    """Return whether *given* is the schema of a value, as in the definition of a tool, and not the value itself."""
    if not given.keys() <= _SCHEMA_WORDS:
        return False
    kind = given.get("type")
    kinds = kind if isinstance(kind, list) else [kind]
    return any(isinstance(k, str) and k in _TYPE_NAMES for k in kinds) or not given.keys().isdisjoint(
        ("$ref", "allOf", "anyOf", "oneOf")
    )


def _are_pairs(given: list[JSON]) -> bool:
    return all(isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) for pair in given)
