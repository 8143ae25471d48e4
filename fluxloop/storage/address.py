"""
Check the URL of a collector, and the key for it.
"""

from __future__ import annotations

import hashlib
import re
from urllib.parse import urlsplit


def checked_url(text: str) -> str:
    """
    Return the URL *text* without slashes at its end; a path is kept, for collectors behind a proxy.

    Raises:
        ValueError: If it is not the URL of a collector; the message, if any, has the reason, and no password.
    """
    text = text.strip().rstrip("/")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or not _VISIBLE.fullmatch(text):
        raise ValueError
    if parts.username is not None or parts.password is not None:
        raise ValueError("it contains a user or password; use api_key")
    if parts.query or parts.fragment:
        raise ValueError("it has a query or a fragment")
    return text


def checked_key(text: str) -> str:
    """
    Return the key *text* without white space around it.

    Raises:
        ValueError: If it cannot be sent in an HTTP header; the message does not contain it.
    """
    text = text.strip()
    if not _VISIBLE.fullmatch(text):
        raise ValueError("it is sent in an HTTP header")
    return text


_VISIBLE = re.compile(r"[!-~]+")
"""ASCII without spaces and control characters."""


def folder_name(url: str) -> str:
    """Return a name for a folder of the collector at *url*: its host, and a hash of the URL."""
    host = re.sub(r"[^A-Za-z0-9.-]", "_", urlsplit(url).hostname or "")
    return f"{host}-{hashlib.sha256(url.encode()).hexdigest()[:8]}"


def is_exposed(url: str) -> bool:
    """Return whether what is sent to *url* crosses a network unencrypted."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return parts.scheme == "http" and host not in ("localhost", "::1") and not host.startswith("127.")
