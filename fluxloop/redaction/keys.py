"""
Recognise the names of secrets.

The last words of a key decide: ``X-Api-Key``, ``openaiApiKey`` and ``OPENAI_API_KEY_2`` all match the phrase *api key*;
``api_key_name``, ``monkey`` and ``max_tokens`` match no phrase. The phrases apply to the keys of mappings, to
assignments in texts and, simplified, to the prefilter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum
from functools import lru_cache

from ..errors import ConfigError
from .heuristics import is_description, is_placeholder, is_random, is_reference

WORDS = (
    "amz signature",
    "auth header",
    "authorization",
    "cookie",
    "credential",
    "creds",
    "goog signature",
    "honeycomb team",
    "jsessionid",
    "jwt",
    "mnemonic",
    "passcode",
    "passphrase",
    "passwd",
    "password",
    "passwort",
    "phpsessid",
    "psk",
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
    "anthropic",
    "api",
    "app",
    "application",
    "auth",
    "azure",
    "cohere",
    "consumer",
    "decryption",
    "deploy",
    "encryption",
    "functions",
    "gemini",
    "groq",
    "hmac",
    "license",
    "master",
    "mistral",
    "openai",
    "private",
    "secret",
    "service",
    "shared",
    "signing",
    "storage",
    "stripe",
    "subscription",
    "webhook",
)
"""Words that make a *key* secret; a bare ``key`` names many things."""

BEFORE_TOKEN = (
    "access",
    "api",
    "auth",
    "bearer",
    "bot",
    "csrf",
    "deploy",
    "github",
    "gitlab",
    "id",
    "identity",
    "oauth",
    "private",
    "refresh",
    "secret",
    "security",
    "session",
    "slack",
    "vault",
    "xsrf",
)
"""Words that make a *token* secret, whatever its value looks like."""

BEFORE_PASS = (
    "admin",
    "become",
    "database",
    "db",
    "email",
    "ftp",
    "ldap",
    "mail",
    "mongo",
    "mysql",
    "postgres",
    "proxy",
    "redis",
    "root",
    "smtp",
    "ssh",
    "sudo",
    "user",
    "vpn",
)
"""Words that make a *pass* secret; a bare ``pass`` is often the result of a test."""

IF_RANDOM = ("token", "auth", "key data")
"""Words that make a value secret only if it looks random."""

IN_QUERIES = ("key", "appid", "sig", "signature", "code", "auth", "hmac", "pass", "sas")
"""URL parameters whose value is secret if it looks random; elsewhere these names have other meanings."""

GAP = r"[_\-. ]?"
"""The separator between the words of a phrase. Allowing more than one character would double the prefilter's time."""

NUMBER = rf"(?:{GAP}[0-9]{{1,2}})?"
"""An optional number after the last word, as in ``api_key_2``."""

PASSES = ("pass", "pw")
"""Words that name a secret only if a user name is next to them."""

USERS = ("user", "username", "user_name", "login", "usr", "uid", "email", "account")
"""Keys of user names."""

GLUED = (
    "password",
    "passwd",
    "passphrase",
    rf"api{GAP}key",
    "secretkey",
    "privatekey",
    "authtoken",
    "accesstoken",
    "identitytoken",
)
"""Phrases that also match at the end of a longer word, as in ``PGPASSWORD``; no ordinary words end with them."""

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
"""Words that make a *token* a position in a list or a symbol of a vocabulary, which is never secret."""

LONGEST_KEY = 200
"""The limit of examined characters of a key, from its end: keys can be long data, and results are cached by key."""

_WORD_START = r"(?:(?<![A-Za-z])|(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z]))"
_FOLDER = re.compile(r"[/~]|[A-Za-z]:\\")
_STORED = re.compile(r"(?i)(?:account|app|application|functions|service|shared|storage)[_\-. ]?key\Z")
_NAME = re.compile(r"[a-z][a-z_\-]{0,15}\Z")
"""A plain word, which is the name of an entry and not its key, as in ``storage_key = "theme"``."""
_COOKIE = re.compile(r"[A-Za-z' ]*\Z")


