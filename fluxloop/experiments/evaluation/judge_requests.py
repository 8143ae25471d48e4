"""
The requests of judges: timeouts, repetitions after 429 and 5xx, and endpoints that do not work.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    import httpx

RETRIES = 4
"""Further attempts after a 429, a 5xx or a failed connection."""

RETRIES_OF_TIMEOUTS = 1
"""Further attempts after a request that took too long."""

MOST_FAILURES = 5
"""Failed requests in a row after which an endpoint is not asked again in this evaluation."""

MAX_ANSWER_BYTES = 8_000_000
"""A longer answer is a failure, since it would have to be kept in memory."""

FIRST_DELAY_S = 0.5
MAX_DELAY_S = 30.0
"""Delays double from the first to the longest, each with up to 50 % random extra time."""

RETRIED = frozenset({408, 409, 429, 500, 502, 503, 504, 529})
"""Statuses after which the same request may succeed."""


class JudgeFailed(Exception):
    """A judge gave no usable answer; the message says why."""


class Endpoints:
    """How often the requests to each address failed in a row, so that one that hangs does not hold up every run."""

    def __init__(self) -> None:
        self._failures: dict[str, int] = {}
        self._last: dict[str, str] = {}

    def check(self, url: str) -> None:
        """Raise JudgeFailed if *url* failed too often."""
        if self._failures.get(url, 0) >= MOST_FAILURES:
            raise JudgeFailed(f"not asked, as {MOST_FAILURES} requests in a row failed; {self._last[url]}")

    def failed(self, url: str, problem: str) -> JudgeFailed:
        """Count a failure, and return the error."""
        self._failures[url] = self._failures.get(url, 0) + 1
        self._last[url] = f"{url} failed: {problem.strip()}"
        return JudgeFailed(self._last[url])

    def answered(self, url: str) -> None:
        """Begin to count again."""
        self._failures.pop(url, None)


class Requests:
    """
    Sends requests.

    Args:
        timeout_s: Seconds that an answer may take.
        endpoints: Which addresses do not work.
    """

    def __init__(self, timeout_s: float, endpoints: Endpoints) -> None:
        import httpx

        self._timeout_s, self._endpoints = timeout_s, endpoints
        self._client: httpx.AsyncClient = httpx.AsyncClient(timeout=timeout_s)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def answer(self, url: str, body: Mapping[str, Any], key: str) -> bytes:
        """
        Return the body of a successful answer.

        Raises:
            JudgeFailed: If there is none after the repetitions.
        """
        if not (key.isascii() and key.isprintable()):  # without the key, which the message of httpx would have
            raise JudgeFailed("the API key has characters that cannot be sent in a header")
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        content = orjson.dumps(body, default=str)
        retries = RETRIES
        for attempt in range(RETRIES + 1):
            reply = await self._reply(url, content, headers)
            if reply.is_success:
                self._endpoints.answered(url)
                return reply.body
            retries = min(retries, reply.retries)
            if attempt >= retries:
                break
            delay = min(FIRST_DELAY_S * 2**attempt, MAX_DELAY_S) * (1 + random.random() / 2)
            await asyncio.sleep(min(reply.retry_after or delay, MAX_DELAY_S))
        raise self._endpoints.failed(url, reply.problem)

    async def _reply(self, url: str, content: bytes, headers: Mapping[str, str]) -> _Reply:
        import httpx

        try:
            async with (
                asyncio.timeout(self._timeout_s),  # that of httpx starts again with each byte
                self._client.stream("POST", url, content=content, headers=headers) as response,
            ):
                return await _read(response)
        except (TimeoutError, httpx.TimeoutException):
            return _Reply(problem=f"no answer within {self._timeout_s:g} s", retries=RETRIES_OF_TIMEOUTS)
        except httpx.HTTPError as error:
            return _Reply(problem=f"{type(error).__name__}: {error}", retries=RETRIES)
        except (httpx.InvalidURL, ValueError) as error:
            return _Reply(problem=f"{type(error).__name__}: {error}")


@dataclass(frozen=True, slots=True)
class _Reply:
    """The outcome of one request."""

    problem: str = ""
    """Empty for an answer."""
    body: bytes = b""
    retries: int = 0
    """How often the request may be repeated."""
    retry_after: float | None = None

    @property
    def is_success(self) -> bool:
        return not self.problem


async def _read(response: httpx.Response) -> _Reply:
    body = bytearray()
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > MAX_ANSWER_BYTES:
            return _Reply(problem=f"its answer is longer than {MAX_ANSWER_BYTES:,} bytes")
    if response.is_success:
        return _Reply(body=bytes(body))
    retries = RETRIES if response.status_code in RETRIED else 0
    problem = f"{response.status_code} {shown(bytes(body))}"
    return _Reply(problem, b"", retries, retry_after_of(response.headers.get("retry-after")))


def shown(body: bytes) -> str:
    """Return the beginning of an answer for a message."""
    return body[:800].decode("utf-8", "replace")[:200]


def retry_after_of(text: str | None) -> float | None:
    """Return the seconds that a ``Retry-After`` header asks for: a number of seconds, or a date."""
    if not text:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    from datetime import UTC, datetime
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None
