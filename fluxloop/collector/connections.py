"""
Limits on connections that uvicorn does not have.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

from .limits import Limits


def limited_protocol(limits: Limits) -> type[asyncio.Protocol]:
    """Return uvicorn's protocol with these limits."""
    return type("LimitedConnection", (LimitedConnection,), {"limits": limits})


class LimitedConnection(H11Protocol):
    """
    A connection that does not wait forever.

    The headers of a request must come in time, an answer must be taken in time, and connections beyond twice the limit
    are closed at once: up to the limit requests are answered, up to twice the limit they are refused with 503.
    """

    limits: ClassVar[Limits]
    _deadline: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > 2 * self.limits.connections:
            transport.abort()
        else:
            self._await_request()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self.loop.call_later(self.limits.answer_s, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._go_on()

    def _go_on(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def data_received(self, data: bytes) -> None:
        if self._is_between():
            self._await_request()
        super().data_received(data)
        if not self._is_between():
            self._forget()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        self._go_on()
        super().connection_lost(exc)

    def _is_between(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _await_request(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self.limits.header_s, self._close_if_waiting)

    def _forget(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _close_if_waiting(self) -> None:
        self._deadline = None
        if self._is_between() and not self.transport.is_closing():
            self.transport.close()
