"""
Sessions of pytest inside a test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module

import pytest

import fluxloop

# A session inside a test forgets the modules that it imports, so that each would import these again: which takes time,
# and an adapter would register twice what a replay needs.
for _module in (
    "fluxloop.experiments.parsing",
    "fluxloop.llm.prices",
    "fluxloop.pytest_plugin.experiments",
    "fluxloop.replay.functions",
    "fluxloop_custom.clients",
    "fluxloop_custom.openai_agents",
    "fluxloop_custom.installing",
    "fluxloop_langchain.hook",
    "fluxloop_langgraph",
):
    import_module(_module)

AGENT = """
import asyncio
import socket
import threading
from unittest.mock import ANY

import fluxloop
import pytest

@fluxloop.tool
def search(query, limit=3):
    return [query] * limit

@fluxloop.tool
def book(where):
    raise ValueError("fully booked")

@fluxloop.prompt(model="gpt-4o-mini")
def ask(text):
    return {"choices": [], "usage": {"prompt_tokens": 900, "completion_tokens": 100, "total_tokens": 1000}}

@fluxloop.agent
def short(query):
    return query

@fluxloop.agent
def agent(query):
    search(query)
    ask(query)
    try:
        book(where=query)
    except ValueError:
        return "sorry"
"""
"""The head of each test file: an agent with a model and two tools, where the second tool fails."""

Session = Callable[..., pytest.RunResult]


@pytest.fixture(autouse=True)
def _uninstalled() -> Iterator[None]:
    """Uninstall what the program of a session installs: it ran in this process."""
    before = set(fluxloop.installed())
    yield
    if new := set(fluxloop.installed()) - before:
        fluxloop.uninstall(*new)
    # A session may have imported the adapter again, whose hook stays registered with LangChain.
    for hook in getattr(import_module("langchain_core.tracers.context"), "_configure_hooks", []):
        if hasattr(hook[0], "handler"):
            hook[0].handler = None


@pytest.fixture(autouse=True)
def _isolated(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Set the options of all sessions inside tests: without plugins whose import takes most of their time.

    It uses `pytester`, which deletes the variable.
    """
    unused = [
        *("langsmith_plugin", "hypothesispytest", "anyio", "inline_snapshot", "syrupy", "pytest_cov", "timeout"),
        *("cacheprovider", "unraisableexception", "threadexception"),  # the last two collect garbage in each session
    ]
    options = " ".join(f"-p no:{name}" for name in unused)
    monkeypatch.setenv("PYTEST_ADDOPTS", f"{options} -o asyncio_default_fixture_loop_scope=function")
    monkeypatch.delenv("CI", raising=False)


@pytest.fixture
def session(pytester: pytest.Pytester) -> Session:
    """Run pytest on a file with these tests: ``session("def test_x(): ...", "-n2")``."""

    def run(tests: str, *options: str, in_process: bool = True, **files: str) -> pytest.RunResult:
        pytester.makeini("[pytest]\nasyncio_mode = auto\n")
        pytester.makepyfile(**{"test_it": AGENT + tests, **files})
        return pytester.runpytest_inprocess(*options) if in_process else pytester.runpytest_subprocess(*options)

    return run
