"""
The API reference, the OpenAPI document and the collector have the same routes, rights and parameters.
"""

from __future__ import annotations

import re

import httpx
import pytest
from serving_aids import ROOT, ServerProcess

from fluxloop.cli.serve import serve
from fluxloop.collector.parameters import FILTERS
from fluxloop.collector.routes import PARAMETERS, ROUTES

REFERENCE = (ROOT / "docs" / "collector-api.md").read_text()


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """A client of a collector."""
    store = tmp_path_factory.mktemp("server") / "store.sqlite"
    with (
        ServerProcess("--store", store, "--log-level", "error") as server,
        httpx.Client(base_url=server.url, timeout=30) as client,
    ):
        yield client


def documented_routes():
    """Return method, path and right of each route in the table of the reference."""
    found = set()
    for routes, right in re.findall(r"^\| (`[A-Z]+ /.*?`) \| (\w+) \|", REFERENCE, re.MULTILINE):
        found |= {(method, path, right) for method, path in re.findall(r"`([A-Z]+) (/\S+)`", routes)}
    return found


def test_the_reference_has_every_route_and_no_other():
    """
    The table names the method, the path and the right of each.
    """
    rights = {"write": "write", "read": "read", "delete": "all", None: "none"}
    routes = {(route.method, route.path, rights[route.right]) for route in ROUTES}

    assert documented_routes() == routes - {("GET", "/api/v1/openapi.json", "none")}
    assert "`GET /api/v1/openapi.json`" in REFERENCE


def test_the_reference_describes_every_parameter():
    """
    Each name stands in it as code, and each is used by a route.
    """
    code = " ".join(re.findall(r"`([^`\n]+)`", REFERENCE.replace("```", "")))
    used = {
        name for route in ROUTES for given in route.parameters for name in (FILTERS if given == "filters" else [given])
    }

    assert {name for name in PARAMETERS if not re.search(rf"\b{name}\b", code)} == set()
    assert used == {*PARAMETERS}


def test_the_document_describes_what_the_collector_accepts(client):
    """
    Each parameter has a description and is read; any other one is refused by every route that reads.
    """
    document = client.get("/api/v1/openapi.json").json()
    described = {(method.upper(), path) for path, operations in document["paths"].items() for method in operations}
    assert described == {(route.method, route.path) for route in ROUTES}

    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"]
            assert all(one.get("description") or one["in"] == "path" for one in operation["parameters"])
            if method == "post" or not path.startswith("/api/v1/") or path.endswith("openapi.json"):
                continue
            address = path.format(trace_id="unknown")
            for one in (one for one in operation["parameters"] if one["in"] == "query"):
                answer = client.request(method, address, params={one["name"]: "?"})
                assert "unknown parameter" not in answer.text, (path, one["name"])
            assert "unknown parameter" in client.request(method, address, params={"nmae": "x"}).text, path


def test_the_options_in_the_files_for_running_it_exist():
    """
    The systemd unit, the container file and the text name options of ``fluxloop serve``.
    """
    page = (ROOT / "docs" / "collector.md").read_text()
    commands = re.findall(r'fluxloop"?,? "?serve([^`\n]*)', page.replace("\\\n", " "))
    options = {option for command in commands for option in re.findall(r"--[a-z-]+", command)}

    assert {"--api-key-file", "--retention", "--host"} <= options
    assert {option[2:].replace("-", "_") for option in options} <= {*serve.__annotations__, "help"}
