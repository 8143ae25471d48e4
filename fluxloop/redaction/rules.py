"""
The user's redaction rules.

Rules are checked when they are created, so that `fluxloop.configure` reports a mistake, and not a later run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from ..errors import ConfigError
from .keys import Keys

JSON: TypeAlias = "dict[str, JSON] | list[JSON] | str | int | float | bool | None"
"""A value that `json.loads` can return."""

Hook: TypeAlias = Callable[[JSON], JSON]


@dataclass(frozen=True, slots=True, init=False)
class Rules:
    """
    Additional keys, additional patterns, and a hook.

    Args:
        keys: Key names whose values are masked. They match like the built-in ones: as the last words of a key, in any
            spelling (``customer_ssn``, ``customerSSN``, ``old-customer-ssn``).
        patterns: Regular expressions, compiled or not, that are searched in every text. The whole match is masked, or
            only the group named ``secret``, if there is one.
        hook: Called with each captured value after all other rules; its result is recorded. If it raises, or its result
            is not JSON, the whole value is masked.

    Raises:
        ConfigError: If a key or a pattern is invalid, or the hook is not callable.
    """

    keys: tuple[str, ...] = ()
    patterns: tuple[re.Pattern[str], ...] = ()
    hook: Hook | None = None

    def __init__(
        self,
        keys: Iterable[str] = (),
        patterns: Iterable[re.Pattern[str] | str] = (),
        hook: Hook | None = None,
    ) -> None:
        put = object.__setattr__
        put(self, "keys", tuple(_many("redact_keys", keys, "key names")))
        put(self, "patterns", tuple(map(_pattern, _many("redact_patterns", patterns, "regular expressions"))))
        put(self, "hook", hook)
        if hook is not None and not callable(hook):
            raise ConfigError(f"redact_hook must be a function of one value, got {hook!r}")
        Keys(self.keys)

    @classmethod
    def default(cls) -> Rules:
        """The built-in rules and nothing else."""
        return cls()


def _many(setting: str, values: Iterable[object], of_what: str) -> Iterable[object]:
    """Return *values*; raise ConfigError for a single text, whose characters would become rules."""
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise ConfigError(f"{setting} must be a list of {of_what}, got {values!r}")
    return values


def _pattern(given: object) -> re.Pattern[str]:
    if not isinstance(given, (str, re.Pattern)):
        raise ConfigError(f"redact_patterns must hold regular expressions, got {given!r}")
    try:
        pattern = re.compile(given)
    except (re.error, OverflowError, RecursionError) as error:
        raise ConfigError(f"redact_patterns must hold regular expressions, got {given!r} ({error})") from error
    if not isinstance(pattern.pattern, str):
        raise ConfigError(f"redact_patterns must hold regular expressions over text, got one over bytes: {given!r}")
    if pattern.match(""):
        raise ConfigError(f"redact_patterns must not match the empty text, got {given!r}: it would mask everywhere")
    return pattern
