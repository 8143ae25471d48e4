"""
Requests to a collector, and their answers.

A `Link` sends a batch of records and returns an `Answer`; it never raises, and never follows a redirect. The key is
sent to the configured URL only, and appears in no message. httpx is imported by the first request, and used below its
client, which would log each request for the program's own logging configuration.
"""

from __future__ import annotations

import gzip
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote, urlsplit

import orjson

from ..forks import importing
from .clock import seconds
from .deadlines import limit
from .decoding import decoded, kind_of, trace_id_of

if TYPE_CHECKING:
    import httpx

GZIP_ABOVE_BYTES = 4096
"""The size above which a body is compressed."""

MAX_ANSWER_BYTES = 1_000_000
"""The limit of an answer: that of a batch in which each record is rejected with a reason."""

MAX_RETRY_AFTER_S = 300.0
"""The longest wait that a collector can ask for."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of one request."""

    stored: bool = False
    """Whether the collector has stored the batch, except for the rejected lines."""
    duplicates: int = 0
    """Records that the collector had already."""
    rejected: tuple[tuple[int, str], ...] = ()
    """The numbers of rejected lines, from 1, each with the reason."""
    problem: str = ""
    """If not stored: the reason, and what to do."""
    is_too_large: bool = False
    """Whether a smaller batch may be accepted."""
    limit_bytes: int | None = None
    """The largest body that the collector accepts, if it is known."""
    retry_after_s: float | None = None
    """The wait that the collector asked for."""
    is_permanent: bool = False
    """Whether another attempt makes no sense before the configuration is changed."""
    may_wait: bool = False
    """Whether the collector asked to try again soon; if not, an exit does not wait for it."""


