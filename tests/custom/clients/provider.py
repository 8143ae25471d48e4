"""
A model provider on this machine: an HTTP server that answers requests with what a test scripts.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

QUESTION = [{"role": "user", "content": "Capital of France?"}]


@dataclass
class Reply:
    """One response: a body as JSON, or events of a stream."""

    body: Any = None
    events: Iterable[Any] | None = None
    """Each is sent at once; a `threading.Event` among them is waited for, an exception breaks the connection."""
    raw: bytes | None = None
    """The whole body, as it was recorded elsewhere; with ``is_stream``, of a stream of events."""
    is_stream: bool = False
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    held_back: threading.Event | None = None
    """Set before the response is sent."""


class Provider:
    """The server; it answers requests with `replies` in their order, and the last reply again and again."""

    def __init__(self) -> None:
        self.replies: list[Reply] = []
        self.requests: list[dict[str, Any]] = []
        """The JSON of the requests so far."""
        self.paths: list[str] = []
        self.arrived = threading.Event()
        self.url = ""
        self.lock = threading.Lock()

    def answers(self, *replies: Reply) -> None:
        """Answer the next requests with *replies*."""
        self.replies = list(replies)

    def next_reply(self) -> Reply:
        """Return the reply to the next request."""
        with self.lock:
            return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


@contextmanager
def running() -> Iterator[Provider]:
    """Run a provider for a block."""
    provider = Provider()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(provider))
    provider.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()


def _handler(provider: Provider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            provider.requests.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            provider.paths.append(self.path)
            reply = provider.next_reply()
            provider.arrived.set()
            if reply.held_back is not None:
                reply.held_back.wait(20)
            try:
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                if reply.raw is not None:
                    self.send_header("content-type", "text/event-stream" if reply.is_stream else "application/json")
                    self.end_headers()
                    self.wfile.write(reply.raw)
                elif reply.events is None:
                    self.send_header("content-type", "application/json")
                    self.end_headers()
                    self.wfile.write(json.dumps(reply.body).encode())
                else:
                    self.send_header("content-type", "text/event-stream")
                    self.end_headers()
                    self._stream(reply.events)
            except OSError:
                """The client has gone."""

        def _stream(self, events: Iterable[Any]) -> None:
            for event in events:
                if isinstance(event, threading.Event):
                    event.wait(20)
                    continue
                if isinstance(event, Exception):
                    self.connection.shutdown(2)
                    return
                name = f"event: {event['type']}\n" if isinstance(event, dict) and "type" in event else ""
                data = event if isinstance(event, str) else json.dumps(event)
                self.wfile.write(f"{name}data: {data}\n\n".encode())
                self.wfile.flush()

        def log_message(self, *args: object) -> None:
            """Stay quiet."""

    return Handler


# What OpenAI answers.

_COUNTS = {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}


def completion(
    text: str | None = "Paris", *, calls: Any = None, finish: str = "stop", choices: int = 1
) -> dict[str, Any]:
    """Return a chat completion."""
    message = {"role": "assistant", "content": text, "refusal": None, **({"tool_calls": calls} if calls else {})}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-5-2025-08-07",
        "choices": [
            {"index": n, "message": message, "finish_reason": finish, "logprobs": None} for n in range(choices)
        ],
        "usage": _COUNTS,
    }


def chunks(*texts: str, finish: str = "stop") -> list[Any]:
    """Return the events of a streamed chat completion with its usage."""
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-5-2025-08-07"}

    def chunk(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        return {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}

    return [
        chunk({"role": "assistant", "content": ""}),
        *(chunk({"content": text}) for text in texts),
        chunk({}, finish),
        {**head, "choices": [], "usage": _COUNTS},
        "[DONE]",
    ]


def response(text: str = "Paris", *, output: list[Any] | None = None) -> dict[str, Any]:
    """Return an object of the Responses API."""
    message = {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": text, "annotations": []}],
    }
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": "completed",
        "model": "gpt-5-2025-08-07",
        "output": [message] if output is None else output,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": 12,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 3,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 15,
        },
    }


def response_events(*texts: str) -> list[Any]:
    """Return the events of a streamed response."""
    begun = {**response(output=[]), "status": "in_progress", "usage": None}
    at = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    item = {"type": "message", "id": "msg_1", "role": "assistant", "status": "in_progress", "content": []}
    part = {"type": "output_text", "text": "", "annotations": []}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.content_part.added", **at, "part": part},
        *({"type": "response.output_text.delta", **at, "delta": text, "logprobs": []} for text in texts),
        {"type": "response.completed", "response": response("".join(texts))},
    ]
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


def embeddings(*vectors: list[float]) -> dict[str, Any]:
    """Return a response of OpenAI's embeddings."""
    data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors)]
    usage = {"prompt_tokens": 4, "total_tokens": 4}
    return {"object": "list", "data": data, "model": "text-embedding-3-small", "usage": usage}


# What Anthropic answers.


def message(*content: Any, stop: str = "end_turn") -> dict[str, Any]:
    """Return a message of Anthropic's, by default with a text."""
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-next",
        "content": list(content) or [{"type": "text", "text": "Paris"}],
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": {"input_tokens": 12, "output_tokens": 3},
    }


def message_events(*texts: str) -> list[Any]:
    """Return the events of a streamed message."""
    begun = {**message(), "content": [], "stop_reason": None, "usage": {"input_tokens": 12, "output_tokens": 1}}
    return [
        {"type": "message_start", "message": begun},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}} for text in texts),
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"input_tokens": 12, "output_tokens": 3},
        },
        {"type": "message_stop"},
    ]


# What Google answers.


def content(*parts: Any, finish: str | None = "STOP") -> dict[str, Any]:
    """Return a response of Gemini, by default with a text."""
    return {
        "candidates": [
            {
                "content": {"role": "model", "parts": list(parts) or [{"text": "Paris"}]},
                "finishReason": finish,
                "index": 0,
            }
        ],
        "usageMetadata": {"promptTokenCount": 12, "candidatesTokenCount": 3, "totalTokenCount": 15},
        "modelVersion": "gemini-2.5-flash",
        "responseId": "resp-1",
    }
