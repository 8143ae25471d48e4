"""
The URL of a ClickHouse store.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from ...errors import ConfigError

FORM = "clickhouse://USER:PASSWORD@HOST:PORT/DATABASE, with ?secure=true, ?cluster=NAME and ?ttl=30d where needed"


@dataclass(frozen=True, slots=True)
class Address:
    """Where the server is, and how the store uses it."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    database: str
    is_secure: bool = False
    """Whether the connection uses TLS."""
    cluster: str | None = None
    """The name of the cluster over which the tables are spread; None for one server."""
    ttl_days: int | None = None
    """After which the server itself removes records; 0 for never, None to leave the tables as they are."""


def address_of(url: str) -> Address:
    """
    Return what *url* says.

    Raises:
        ConfigError: If it is not a `FORM`; the message does not contain the password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
        options = dict(parse_qsl(parts.query, strict_parsing=True)) if parts.query else {}
    except ValueError:
        raise ConfigError(f"the URL of a ClickHouse store must be {FORM}") from None
    unknown = options.keys() - {"secure", "cluster", "ttl"}
    if unknown:
        raise ConfigError(f"a ClickHouse store has no option {min(unknown)!r} (accepted: cluster, secure, ttl)")
    if not parts.hostname or parts.path.count("/") > 1:
        raise ConfigError(f"the URL of a ClickHouse store must be {FORM}")
    cluster = options.get("cluster")
    if cluster is not None and not re.fullmatch(r"\w[\w-]{0,63}", cluster, re.ASCII):
        raise ConfigError("cluster must be the name of a ClickHouse cluster: letters, digits, - and _")
    is_secure = _flag(options.get("secure", "false"))
    return Address(
        host=parts.hostname,
        port=port or (8443 if is_secure else 8123),
        user=unquote(parts.username or "default"),
        password=unquote(parts.password or ""),
        database=unquote(parts.path[1:]) or "default",
        is_secure=is_secure,
        cluster=cluster,
        ttl_days=_days(options.get("ttl")),
    )


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise ConfigError(f"secure must be true or false, got {text[:20]!r}")
    return text.lower() in ("true", "1")


def _days(text: str | None) -> int | None:
    if text is None:
        return None
    if text == "none":
        return 0
    found = re.fullmatch(r"([1-9]\d{0,4})d", text)
    if not found:
        raise ConfigError(f"ttl must be a number of days such as 30d, or none, got {text[:20]!r}")
    return int(found[1])
