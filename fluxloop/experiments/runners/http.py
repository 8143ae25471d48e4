"""
Run an agent behind an HTTP endpoint, which answers with JSON, text or server-sent events.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx

from ..agents import Agent
from ..binding import Offer
from ..configuration.models import HttpRunner
from ..inputs import PlannedRun
from ..stream_text import StreamText, value_at

OUTPUT_PATHS = ("output", "response", "answer", "message.content", "message", "text", "content", "result")
"""Where the output is looked for in a JSON answer; the whole answer if it is in none of them."""

MAX_SHOWN = 200
"""Characters of an error's body that are shown."""


class HttpSource:
    """Sends each input to *config*'s endpoint. The connections are shared by all runs."""

    def __init__(self, config: HttpRunner) -> None:
        self.name = f"{config.method} {config.url}"
        self.config = config
        self._client: httpx.AsyncClient | None = None

    @property
    def client(self) -> httpx.AsyncClient:
        """The client, created in the event loop that uses it. Its limits are those of the experiment."""
        if self._client is None:
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
            self._client = httpx.AsyncClient(timeout=self.config.timeout, limits=limits, headers=self.config.headers)
        return self._client

    def agent(self, planned: PlannedRun) -> Agent:
        """Return the agent of one run."""
        return _HttpAgent(self)

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()


class EndpointError(RuntimeError):
    """The endpoint cannot be reached, or answered with an error."""


class _HttpAgent:
    def __init__(self, source: HttpSource) -> None:
        self._source, self._config = source, source.config

    async def answer(self, offer: Offer) -> Any:
        config = self._config
        body = filled(config.body_template, offer) if config.body_template is not None else _body(offer)
        url = filled(config.url, offer)
        headers = {"Accept": "text/event-stream"} if config.stream == "sse" else {}
        is_get = config.method.upper() == "GET"
        sent: dict[str, Any] = {"params": body} if is_get else {"json": body}
        try:
            async with self._source.client.stream(config.method.upper(), url, headers=headers, **sent) as response:
                if response.status_code >= 400:
                    text = (await response.aread()).decode(errors="replace")
                    raise EndpointError(f"{self._source.name} answered {response.status_code}: {text[:MAX_SHOWN]}")
                is_stream = "text/event-stream" in response.headers.get("content-type", "")
                if config.stream == "sse" or is_stream:
                    return await self._streamed(response)
                content = await response.aread()
        except httpx.HTTPError as exc:
            raise EndpointError(f"{self._source.name}: {exc or type(exc).__name__}") from exc
        return self._output(content)

    async def _streamed(self, response: httpx.Response) -> Any:
        wanted = set(self._config.stream_event_filter)
        text = StreamText(self._config.stream_output_path)
        async for event, data in events_of(response):
            if not wanted or event in wanted:
                text.add(data)
        return text.output

    def _output(self, content: bytes) -> Any:
        try:
            answer = json.loads(content)
        except ValueError:
            return content.decode(errors="replace")
        if self._config.output_path:
            return value_at(answer, self._config.output_path)
        paths = OUTPUT_PATHS if isinstance(answer, dict) else ()
        return next((value for path in paths if (value := value_at(answer, path)) is not None), answer)

    async def close(self) -> None:
        """Do nothing: the connections are shared."""


async def events_of(response: httpx.Response) -> AsyncIterator[tuple[str, Any]]:
    """Yield the server-sent events of *response*: name, and data as JSON, or as text if it is none."""
    event, lines = "message", []
    async for line in response.aiter_lines():
        if line.startswith("data:"):
            lines.append(line[5:].removeprefix(" "))
        elif line.startswith("event:"):
            event = line[6:].strip()
        elif not line and lines:
            data = "\n".join(lines)
            if data != "[DONE]":
                yield event, _decoded(data)
            event, lines = "message", []
    if lines and (data := "\n".join(lines)) != "[DONE]":
        yield event, _decoded(data)


def _decoded(data: str) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return data


def _body(offer: Offer) -> dict[str, Any]:
    """Return the JSON body of an endpoint without a template."""
    body: dict[str, Any] = {"input": offer.value, "session_id": offer.session_id}
    if offer.messages:
        body["messages"] = offer.messages
    if offer.persona is not None:
        body["persona"] = offer.persona.name
    return body


def filled(template: Any, offer: Offer) -> Any:
    """Return *template* with the names in braces replaced; a text that is one such name becomes the value itself."""
    values = {
        "{input}": offer.value,
        "{persona}": offer.persona.name if offer.persona else "",
        "{session_id}": offer.session_id,
        "{iteration}": offer.iteration,
        "{messages}": offer.messages,
    }
    if isinstance(template, dict):
        return {key: filled(item, offer) for key, item in template.items()}
    if isinstance(template, list):
        return [filled(item, offer) for item in template]
    if not isinstance(template, str):
        return template
    if template in values:
        return values[template]
    for name, value in values.items():
        if name in template:
            template = template.replace(name, value if isinstance(value, str) else json.dumps(value, default=str))
    return template
