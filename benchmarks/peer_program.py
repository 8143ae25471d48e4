"""
A program that another tracing library records, for `benchmarks.peers`. It imports nothing from this package.

    python peer_program.py                        print the installed libraries with their versions
    python peer_program.py NAME FOLDER COUNT      print the cost of a traced call, and the time of the last one

Each library is configured as documented, with its defaults, for a server that cannot be reached.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from statistics import median
from typing import Any

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

NOWHERE = "http://127.0.0.1:9"
"""An address that refuses connections immediately; a slow server would cost the libraries more."""

ROUNDS = 10
"""The number of rounds of bare and traced calls."""


# Each function returns the decorators for the agent and for the tool.


def fluxloop(folder: str) -> tuple[Decorator, Decorator]:
    import fluxloop

    fluxloop.configure(base_path=folder)
    return fluxloop.agent, fluxloop.tool


def langfuse(folder: str) -> tuple[Decorator, Decorator]:
    library = import_module("langfuse")
    library.Langfuse(public_key="pk-lf-0", secret_key="sk-lf-0", base_url=NOWHERE)
    return library.observe(as_type="agent"), library.observe(as_type="tool")


def langsmith(folder: str) -> tuple[Decorator, Decorator]:
    os.environ |= {"LANGSMITH_TRACING": "true", "LANGSMITH_ENDPOINT": NOWHERE, "LANGSMITH_API_KEY": "lsv2_0"}
    library = import_module("langsmith")
    return library.traceable(run_type="chain"), library.traceable(run_type="tool")


def phoenix(folder: str) -> tuple[Decorator, Decorator]:
    register = import_module("phoenix.otel").register
    provider = register(endpoint=f"{NOWHERE}/v1/traces", protocol="http/protobuf", batch=True, verbose=False)
    tracer = provider.get_tracer("benchmark")
    return tracer.agent, tracer.tool


def mlflow(folder: str) -> tuple[Decorator, Decorator]:
    library = import_module("mlflow")
    library.set_tracking_uri(NOWHERE)
    return library.trace(span_type="AGENT"), library.trace(span_type="TOOL")


def opik(folder: str) -> tuple[Decorator, Decorator]:
    os.environ |= {"OPIK_URL_OVERRIDE": f"{NOWHERE}/api", "OPIK_WORKSPACE": "default"}
    library = import_module("opik")
    return library.track, library.track(type="tool")


def logfire(folder: str) -> tuple[Decorator, Decorator]:
    library = import_module("logfire")
    nowhere = library.AdvancedOptions(base_url=NOWHERE)
    library.configure(token="pylf_v1_local_0", console=False, advanced=nowhere, inspect_arguments=False)
    return library.instrument(record_return=True), library.instrument(record_return=True)


PEERS = {
    "fluxloop": fluxloop,
    "langfuse": langfuse,
    "langsmith": langsmith,
    "arize-phoenix-otel": phoenix,
    "mlflow-tracing": mlflow,
    "opik": opik,
    "logfire": logfire,
}
"""The function that configures each library, by the name of its distribution."""


def installed() -> dict[str, str]:
    """Return the versions of the installed libraries, by name."""
    found = {}
    for name in PEERS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def main(name: str, folder: str, count: int) -> dict[str, float]:
    """Make *count* traced tool calls inside traced agents, and as many bare calls."""
    logging.disable()
    agent, tool = PEERS[name](folder)
    answer = {"answer": "The 07:58 and the 09:58 do; the 08:58 is sold out.", "score": 0.87}

    def search(query: str, limit: int = 10) -> dict[str, Any]:
        return answer

    def timed(call: Callable[..., Any]) -> float:
        begun = time.thread_time()
        for _ in range(count // ROUNDS):
            call("Which of the trains from Paris to Lyon tomorrow morning still have seats?")
        return (time.thread_time() - begun) / (count // ROUNDS) * 1e6

    traced = tool(search)

    def run() -> float:
        return timed(traced)

    ask = agent(run)
    ask()  # warms up
    added = [ask() - timed(search) for _ in range(ROUNDS)]
    return {"us": median(added), "done": time.time()}


if __name__ == "__main__":
    found = main(sys.argv[1], sys.argv[2], int(sys.argv[3])) if sys.argv[1:] else installed()
    print(json.dumps(found), flush=True)
