"""
Which key names promise a secret.

A key is judged by its last words, so ``X-Api-Key``, ``openaiApiKey`` and ``OPENAI_API_KEY_2`` are all
the phrase *api key*, while ``api_key_name``, ``monkey`` and ``max_tokens`` are none. The phrases below
decide for the keys of mappings, for assignments inside texts and, in a looser reading, for the sieve.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum
from functools import lru_cache

from ..errors import ConfigError

WORDS = (
    "amz signature",
    "authorization",
    "cookie",
    "credential",
    "goog signature",
    "jwt",
    "passcode",
    "passphrase",
    "passwd",
    "password",
    "pwd",
    "recovery phrase",
    "secret",
    "secret string",
    "secret value",
    "seed phrase",
    "service role key",
)
"""Phrases that name a secret by themselves."""

BEFORE_KEY = (
    "access",
    "account",
    "admin",
    "api",
    "app",
    "application",
    "auth",
    "decryption",
    "encryption",
    "functions",
    "master",
    "private",
    "secret",
    "shared",
    "signing",
    "subscription",
)
"""Words that make a *key* secret; a bare ``key`` names many things."""

BEFORE_TOKEN = (
    "access",
    "api",
    "auth",
    "bearer",
    "csrf",
    "id",
    "oauth",
    "refresh",
    "secret",
    "security",
    "session",
    "xsrf",
)
"""Words that make a *token* secret, whatever it looks like."""

BEFORE_PASS = ("db", "mail", "smtp", "user")
"""Words that make a *pass* secret; a bare ``pass`` is the result of a test."""

GLUED = ("password", "passwd", "passphrase", "apikey", "secretkey", "privatekey")
"""Phrases that also count at the end of a longer word, as in ``PGPASSWORD``: no other word ends like them."""

POSITIONS = (
    "bos",
    "cls",
    "continuation",
    "eos",
    "first",
    "last",
    "mask",
    "next",
    "pad",
    "page",
    "prev",
    "previous",
    "sep",
    "special",
    "start",
    "stop",
    "sync",
    "unk",
)
"""Words that make a *token* a place in a list or a symbol of a vocabulary: never secret."""

GAP = r"[_\-. ]?"
"""What may stand between the words of a phrase. One character: with any number the sieve takes twice the time."""

NUMBER = rf"(?:{GAP}[0-9]{{1,2}})?"
"""What may follow the last word: ``api_key_2``."""

OPAQUE = r"[A-Za-z0-9_.~+/=:|%@!$*,;-]"
"""A character of an opaque token: no white space, and nothing that JSON escapes."""

LEAST_OPAQUE = 16
"""Characters from which on a token looks opaque."""

LONGEST_KEY = 200
"""Characters of a key that are looked at, from its end: keys can be data, and those seen last are remembered."""

_OPAQUE_TOKEN = re.compile(rf"(?![a-z]+\Z){OPAQUE}{{{LEAST_OPAQUE},}}")
_WORD_START = r"(?:(?<![A-Za-z])|(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z]))"
_FOLDER = re.compile(r"[/~]|[A-Za-z]:\\")


class Promise(Enum):
    """How surely a key names a secret."""

    SECRET = "secret"
    """Whatever is under it is one."""
    TOKEN = "token"
    """An opaque text under it is one: log probabilities and streams carry ``{"token": " the"}``."""


class Keys:
    """
    The phrases above and the user's.

    Args:
        extra: Further key names. Each is a phrase: ``customer_ssn`` also covers ``customerSSN`` and
            ``old-customer-ssn``. ASCII letters compare case-insensitively.

    Raises:
        ConfigError: If a name is no text, has no word in it, or holds a quote, a backslash or a control character.
    """

    def __init__(self, extra: Iterable[str] = ()) -> None:
        own = [GAP.join(map(re.escape, _words(name))) for name in extra]
        named = _any([*own, *(phrase.replace(" ", GAP) for phrase in WORDS)])
        self.phrase = (
            f"(?:(?:{named}|{_any(BEFORE_KEY)}{GAP}key)s?|{_any(BEFORE_TOKEN)}{GAP}token|{_any(BEFORE_PASS)}{GAP}pass)"
        )
        """All phrases as one regular expression, caseless, without a view on what stands before."""
        self._secret = re.compile(rf"(?:{_WORD_START}(?i:{self.phrase})|(?i:{_any(GLUED)})s?){NUMBER}\Z", re.ASCII)
        self._token = re.compile(rf"{_WORD_START}(?i:token){NUMBER}\Z", re.ASCII)
        self._position = re.compile(rf"{_WORD_START}(?i:{_any(POSITIONS)}{GAP}token){NUMBER}\Z", re.ASCII)
        self._known = lru_cache(4096)(self._read)

    def promise(self, key: str) -> Promise | None:
        """Return what *key* promises, if anything."""
        return self._known(key[-LONGEST_KEY:])

    def _read(self, key: str) -> Promise | None:
        if self._secret.search(key):
            return Promise.SECRET
        if self._token.search(key) and not self._position.search(key):
            return Promise.TOKEN
        return None

    def hides(self, key: str, text: str) -> bool:
        """Return whether *text*, found under *key*, is a secret as a whole."""
        promise = self.promise(key)
        if promise is Promise.TOKEN:
            return _OPAQUE_TOKEN.fullmatch(text) is not None
        if promise is None or not text:
            return False
        # PWD and OLDPWD hold folders in every dump of an environment.
        return not (key.upper().endswith("PWD") and _FOLDER.match(text))


def _any(choices: Iterable[str]) -> str:
    return "(?:" + "|".join(choices) + ")"


def _words(name: str) -> list[str]:
    """Split a user's key name at separators and camelCase humps."""
    if not isinstance(name, str) or re.search(r'["\\\x00-\x1f\x7f]', name):
        raise ConfigError(f"redact_keys must hold key names without quotes or control characters, got {name!r}")
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^A-Za-z_\-. ]+", name)
    if not words:
        raise ConfigError(f"redact_keys must hold key names with at least one word in them, got {name!r}")
    return words
