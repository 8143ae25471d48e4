"""
Frameworks that a program first imports while a replay is open: their calls are refused, as if they had been loaded.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import offline
import pytest

import fluxloop
from fluxloop.answering.late_imports import LateImports
from fluxloop.testing import capture

PROGRAM = """
import asyncio, importlib.util, sys
import fluxloop
from fluxloop.testing import capture

def has(name):
    return importlib.util.find_spec(name) is not None

def chat():
    import openai
    openai.OpenAI(api_key="k", base_url=URL, max_retries=0).chat.completions.create(model="m", messages=[])

def message():
    import anthropic
    client = anthropic.Anthropic(api_key="k", base_url=URL, max_retries=0)
    client.messages.create(model="m", max_tokens=9, messages=[{"role": "user", "content": "hi"}])

def content():
    from google import genai
    genai.Client(api_key="k", http_options={"base_url": URL}).models.generate_content(model="m", contents="hi")

def langchain():
    from langchain_core.language_models import FakeListChatModel
    FakeListChatModel(responses=["never"]).invoke("x")

def agent():
    import agents, openai
    agents.set_tracing_disabled(True)
    model = agents.OpenAIChatCompletionsModel("m", openai.AsyncOpenAI(api_key="k", base_url=URL, max_retries=0))
    asyncio.run(agents.Runner.run(agents.Agent(name="A", model=model), "hi"))

URL, calls = sys.argv[1], {"langchain_core": langchain, "openai": chat, "anthropic": message, "google.genai": content}
calls["agents"] = agent
finders, refused = list(sys.meta_path), []
with capture() as captured, fluxloop.instrument("run"):
    pass
replay = fluxloop.replay(captured.traces(), match="loose")
try:
    with capture(), replay, fluxloop.instrument("run"):
        for name, call in calls.items():
            if not has(name.partition(".")[0]) or name == "google.genai" and not has(name):
                continue
            assert name == "openai" or name not in sys.modules, name
            try:
                call()
            except fluxloop.ReplayMismatch:
                refused.append(name)
            else:
                raise SystemExit(f"{name}: the model was called")
except fluxloop.ReplayMismatch:
    pass
assert sys.meta_path == finders
print(len(refused), len(replay.misses))
"""


@pytest.mark.timeout(120)
def test_a_framework_that_is_imported_in_a_replay_sends_nothing():
    """
    A server that counts what it is sent gets nothing; every call is a miss of the replay.
    """
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.path)
            self.send_error(500)

        def log_message(self, *args: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        command = [sys.executable, "-c", PROGRAM, f"http://127.0.0.1:{server.server_port}"]
        done = subprocess.run(command, env=offline.environment(), capture_output=True, text=True, timeout=100)
    finally:
        server.shutdown()
        server.server_close()

    assert done.returncode == 0, done.stderr
    refused, misses = done.stdout.split()
    assert refused == misses != "0"
    assert asked == []


def test_an_import_is_noticed_once_and_leaves_the_loader_as_it_was(tmp_path, monkeypatch):
    """
    Also if the module raises; other imports, and imports after the end, are not noticed.
    """
    for name, text in {"late_one": "x = 1", "late_two": "raise OSError", "late_three": ""}.items():
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    loaded: list[str] = []
    watch = LateImports({"late_one", "late_two"}, loaded.append)
    watch.open()
    try:
        import late_one
        import late_three  # noqa: F401

        with pytest.raises(OSError):
            import late_two  # noqa: F401
    finally:
        watch.close()
        watch.close()

    assert loaded == ["late_one"]
    assert "exec_module" not in vars(late_one.__loader__)
    assert watch not in sys.meta_path
    for name in ("late_one", "late_three"):
        del sys.modules[name]


def test_nothing_watches_imports_without_a_replay():
    """
    Nested replays use one finder, which is gone after the last.
    """
    before = list(sys.meta_path)
    with capture() as captured, fluxloop.instrument("run"):
        pass
    with capture(), fluxloop.replay(captured.traces(), match="fifo"):
        with fluxloop.replay(captured.traces(), match="fifo"):
            assert len(sys.meta_path) == len(before) + 1
        assert len(sys.meta_path) == len(before) + 1
    assert sys.meta_path == before
