"""
Agents behind HTTP endpoints and in processes, on this machine.
"""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fluxloop import experiments


class Handler(BaseHTTPRequestHandler):
    """Answers as agents do: JSON, text, server-sent events, errors."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.received.append((body, dict(self.headers)))
        status, kind, content = self.server.answers[self.path](body)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        """Print nothing."""


def events(*items):
    return (
        "".join(f"event: {event}\ndata: {json.dumps(data)}\n\n" for event, data in items).encode() + b"data: [DONE]\n\n"
    )


ANSWERS = {
    "/json": lambda body: (200, "application/json", json.dumps({"output": "got " + body["input"]}).encode()),
    "/nested": lambda body: (200, "application/json", json.dumps({"a": [{"b": body["q"]["text"]}]}).encode()),
    "/text": lambda body: (200, "text/plain", b"plain"),
    "/sse": lambda body: (
        200,
        "text/event-stream",
        events(("delta", {"delta": "Hel"}), ("note", {"delta": "NO"}), ("delta", {"delta": "lo"})),
    ),
    "/error": lambda body: (503, "text/plain", b"try later"),
}


@pytest.fixture
def server():
    """A server on this machine; its address is `server.url`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.answers, server.received = ANSWERS, []
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def run(runner, inputs=("x",), **config):
    experiment = experiments.run(inputs=list(inputs), config={"runner": runner, **config})
    return [row.data for row in sorted(experiment.rows(), key=lambda row: row.run)]


@pytest.mark.parametrize(
    ("http", "output"),
    [
        ({"url": "/json"}, "got x"),
        ({"url": "/nested", "body_template": {"q": {"text": "<{input}>"}}, "output_path": "a.0.b"}, "<x>"),
        ({"url": "/text"}, "plain"),
        ({"url": "/sse", "stream": "sse", "stream_event_filter": ["delta"]}, "Hello"),
        ({"url": "/sse", "stream_event_filter": "delta", "stream_output_path": "delta"}, "Hello"),
    ],
)
def test_an_endpoint_is_an_agent(server, http, output):
    """
    JSON, text and server-sent events become the output; the body follows the template.
    """
    (row,) = run({"http": {**http, "url": server.url + http["url"], "headers": {"X-Key": "k"}}})

    assert (row["status"], row["output"]) == ("success", output)
    assert server.received[0][1]["X-Key"] == "k"


def test_an_endpoint_that_fails_fails_the_run(server):
    """
    An error status and an unreachable endpoint are errors of the run, with the endpoint's name.
    """
    (busy,) = run({"http": {"url": server.url + "/error"}})
    (gone,) = run({"http": {"url": "http://127.0.0.1:9/"}})

    assert busy["error"]["message"] == f"POST {server.url}/error answered 503: try later"
    assert gone["error"]["message"].startswith("POST http://127.0.0.1:9/: ")


AGENT = """
import json, os, sys, time
turn = 0
print("log line, not JSON", flush=True)
print("READY", flush=True)
for line in sys.stdin:
    message = json.loads(line)
    text, turn = message["input"], turn + 1
    if text == "crash":
        print("reason", file=sys.stderr, flush=True)
        os._exit(3)
    if text == "error":
        print(json.dumps({"type": "error", "message": "no luck"}), flush=True)
    elif text == "sleep":
        time.sleep(60)
    elif text == "stream":
        for part in ("Hel", "lo"):
            print(json.dumps({"type": "delta", "text": part}), flush=True)
        print(json.dumps({"type": "final"}), flush=True)
    else:
        print(json.dumps({"type": "final", "output": [text, turn, message["context"]["iteration"]]}), flush=True)
"""


def test_a_process_is_an_agent(tmp_path):
    """
    Each run is a process of its own; an error, a crash and a timeout fail their run only.
    """
    (tmp_path / "agent.py").write_text(AGENT)
    process = {"command": [sys.executable, "agent.py"], "ready_pattern": "^READY"}

    found = run(
        {"process": process, "timeout_seconds": 2}, ["hi", "stream", "error", "crash", "sleep"], parallel_runs=5
    )

    assert [row["output"] for row in found] == [["hi", 1, 0], "Hello", None, None, None]
    messages = [row["error"]["message"] for row in found[2:]]
    assert messages[0] == "no luck"
    assert messages[1].endswith("agent.py ended with exit code 3 before it answered: reason")
    assert found[4]["status"] == "timeout"


def test_a_process_keeps_its_state_through_a_conversation(tmp_path):
    """
    The turns of a run go to one process.
    """
    (tmp_path / "agent.py").write_text(AGENT)
    supervisor = {"provider": "mock", "metadata": {"scripted_questions": ["second"]}}

    (row,) = run(
        {"process": {"command": f"{sys.executable} agent.py"}}, multi_turn={"enabled": True, "supervisor": supervisor}
    )

    assert row["output"] == ["second", 2, 0]


def test_a_command_that_does_not_exist_fails_the_run():
    """
    The error names the command.
    """
    (row,) = run({"process": {"command": "no-such-command --x"}})

    assert row["error"]["message"] == "cannot start no-such-command --x: No such file or directory"


CHATTY = """
import json, sys
sys.stderr.write("e" * 300_000 + "\\n")
for line in sys.stdin:
    asked = json.loads(line)["input"]
    print("not JSON", "[" * 5_000, "[1]", '"text"', "null", "x" * asked, sep="\\n")
    print(json.dumps({"type": "final", "output": asked}), flush=True)
"""


def test_a_process_may_write_anything_else(tmp_path, monkeypatch):
    """
    Lines that are not the protocol are skipped, of any length on stderr; a line of stdout beyond the limit is an error.
    """
    monkeypatch.setattr("fluxloop.experiments.runners.process.LINE_LIMIT", 100_000)
    (tmp_path / "agent.py").write_text(CHATTY)

    short, long = run({"process": {"command": [sys.executable, "agent.py"]}}, [10, 200_000])

    assert (short["status"], short["output"]) == ("success", 10)
    assert "agent.py wrote a line that is longer than" in long["error"]["message"]
