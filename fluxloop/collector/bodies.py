"""
Receive the body of a request within limits of size and time, and decompress it.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import ClientDisconnect, Request

from .limits import Limits
from .problems import Refused
from .threads import Threads

_MEDIA_TYPES = frozenset({"application/x-ndjson", "application/jsonl", "application/json"})
"""Accepted types; a page of another site can send none of them without asking first."""


_AT_ONCE_BYTES = 4_096
"""A compressed body up to this size is decompressed at once; it has up to 4 MB in it."""

MAX_MEMBERS = 64
"""Parts of a gzip file; each is decompressed separately."""


class Receiving:
    """
    Receives bodies.

    Args:
        limits: Of one body, and of all that are in memory.
        threads: For what takes long to decompress.
    """

    def __init__(self, limits: Limits, threads: Threads) -> None:
        self._limits, self._threads = limits, threads
        self.waiting_bytes = 0
        """Of the bodies that are in memory now."""

    @asynccontextmanager
    async def body(self, request: Request) -> AsyncIterator[bytes]:
        """
        Yield the decompressed body; it counts as waiting until the block ends.

        Raises:
            Refused: If it is too large, too slow, of another type, or cannot be decompressed.
        """
        packed = _check_type(request)
        parts: list[bytes] = []
        taken = 0

        def take(size: int) -> None:
            nonlocal taken
            if self.waiting_bytes + size > self._limits.waiting_bytes:
                raise Refused(503, "too many records are waiting to be written; try again later", retry_after_s=1)
            taken += size
            self.waiting_bytes += size

        try:
            take(0)
            async for part in self._in_time(request):
                take(len(part))
                parts.append(part)
            body = b"".join(parts)
            parts.clear()
            if packed:
                limit = self._limits.unpacked_bytes
                if len(body) <= _AT_ONCE_BYTES:
                    body = unpacked(body, limit)
                else:
                    body = await self._threads.parse(unpacked, body, limit)
                take(len(body))
            yield body
        finally:
            self.waiting_bytes -= taken

    async def _in_time(self, request: Request) -> AsyncIterator[bytes]:
        end = asyncio.get_running_loop().time() + self._limits.body_s
        parts = self._parts(request)
        while True:
            try:
                async with asyncio.timeout_at(end):
                    part = await anext(parts)
            except StopAsyncIteration:
                return
            except TimeoutError:
                raise Refused(408, f"the body was not received within {self._limits.body_s:g} s") from None
            except ClientDisconnect:
                raise Refused(400, "the connection was closed before the body was complete") from None
            yield part

    async def _parts(self, request: Request) -> AsyncIterator[bytes]:
        limit = self._limits.body_bytes
        claimed = request.headers.get("content-length", "")
        if claimed.isdigit() and (len(claimed) > 18 or int(claimed) > limit):
            raise _too_large(limit)
        size = 0
        async for part in request.stream():
            size += len(part)
            if size > limit:
                raise _too_large(limit)
            yield part


def _check_type(request: Request) -> bool:
    """Return whether the body is compressed."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in _MEDIA_TYPES:
        raise Refused(415, "the content type must be application/x-ndjson or application/json")
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("gzip", "identity", ""):
        raise Refused(415, "the content encoding must be gzip or none")
    return encoding == "gzip"


def unpacked(body: bytes, limit: int) -> bytes:
    """
    Return what a gzip *body* contains; no more than *limit* bytes are ever in memory.

    Raises:
        Refused: If it contains more, or is not gzip.
    """
    parts, size = list[bytes](), 0
    try:
        while body:
            if len(parts) == MAX_MEMBERS:
                raise Refused(400, f"the compressed body has more than {MAX_MEMBERS} parts")
            member = zlib.decompressobj(wbits=31)
            part = member.decompress(body, limit + 1 - size)
            size += len(part)
            parts.append(part)
            if size > limit:
                raise _too_large(limit)
            if not member.eof:
                raise Refused(400, "the compressed body is not complete")
            body = member.unused_data
    except zlib.error:
        raise Refused(400, "the body is not gzip, as its content encoding says") from None
    return b"".join(parts)


def _too_large(limit: int) -> Refused:
    return Refused(413, f"the body is larger than {limit} bytes; send it in parts", limit=limit)
