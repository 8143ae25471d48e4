"""
The routes of a collector, and their description for OpenAPI: one table for both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .keys import DELETE, READ, WRITE
from .parameters import FILTERS, MAX_PAGE

API_VERSION = "1"


@dataclass(frozen=True, slots=True)
class Route:
    """One route."""

    method: str
    path: str
    endpoint: str
    """The method of `Ingest` or `Queries` that answers, as ``ingest.batch``; one word for those of the collector."""
    right: str | None
    """What a key must be allowed to do; None for a route that needs no key."""
    summary: str
    parameters: tuple[str, ...] = ()
    """Names in `PARAMETERS`; ``filters`` means all conditions."""
    receives: str | None = None
    """The media type of the body."""
    returns: str = "application/json"


_LIST = ("filters", "limit", "cursor")

ROUTES = (
    Route("POST", "/api/v1/batches", "ingest.batch", WRITE, "Keep record lines", receives="application/x-ndjson"),
    Route("GET", "/api/v1/traces", "queries.traces", READ, "List traces", (*_LIST, "order", "id")),
    Route("DELETE", "/api/v1/traces", "queries.delete", DELETE, "Delete traces", ("session", "user", "older_than")),
    Route("GET", "/api/v1/traces/{trace_id}", "queries.trace", READ, "One trace, in pieces", ("limit", "after")),
    Route("DELETE", "/api/v1/traces/{trace_id}", "queries.delete_trace", DELETE, "Delete one trace"),
    Route(
        "GET",
        "/api/v1/traces/{trace_id}/records",
        "queries.trace_records",
        READ,
        "The record lines of one trace",
        returns="application/x-ndjson",
    ),
    Route("GET", "/api/v1/traces/{trace_id}/scores", "queries.scores", READ, "The scores of one trace"),
    Route(
        "POST",
        "/api/v1/traces/{trace_id}/scores",
        "ingest.score",
        WRITE,
        "Score a trace: name, value, comment",
        receives="application/json",
    ),
    Route(
        "GET",
        "/api/v1/records",
        "queries.records",
        READ,
        "The record lines of many traces; the header X-Fluxloop-Next has the next cursor",
        (*_LIST, "order"),
        returns="application/x-ndjson",
    ),
    Route(
        "GET",
        "/api/v1/export",
        "queries.export",
        READ,
        "The record lines of all traces that match, oldest first",
        ("filters",),
        returns="application/x-ndjson",
    ),
    Route("GET", "/api/v1/sessions", "queries.sessions", READ, "List sessions", _LIST),
    Route(
        "GET",
        "/api/v1/totals",
        "queries.totals",
        READ,
        "Counts, errors, latencies, tokens and cost of observations",
        ("by", "step", "since", "until", "type", "name", "model"),
    ),
    Route("POST", "/api/traces", "ingest.trace", WRITE, "A trace of FluxLoop 0.1", receives="application/json"),
    Route(
        "POST",
        "/api/traces/{trace_id}/observations",
        "ingest.observation",
        WRITE,
        "An observation of FluxLoop 0.1",
        receives="application/json",
    ),
    Route("GET", "/api/v1/openapi.json", "openapi", None, "This document"),
    Route("GET", "/healthz", "health", None, "Whether the process lives", returns="text/plain"),
    Route("GET", "/readyz", "ready", None, "Whether the store can be written", returns="text/plain"),
    Route("GET", "/metrics", "metrics", READ, "Counters for Prometheus", returns="text/plain"),
)

PARAMETERS = {
    "limit": f"rows in one part, 1 to {MAX_PAGE}",
    "cursor": "the `next` of the part before",
    "after": "the `next` of the piece before",
    "order": "newest (the default) or oldest",
    "id": "the beginning or the end of a trace id; the other conditions are then ignored",
    "session": "a session; with DELETE its exact id",
    "user": "a user; with DELETE its exact id",
    "older_than": "a duration: traces that began before that time ago",
    "by": "name, type or model; without it one group",
    "step": "hour, day or week; without it one span",
    "since": "begun then or later: 2h, yesterday, 2026-11-28, 2026-11-28T14:30 (UTC)",
    "until": "begun before then; a day counts up to its end",
    "status": "success, error, cancelled, interrupted, abandoned, crashed or running",
    "name": "the name of the trace",
    "tag": "a tag of the trace",
    "model": "a model that was used",
    "type": "the type of an observation, such as TOOL",
    "observation": "the name of an observation",
    "metadata": "key, or key=value, in the metadata of the trace",
    "min_duration": "500ms, 2s, 1m30s",
    "max_duration": "500ms, 2s, 1m30s",
    "min_tokens": "a number of tokens",
    "max_tokens": "a number of tokens",
    "min_cost": "US dollars",
    "max_cost": "US dollars",
    "has_error": "true or false: whether an observation failed, also where that was caught",
    "text": "a text in a name, input, output or error, ignoring case",
}
"""Every parameter, and what it accepts."""


def openapi(version: str) -> dict[str, Any]:
    """Return the OpenAPI document."""
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "FluxLoop collector", "version": version},
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "schemas": {
                "Error": {
                    "type": "object",
                    "required": ["error"],
                    "properties": {"error": {"type": "string"}},
                }
            },
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    names = [name for given in route.parameters for name in (FILTERS if given == "filters" else (given,))]
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "query", "description": PARAMETERS[name], "schema": {"type": "string"}} for name in names
    ]
    if "{trace_id}" in route.path:
        parameters.append({"name": "trace_id", "in": "path", "required": True, "schema": {"type": "string"}})
    error = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}
    operation: dict[str, Any] = {
        "summary": route.summary,
        "operationId": route.endpoint.replace(".", "_"),
        "parameters": parameters,
        "responses": {
            "200": {"description": "done", "content": {route.returns: {}}},
            "default": {"description": "refused", **error},
        },
    }
    if route.right is not None:
        operation["security"] = [{"key": []}]
        operation["x-right"] = route.right
    if route.receives is not None:
        operation["requestBody"] = {"required": True, "content": {route.receives: {}}}
    return operation
