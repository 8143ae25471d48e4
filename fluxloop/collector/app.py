"""
The application of the collector: its routes behind the guard, over one store.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from time import monotonic
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route as StarletteRoute
from starlette.types import ASGIApp

from ..errors import FilterError
from ..reading.pricing import project_pricing
from .bodies import Receiving
from .guard import Guard, path_text
from .ingest import Ingest
from .keys import WRITE, Keys
from .limits import Limits, Rates
from .metrics import CONTENT_TYPE, Metrics
from .problems import Refused, as_json
from .queries import Queries
from .records import RowMaker
from .retention import Clock, Retention
from .routes import ROUTES, Route, openapi
from .stores.contract import Store, StoreError
from .threads import Threads

log = logging.getLogger("fluxloop.collector")

_COUNTS_S = 15.0
"""How long the counts of the store are kept for `/metrics`."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a collector behaves."""

    keys: Keys = field(default_factory=Keys)
    limits: Limits = field(default_factory=Limits)
    hosts: Iterable[str] | None = ()
    """Accepted names in the ``Host`` header, beside those of this machine; None accepts any."""
    retention: Retention | None = None
    follow: Callable[[], object] | None = None
    """Brings the store up to date with a folder of records; nothing else may write then."""
    follow_s: float = 1.0


class Collector:
    """The application, and what its routes share."""

    def __init__(self, store: Store, options: Options) -> None:
        self.store, self.options = store, options
        self.metrics, self.threads = Metrics(), Threads()
        self.receiving = Receiving(options.limits, self.threads)
        pricing = project_pricing()
        rows = RowMaker(pricing.prices if pricing else None)
        self._parts: dict[str, Any] = {
            "ingest": Ingest(store, rows, receiving=self.receiving, threads=self.threads, metrics=self.metrics),
            "queries": Queries(store, threads=self.threads, can_delete=options.follow is None),
        }
        own = (self._openapi, self._health, self._ready, self._prometheus)
        self._own = dict(zip(("openapi", "health", "ready", "metrics"), own, strict=True))
        self._counts: tuple[float, dict[str, int]] = (-_COUNTS_S, {})

    def app(self) -> ASGIApp:
        """Return the application."""
        routes = [
            StarletteRoute(route.path, self._endpoint(route), methods=[route.method], name=route.endpoint)
            for route in ROUTES
        ]
        app = Starlette(routes=routes, lifespan=self._lifespan)
        app.router.redirect_slashes = False
        app.add_exception_handler(HTTPException, _http_error)
        return Guard(
            app,
            keys=self.options.keys,
            rates=Rates(self.options.limits.requests_per_s),
            hosts=self.options.hosts,
            metrics=self.metrics,
        )

    def _endpoint(self, route: Route) -> Callable[[Request], Awaitable[Response]]:
        part, _, name = route.endpoint.partition(".")
        answer = getattr(self._parts[part], name) if name else self._own[part]

        async def endpoint(request: Request) -> Response:
            rights = request.state.rights
            if rights is not None and route.right is not None and route.right not in rights:
                raise Refused(403, f"the key {request.state.key!r} may not {route.right}")
            if self.options.follow is not None and route.right == WRITE:
                raise Refused(409, "this collector follows a folder; start it without a PATH to receive records")
            return await answer(request)

        return _named(route.path, endpoint)

    async def _openapi(self, request: Request) -> Response:
        return as_json(openapi(_version()))

    async def _health(self, request: Request) -> Response:
        return PlainTextResponse("ok")

    async def _ready(self, request: Request) -> Response:
        await self.threads.write(self.store.check)
        return PlainTextResponse("ok")

    async def _prometheus(self, request: Request) -> Response:
        taken, counts = self._counts
        is_up = True
        if monotonic() - taken >= _COUNTS_S:
            try:
                counts = await self.threads.read(self.store.counts)
                self._counts = monotonic(), counts
            except StoreError:
                is_up = False
        gauges = {f"fluxloop_store_{name}": float(count) for name, count in counts.items()}
        gauges |= {"fluxloop_waiting_bytes": self.receiving.waiting_bytes, "fluxloop_store_up": float(is_up)}
        return Response(self.metrics.text(gauges), media_type=CONTENT_TYPE)

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        tasks = []
        if self.options.follow is not None:
            tasks.append(asyncio.create_task(self._repeat(self.options.follow, self.options.follow_s)))
        if (retention := self.options.retention) is not None:
            apply = partial(retention.apply, self.store, Clock())
            tasks.append(asyncio.create_task(self._repeat(apply, retention.EVERY_S)))
        yield
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task

    async def _repeat(self, function: Callable[[], object], seconds: float) -> None:
        """Call *function* in a thread, again and again."""
        while True:
            try:
                await self.threads.write(function)
            except Exception as error:
                log.warning("%s", error)
            await asyncio.sleep(seconds)


def _named(path: str, endpoint: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """Return *endpoint* with the errors of requests as answers, and with its route noted for the log."""

    async def answered(request: Request) -> Response:
        request.state.route = path
        request.scope["path_params"] = {name: path_text(part) for name, part in request.path_params.items()}
        try:
            return await endpoint(request)
        except Refused as refused:
            return refused.response()
        except FilterError as error:
            return as_json({"error": str(error)}, 400)
        except StoreError as error:
            log.warning("%s", error)
            return Refused(503, "the store does not answer now; try again later", retry_after_s=5).response()
        except Exception:
            log.exception("a request to %s failed", path)
            return as_json({"error": "the collector failed; its log has the reason"}, 500)

    return answered


async def _http_error(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 500)
    text = _HINTS.get(status, str(getattr(error, "detail", "failed")))
    return as_json({"error": text}, status, getattr(error, "headers", None))


_HINTS = {
    404: "no such address: GET /api/v1/openapi.json lists them; the traces are at /api/v1/traces",
    405: "this address has other methods: GET /api/v1/openapi.json lists them",
}
"""The answers to addresses that no route has, by status."""


def _version() -> str:
    try:
        return version("fluxloop")
    except PackageNotFoundError:  # a source checkout
        return "0+unknown"
