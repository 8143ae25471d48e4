"""
Answers to requests that are refused, each with one sentence that says why.
"""

from __future__ import annotations

from typing import Any

import orjson
from starlette.responses import Response


class Refused(Exception):
    """A request is refused with this status; the message is the answer."""

    def __init__(self, status: int, error: str, *, retry_after_s: float | None = None, **more: Any) -> None:
        super().__init__(error)
        self.status, self.error, self.more = status, error, more
        self.retry_after_s = retry_after_s

    def response(self) -> Response:
        """Return the answer."""
        headers = {}
        if self.retry_after_s is not None:
            headers["Retry-After"] = str(max(1, round(self.retry_after_s)))
        if self.status == 401:
            headers["WWW-Authenticate"] = 'Bearer realm="fluxloop"'
        if self.status in (408, 413, 503):  # the rest of the body may not have been read
            headers["Connection"] = "close"
        return as_json({"error": self.error, **self.more}, self.status, headers)


def as_json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return *value* as an answer."""
    return Response(orjson.dumps(value), status, headers, media_type="application/json")
