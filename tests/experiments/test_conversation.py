"""
Conversations: scripts, limits, a model as supervisor, and failures of one run among several.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fluxloop import experiments
from fluxloop.errors import ConfigError


def agent(input, messages, conversation_state):
    """Answer with what was asked, and the number of messages so far."""
    if input == "break":
        raise ValueError("broken")
    return f"{input}/{len(messages)}/{len(conversation_state['turns'])}"


def conversation(inputs=("hello",), *, max_turns=8, supervisor=None, **config):
    config = {"multi_turn": {"enabled": True, "max_turns": max_turns, "supervisor": supervisor or {}}, **config}
    experiment = experiments.run(agent, list(inputs), config=config)
    return [row.data for row in sorted(experiment.rows(), key=lambda row: row.run)]


def script(*questions, **metadata):
    return {"provider": "mock", "metadata": {"scripted_questions": list(questions), **metadata}}


def test_a_script_is_asked_question_by_question():
    """
    The agent receives each message with the conversation so far; the row has all turns and why it ended.
    """
    (row,) = conversation(supervisor=script("and then?", mock_closing="thanks"))

    assert [(turn["role"], turn["content"], turn["source"]) for turn in row["conversation"]] == [
        ("user", "hello", "input"),
        ("assistant", "hello/1/1", "agent"),
        ("user", "and then?", "supervisor"),
        ("assistant", "and then?/3/3", "agent"),
        ("user", "thanks", "supervisor"),
    ]
    assert (row["termination_reason"], row["output"]) == ("script_complete", "and then?/3/3")
    assert row["conversation_state"]["metadata"]["iteration"] == 0


def test_a_conversation_ends_at_the_most_turns():
    """
    A supervisor that always continues is stopped.
    """
    (row,) = conversation(max_turns=3, supervisor={"provider": "mock", "metadata": {"mock_decision": "continue"}})

    assert sum(turn["role"] == "assistant" for turn in row["conversation"]) == 3
    assert row["termination_reason"] == "max_turns_reached"


def test_a_failing_conversation_does_not_end_the_others():
    """
    The run that fails has its error and the turns so far; the others are finished.
    """
    found = conversation(["a", "break", "c"], supervisor=script("break"), parallel_runs=2)
    fine = conversation(["a", "break", "c"], supervisor=script("ok"))

    assert [row["status"] for row in found] == ["error"] * 3
    assert len(found[0]["conversation"]) == 3
    assert [row["status"] for row in fine] == ["success", "error", "success"]


class Model(BaseHTTPRequestHandler):
    """An endpoint for chat completions, with scripted answers."""

    def do_POST(self):
        self.server.requests.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        status, text = self.server.answers.pop(0)
        content = json.dumps({"choices": [{"message": {"content": text}}]}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        """Print nothing."""


@pytest.fixture
def model():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    server.answers, server.requests = [], []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def decision(**fields):
    return 200, json.dumps(fields)


def test_a_model_decides_what_the_user_says(model):
    """
    The supervisor sees persona and conversation, and continues or ends it.
    """
    model.answers = [
        decision(decision="continue", next_user_message="more"),
        decision(decision="terminate", termination_reason="done", closing_user_message="bye"),
    ]
    supervisor = {"base_url": f"http://127.0.0.1:{model.server_port}"}
    personas = [{"name": "Ann", "description": "in a hurry"}]

    (row,) = conversation(supervisor=supervisor, personas=personas)

    assert [turn["content"] for turn in row["conversation"]] == ["hello", "hello/1/1", "more", "more/3/3", "bye"]
    assert row["termination_reason"] == "done"
    assert "Ann: in a hurry" in model.requests[0]["messages"][0]["content"]


@pytest.mark.parametrize(
    ("answer", "message"),
    [((200, "nonsense"), "did not answer with a decision"), ((429, ""), "answered 429"), ((200, "[]"), "a decision")],
)
def test_a_supervisor_that_fails_fails_its_run_only(model, answer, message):
    """
    Nonsense and an error status are the error of the run.
    """
    model.answers = [answer, decision(decision="terminate")]

    found = conversation(["a", "b"], supervisor={"base_url": f"http://127.0.0.1:{model.server_port}"})

    assert [row["status"] for row in found] == ["error", "success"]
    assert message in found[0]["error"]["message"]


def test_a_supervisor_without_a_key_is_an_error_at_the_start(monkeypatch):
    """
    OpenAI's endpoint needs a key; the message names the variables, and the way without one.
    """
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    with pytest.raises(ConfigError, match=r"set FLUXLOOP_SUPERVISOR_API_KEY or OPENAI_API_KEY, or use provider: mock"):
        conversation()