class Sensitivity(Enum):
    """Whether all values of a key are secret."""

    ALWAYS = "always"
    """All values are secret."""
    IF_RANDOM = "if random"
    """A value is secret if it looks random: log probabilities and streams contain ``{"token": " the"}``."""


class Keys:
    """
    The built-in key phrases and those of the user.

    Args:
        extra: Additional key names. Each is a phrase: ``customer_ssn`` also matches ``customerSSN`` and
            ``old-customer-ssn``. ASCII letters compare case-insensitively.

    Raises:
        ConfigError: If a name is not a string, has no word, or contains a quote, a backslash or a control character.
    """

    def __init__(self, extra: Iterable[str] = ()) -> None:
        own = [GAP.join(map(re.escape, _words(name))) for name in extra]
        named = any_of([*own, *(phrase.replace(" ", GAP) for phrase in WORDS)])
        self.phrase = (
            f"(?:(?:{named}|{any_of(BEFORE_KEY)}{GAP}key)s?"
            f"|{any_of(BEFORE_TOKEN)}{GAP}token|{any_of(BEFORE_PASS)}{GAP}pass)"
        )
        """All phrases as one regular expression, which does not check the preceding text."""
        self._own = re.compile(rf"{_WORD_START}(?i:{any_of(own)}s?){NUMBER}\Z", re.ASCII) if own else None
        self._always = re.compile(rf"(?:{_WORD_START}(?i:{self.phrase})|(?i:{any_of(GLUED)})s?){NUMBER}\Z", re.ASCII)
        self._if_random = re.compile(
            rf"{_WORD_START}(?i:{any_of(name.replace(' ', GAP) for name in IF_RANDOM)}){NUMBER}\Z", re.ASCII
        )
        self._position = re.compile(rf"{_WORD_START}(?i:{any_of(POSITIONS)}{GAP}token){NUMBER}\Z", re.ASCII)
        self._known = lru_cache(4096)(self._read)

    def sensitivity(self, key: str) -> Sensitivity | None:
        """Return the sensitivity of *key*; None if it is not the name of a secret."""
        return self._known(key[-LONGEST_KEY:])

    def _read(self, key: str) -> Sensitivity | None:
        if self._always.search(key):
            return Sensitivity.ALWAYS
        if self._if_random.search(key) and not self._position.search(key):
            return Sensitivity.IF_RANDOM
        return None

    def hides(self, key: str, text: str) -> bool:
        """Return whether *text*, the value of *key*, is a secret as a whole."""
        sensitivity = self.sensitivity(key)
        if sensitivity is None or not text:
            return False
        if self._own is not None and self._own.search(key[-LONGEST_KEY:]):
            return not is_placeholder(text)
        if sensitivity is Sensitivity.IF_RANDOM:
            return is_random(text)
        if key[-7:].lower().endswith(("cookie", "cookies")) and _COOKIE.match(text):
            return False
        if _NAME.match(text) and _STORED.search(key[-LONGEST_KEY:]):
            return False
        return not (
            self.is_folder(key, text) or is_placeholder(text) or is_description(text) or is_reference(text, key)
        )

    @staticmethod
    def is_folder(key: str, text: str, start: int = 0) -> bool:
        """Return whether *key* is PWD or OLDPWD, as in an environment dump, and a folder path starts at *start*."""
        return key[-3:].upper() == "PWD" and _FOLDER.match(text, start) is not None


def any_of(choices: Iterable[str]) -> str:
    """Return a regular expression that matches any of *choices*."""
    return "(?:" + "|".join(choices) + ")"


def _words(name: str) -> list[str]:
    """Split a user's key name at separators and camelCase humps."""
    if not isinstance(name, str) or re.search(r'["\\\x00-\x1f\x7f]', name):
        raise ConfigError(f"redact_keys must hold key names without quotes or control characters, got {name!r}")
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^A-Za-z_\-. ]+", name)
    if not words:
        raise ConfigError(f"redact_keys must hold key names with at least one word in them, got {name!r}")
    return words
