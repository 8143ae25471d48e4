"""A release of the Agents SDK that renames a private part costs detail: no exception, no status, and no data sent."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

RUNNER = Path(__file__).with_name("renamed_sdk.py")


def word(name: str, new: str) -> tuple[str, str]:
    """Return the change of one name, wherever it is a word of its own."""
    return rf"\b{name}\b", new


HIDDEN_FUNCTION = [word("the_func", "user_function"), ("__wrapped__ = _Fun", "original = _Fun")]

RENAMES: dict[str, dict[str, Any]] = {
    "the_func": {"changes": [word("the_func", "user_function")]},
    "the_func and __wrapped__": {"changes": HIDDEN_FUNCTION},
    "_invoke_tool_impl": {"changes": [word("_invoke_tool_impl", "_invoked")]},
    "_function_tool": {"changes": [word("_function_tool", "_its_tool")]},
    "_is_agent_tool": {"changes": [word("_is_agent_tool", "_runs_agent")]},
    "_exporter": {"changes": [word("_exporter", "_sink")]},
    "_processors": {"changes": [word("_processors", "_all")]},
    "_multi_processor": {"changes": [word("_multi_processor", "_multi")]},
    "func_tool": {"changes": [word("func_tool", "called_tool")]},
    "tool_call": {"local": "tool_call"},
    "result": {"local": "result"},
    "with_tool_function_span": {"changes": [word("with_tool_function_span", "in_span")]},
    "the text of a redacted error": {"changes": [(r"Error details are redacted\.", "Details are hidden.")]},
    "the text of a timeout": {"changes": [("timed out after", "took more than")]},
    "default_tool_timeout_error_message": {"changes": [word("default_tool_timeout_error_message", "timeout_text")]},
    "NoOpTrace": {"changes": [word("NoOpTrace", "SilentTrace")]},
    "ToolApprovalItem": {"changes": [word("ToolApprovalItem", "ApprovalItem")]},
}
"""Each part of the SDK that `fluxloop_custom.openai_agents.internals` reads, and how a release may rename it."""

ALL = {"changes": [change for rename in RENAMES.values() for change in rename.get("changes", ())]}

REPORTED = {
    "the_func and __wrapped__": "the function in a FunctionTool",
    "_processors": "TraceProvider._multi_processor",
    "_multi_processor": "TraceProvider._multi_processor",
    "func_tool": "a local variable func_tool or tool_call",
}
"""Parts without which detail is lost in every supported release, and their names in the report."""


class Collector(BaseHTTPRequestHandler):
    """Notes the path of each request to the SDK's tracing endpoint."""

    def do_POST(self) -> None:
        self.server.paths.append(self.path)  # type: ignore[attr-defined]
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        """Print nothing."""


def outcomes_of(renames: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Run `RUNNER` with *renames*; each outcome has what was recorded and how many requests were received."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    server.paths = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    numbered = [{**rename, "name": str(number)} for number, rename in enumerate(renames.values())]
    command = [sys.executable, str(RUNNER), f"http://127.0.0.1:{server.server_port}"]
    try:
        ran = subprocess.run(command, input=json.dumps(numbered), capture_output=True, text=True, timeout=240)
    finally:
        server.shutdown()
        server.server_close()
    lines = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
    assert len(lines) == len(renames), ran.stderr
    paths = server.paths  # type: ignore[attr-defined]
    return {
        name: {**line, "requests": paths.count(f"/{line['name']}")} for name, line in zip(renames, lines, strict=True)
    }


def check(outcome: dict[str, Any], unchanged: dict[str, Any]) -> None:
    """Compare *outcome* with that of the *unchanged* SDK."""
    assert "error" not in outcome, outcome["error"]
    assert outcome["endings"] == unchanged["endings"]
    assert (outcome["requests"], outcome["leaks"], outcome["dropped"]) == (0, False, 0)


def test_an_sdk_with_other_private_names_is_recorded_with_less_detail():
    """All names at once: same observations and statuses, nothing sent; with `keep_exporter`, the server receives it."""
    found = outcomes_of({"unchanged": {}, "all": ALL, "kept": {"keep_exporter": True}})

    check(found["all"], found["unchanged"])
    assert found["unchanged"]["missing"] == []
    assert all(any(name in line for line in found["all"]["missing"]) for name in REPORTED.values())
    assert (found["unchanged"]["requests"], found["kept"]["requests"] > 0) == (0, True)


@pytest.mark.slow
def test_each_private_name_alone_costs_detail_only():
    """One name after the other: same observations and statuses, nothing sent, and each loss is reported."""
    found = outcomes_of({"unchanged": {}, **RENAMES})

    for name in RENAMES:
        check(found[name], found["unchanged"])
    for name, reported in REPORTED.items():
        assert any(reported in line for line in found[name]["missing"])
