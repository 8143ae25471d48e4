"""
The checks in front of every request: its host, its origin, its key, its rate. And the access log.

The host check stops pages of other sites that resolve their own name to this machine (DNS rebinding); the origin check
stops pages that send requests here. The log has names of routes and of keys, and no content, ids or addresses of pages.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from ipaddress import ip_address
from time import perf_counter
from typing import Any
from urllib.parse import unquote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .keys import Keys
from .limits import Rates
from .metrics import Metrics
from .problems import Refused

log = logging.getLogger("fluxloop.collector")
access_log = logging.getLogger("fluxloop.collector.access")

OPEN_PATHS = frozenset({"/healthz", "/readyz"})
"""Paths that need no key: they have no content."""

_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}


class Guard:
    """
    Refuses requests that may not be answered, and answers the others by *app*.

    Args:
        app: Answers requests.
        keys: The keys; without any, no key is needed.
        rates: Of requests per key or address.
        hosts: Names in the ``Host`` header that are accepted beside those of this machine; None accepts any.
        metrics: Counts requests.
    """

    def __init__(
        self, app: ASGIApp, *, keys: Keys, rates: Rates, hosts: Iterable[str] | None, metrics: Metrics
    ) -> None:
        self._app, self._keys, self._rates, self._metrics = app, keys, rates, metrics
        self._hosts = None if hosts is None else _LOCAL | {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = perf_counter(), 500
        # Routes are found by the path as it was sent, so that an id may have a slash in it; `path_text` decodes it.
        scope["path"] = scope.get("raw_path", b"").decode("latin-1") or scope["path"]
        state = scope.setdefault("state", {})
        state.update(key="-", route="-")
        is_ambiguous = _has_two_lengths(Headers(scope=scope))

        async def send_checked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(raw=message.setdefault("headers", []))
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if is_ambiguous:
                    headers["Connection"] = "close"
            await send(message)

        try:
            try:
                self._check(scope, state)
            except Refused as refused:
                await refused.response()(scope, receive, send_checked)
            else:
                await self._app(scope, receive, send_checked)
        finally:
            self._note(scope, state, status, perf_counter() - start)

    def _note(self, scope: Scope, state: dict[str, Any], status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        route = state["route"]
        self._metrics.add("fluxloop_requests_total", route=route, method=method, status=str(status))
        self._metrics.add("fluxloop_request_seconds_total", seconds, route=route)
        client = (scope.get("client") or ("-",))[0]
        access_log.info("%s %s %s %s %d %.1f ms", client, state["key"], method, route, status, seconds * 1e3)

    def _check(self, scope: Scope, state: dict[str, Any]) -> None:
        headers = Headers(scope=scope)
        if _has_two_lengths(headers):
            raise Refused(400, "a request has either Content-Length or Transfer-Encoding")
        if scope["path"] not in OPEN_PATHS:  # probes address a container by its number
            self._check_host(headers)
        self._check_origin(headers)
        client = (scope.get("client") or ("-",))[0]
        state["rights"] = None
        if self._keys and scope["path"] not in OPEN_PATHS:
            key = self._keys.find(headers.get("authorization", ""))
            if key is None:
                self._check_rate(f"without a key: {client}")
                raise Refused(401, "an API key is needed, as in `Authorization: Bearer KEY`")
            state["key"], state["rights"] = key.name, key.rights
            client = f"key: {key.name}"
        self._check_rate(client)

    def _check_rate(self, client: str) -> None:
        if wait_s := self._rates.wait_s(client):
            raise Refused(429, "too many requests; try again later", retry_after_s=wait_s)

    def _check_host(self, headers: Headers) -> None:
        if self._hosts is None:
            return
        host = host_of(headers.get("host", ""))
        if host not in self._hosts and not _is_loopback(host):
            raise Refused(421, "the Host header does not name this collector; start it with --allowed-host NAME")

    def _check_origin(self, headers: Headers) -> None:
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            raise Refused(403, "requests from pages of other sites are refused")
        origin = headers.get("origin")
        if origin is None:
            return
        try:
            own = urlsplit(origin).netloc.lower()
        except ValueError:
            own = ""
        if not own or own != headers.get("host", "").lower():
            raise Refused(403, "requests from pages of other sites are refused")


_METHODS = frozenset({"GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS"})


def _has_two_lengths(headers: Headers) -> bool:
    """Whether a proxy may take another part of the connection for the body than this server (request smuggling)."""
    return "content-length" in headers and "transfer-encoding" in headers


def path_text(part: str) -> str:
    """Return a part of a path decoded, as it is stored: without NUL."""
    return unquote(part).replace("\0", "�")


def host_of(header: str) -> str:
    """Return the name in a ``Host`` header, without its port and the brackets of an IPv6 address."""
    header = header.strip().lower()
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0].rstrip(".")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
