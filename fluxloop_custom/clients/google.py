"""
The requests of the clients of Google Gen AI, sync and async, of the Gemini API and of Vertex AI.

The client's resources send every request by the methods of one object, with the operation in the path
(``models/gemini-2.5-flash:generateContent``) and the JSON as a dict; a response has its JSON as text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fluxloop import ObservationType

from .requests import Body, Endpoint, Request, answer, json_of, listed, picked, vectors


def _content_question(body: Body) -> object:
    system = [{**one, "role": "system"} for one in _content(body.get("systemInstruction"), "system")]
    return [*system, *(message for content in listed(body.get("contents")) for message in _content(content, "user"))]


def _content(content: Any, role: str) -> list[Any]:
    """Return *content* as a message; its text where it has nothing else."""
    if not isinstance(content, Mapping):
        return [] if content is None else [{"role": role, "content": content}]
    parts = listed(content.get("parts") or [])
    texts = [part["text"] for part in parts if isinstance(part, Mapping) and set(part) == {"text"}]
    words = "".join(texts) if parts and len(texts) == len(parts) else parts
    return [{"role": content.get("role") or role, "content": words}]


def _embedding_question(body: Body) -> object:
    given = listed(body.get("requests") or body.get("instances") or [body])
    contents = [one.get("content") if isinstance(one, Mapping) else one for one in given]
    return [message["content"] for content in contents for message in _content(content, "user")]


_GENERATE = Endpoint("google_genai.generate_content", ObservationType.GENERATION, _content_question, answer)
_EMBED = Endpoint("google_genai.embed_content", ObservationType.EMBEDDING, _embedding_question, vectors)
_ENDPOINTS = {
    "generateContent": _GENERATE,
    "streamGenerateContent": _GENERATE,
    "embedContent": _EMBED,
    "batchEmbedContents": _EMBED,
}


def google_request(client: Any, http_method: str, path: str, request_dict: Any, *more: Any, **kwargs: Any) -> Any:
    """Return the request that a method of the client's is called with; None if it is not a model call."""
    model, _, operation = path.partition("?")[0].rpartition("/")[2].partition(":")
    endpoint = _ENDPOINTS.get(operation)
    if operation == "predict" and "content" in (listed(request_dict.get("instances") or [{}])[0] or {}):
        endpoint = _EMBED  # of Vertex AI; other instances are prompts of image models
    if endpoint is None:
        return None
    return Request(
        endpoint=endpoint,
        body=request_dict,
        model=model,
        provider="gcp.vertex_ai" if getattr(client, "vertexai", False) else "gcp.gen_ai",
        parameters={**(request_dict.get("generationConfig") or {}), **picked(request_dict, ("toolConfig",))},
        is_streamed=operation == "streamGenerateContent",
        args=(client, http_method, path, request_dict, *more),
        kwargs=kwargs,
        plain=lambda response: json_of(getattr(response, "body", None)),
    )