@dataclass(slots=True)
class Link:
    """
    The way to a collector.

    Args:
        url: The URL of the collector, without a slash at its end.
        api_key: Sent as a bearer token.
        timeout: The limit of each step of a request (connect, send, receive the answer), in seconds.
        protocol: ``upstream`` sends each record in a request of its own, to the paths of FluxLoop 0.1.
        headers: Further headers.
    """

    url: str
    api_key: str | None = field(default=None, repr=False)
    timeout: float = 10.0
    protocol: Literal["fluxloop", "upstream"] = "fluxloop"
    headers: Mapping[str, str] = field(default_factory=dict)
    _transport: Any = field(default=None, repr=False, init=False)

    @property
    def max_lines(self) -> int | None:
        """The number of lines that one call of `send` accepts."""
        return 1 if self.protocol == "upstream" else None

    def send(self, lines: bytes, batch_id: str) -> Answer:
        """Send *lines*. *batch_id* is the same for every attempt to send the same lines."""
        try:
            if self.protocol == "upstream":
                return self._send_upstream(lines)
            return self._post("/api/v1/batches", lines, "application/x-ndjson", batch_id, _batch_answer)
        except Exception as exc:
            return Answer(problem=self._unreachable(exc))

    def close(self) -> None:
        """Close the connections."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()

    def forget(self) -> None:
        """In a forked child: the connections are those of the parent."""
        self._transport = None

    def _send_upstream(self, line: bytes) -> Answer:
        for record in decoded(line):
            kind = kind_of(record)
            if kind == "observation":
                path = f"/api/traces/{quote(trace_id_of(record), safe='')}/observations"
                body = {**record, "parent_observation_id": record.get("parent_id")}
            elif kind == "trace":
                path, body = "/api/traces", {**record, "id": trace_id_of(record)}
            else:
                return Answer(stored=True, rejected=((1, "collectors of FluxLoop 0.1 have no scores"),))
            answer = self._post(path, orjson.dumps(body), "application/json", None, _upstream_answer)
            if not answer.stored:
                return answer
        return Answer(stored=True)

    def _post(self, path: str, body: bytes, content_type: str, batch_id: str | None, read: Any) -> Answer:
        if self._transport is None:
            self._transport = _new_transport(self.url, self.timeout)
        httpx = sys.modules["httpx"]
        headers = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "Content-Type": content_type,
            "User-Agent": f"fluxloop/{_version()}",
            **self.headers,
        }
        if self.api_key is not None:
            headers["Authorization"] = f"Bearer {self.api_key}"
        if batch_id is not None:
            headers["X-Fluxloop-Batch"] = batch_id
            if len(body) > GZIP_ABOVE_BYTES:
                headers["Content-Encoding"] = "gzip"
                body = gzip.compress(body, compresslevel=1, mtime=0)
        limits = dict.fromkeys(("connect", "read", "write", "pool"), self.timeout)
        request = httpx.Request("POST", self.url + path, headers=headers, content=body, extensions={"timeout": limits})
        response = self._transport.handle_request(request)
        try:
            content = self._content(response)
        finally:
            response.close()
        answer: Answer = read(response.status_code, content)
        return answer if answer.stored else self._explained(answer, response, content)

    def _content(self, response: httpx.Response) -> bytes:
        """Return the body of *response*, within the limits of size and time."""
        end = seconds() + self.timeout
        content = b""
        for piece in response.iter_raw():
            content += piece
            if len(content) > MAX_ANSWER_BYTES:
                raise ValueError("its answer is too long")
            if seconds() > end:
                raise TimeoutError("its answer takes too long")
        return content

    def _explained(self, answer: Answer, response: httpx.Response, content: bytes) -> Answer:
        """Return *answer* with what the status of the *response* means."""
        status = response.status_code
        error = self.scrubbed(_error_in(content))
        said = f"{self.url} answered {status}" + (f" ({error})" if error else "")
        if status in (401, 403):
            has_key = "accepts no request without a key" if self.api_key is None else "does not accept the key"
            return Answer(
                problem=f"the collector at {self.url} {has_key} (answer {status}): set api_key=, or FLUXLOOP_API_KEY, "
                "to a key that may write",
                is_permanent=True,
            )
        if status == 413 or (status in (400, 422) and error):
            return Answer(problem=said, is_too_large=True, limit_bytes=_limit_in(content) if status == 413 else None)
        if 300 <= status < 400:
            target = self.scrubbed(response.headers.get("location", "another address"))
            return Answer(
                problem=f"{self.url} redirects to {target}, which is not followed because the key would be sent there: "
                "set collector_url to the final address",
                is_permanent=True,
            )
        if 200 <= status < 300:
            return Answer(
                problem=f"{said}, but not as a collector does: check that collector_url is that of a collector",
                is_permanent=True,
            )
        wait = _retry_after(response.headers.get("retry-after"))
        if status in (408, 425, 429) or status >= 500:
            return Answer(problem=said, retry_after_s=wait, may_wait=status in (429, 503))
        return Answer(problem=f"{said}: check collector_url", is_permanent=True)

    def _unreachable(self, exc: Exception) -> str:
        reason = self.scrubbed(str(exc)) or "no reason given"
        return f"cannot reach the collector at {self.url} ({type(exc).__name__}: {reason})"

    def scrubbed(self, text: str) -> str:
        """Return a text of another program, as one short line without the key."""
        if self.api_key:
            text = text.replace(self.api_key, "***")
        text = "".join(character if character.isprintable() else " " for character in text[:400])
        return text[:200].strip()


def _new_transport(url: str, timeout: float) -> Any:
    """Return a transport for *url*, with the proxy of the environment. A fork waits until all imports are done."""
    with importing():
        import httpx

        for name in _IMPORTED_LATER:
            import_module(name)
        _version()
        transport = httpx.HTTPTransport(proxy=_proxy_for(url))
        limit(transport, timeout)
        return transport


_IMPORTED_LATER = ("email.utils", "encodings.idna", "urllib.request")
"""Modules that requests and their answers import: a forked child must not find one half imported."""


def _proxy_for(url: str) -> str | None:
    """Return the proxy that the environment sets for *url*: ``HTTPS_PROXY``, ``ALL_PROXY``, ``NO_PROXY`` and so on."""
    from urllib.request import getproxies, proxy_bypass

    parts = urlsplit(url)
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or proxy_bypass(parts.netloc) or proxy_bypass(parts.hostname or ""):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _batch_answer(status: int, content: bytes) -> Answer:
    """Return what a collector said about a batch."""
    if status == 200:
        body = _json_object(content)
        if type(body.get("accepted")) is int:
            again = body.get("duplicates")
            duplicates = again if type(again) is int and again > 0 else 0
            return Answer(stored=True, duplicates=duplicates, rejected=tuple(_rejected(body.get("rejected"))))
    return Answer()


def _rejected(listed: object) -> Iterator[tuple[int, str]]:
    for item in listed if isinstance(listed, list) else ():
        if isinstance(item, dict) and type(item.get("line")) is int:
            yield item["line"], str(item.get("reason") or "no reason given")[:200]


def _upstream_answer(status: int, content: bytes) -> Answer:
    """Return what a collector of FluxLoop 0.1 said about a record."""
    return Answer(stored=200 <= status < 300 and bool(content) and orjson_or_none(content) is not None)


def orjson_or_none(content: bytes) -> Any:
    """Return decoded JSON; None if *content* is not JSON."""
    try:
        return orjson.loads(content)
    except ValueError:
        return None


def _json_object(content: bytes) -> dict[str, Any]:
    body = orjson_or_none(content)
    return body if isinstance(body, dict) else {}


def _error_in(content: bytes) -> str:
    error = _json_object(content).get("error")
    return error if isinstance(error, str) else ""


def _limit_in(content: bytes) -> int | None:
    limit = _json_object(content).get("limit")
    return limit if type(limit) is int and limit > 0 else None


def _retry_after(value: str | None) -> float | None:
    """Return the seconds in a ``Retry-After`` header, which has a number or a date."""
    if value is None:
        return None
    try:
        wait = float(value)
    except ValueError:
        from email.utils import parsedate_to_datetime

        try:
            wait = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
        except (TypeError, ValueError):
            return None
    return min(max(0.0, wait), MAX_RETRY_AFTER_S) if wait == wait else None


def _version() -> str:
    return str(sys.modules["fluxloop"].__version__)  # not an import: the package is above this module
