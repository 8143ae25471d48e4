"""
Real responses of providers: served once over HTTP, recorded, and answered from the trace with equal objects.

All responses of the distributions are replayed if ``FLUXLOOP_RECORDED_RESPONSES`` is a folder with them, see
``make recorded-responses``.
"""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import Any

import pytest

import fluxloop
from fluxloop.testing import capture

from .provider import Reply
from .recorded_responses import Recorded, in_folder, selection
from .test_replaying import instrumented

__all__ = ["instrumented"]

FOLDER = os.environ.get("FLUXLOOP_RECORDED_RESPONSES")
pytestmark = pytest.mark.filterwarnings("ignore:The model:DeprecationWarning")
RESPONSES = list(in_folder(Path(FOLDER))) if FOLDER else selection()


def ask(recorded: Recorded, clients: Any) -> Any:
    """Send the request, and return the response, or all events of the stream."""
    if recorded.api == "messages":
        is_beta = "betas" in recorded.request or "mcp_servers" in recorded.request
        client = clients.anthropic()
        create = client.beta.messages.create if is_beta else client.messages.create
    else:
        client = clients.openai()
        resources = {"chat": client.chat.completions, "responses": client.responses, "embeddings": client.embeddings}
        create = resources[recorded.api].create
    known = inspect.signature(create).parameters
    given = {name: item for name, item in recorded.request.items() if name in known}
    more = {name: item for name, item in recorded.request.items() if name not in known}
    result = create(**given, extra_body=more or None, timeout=30)
    return list(result) if recorded.is_stream else result


def facts(value: Any) -> Any:
    """Return class and data of an object of an SDK."""
    return [facts(one) for one in value] if isinstance(value, list) else (type(value), value.model_dump(warnings=False))


@pytest.mark.parametrize("recorded", RESPONSES, ids=lambda one: one.name)
def test_a_real_response_is_replayed_as_an_equal_object(recorded, provider, clients):
    """
    Response or events are equal, of the same classes, with the same data; nothing is sent.
    """
    provider.answers(Reply(raw=recorded.response.encode(), is_stream=recorded.is_stream))
    with capture(replayable=True) as captured:
        first = ask(recorded, clients)
    provider.answers(Reply({"error": "not to be asked"}, status=500))

    with capture() as again, fluxloop.replay(captured.traces()) as replay:
        replayed = ask(recorded, clients)

    assert replayed == first
    assert facts(replayed) == facts(first)
    assert len(provider.requests) == 1
    assert replay.report().is_same
    assert again.outline() == captured.outline()
    assert not recorded.is_stream or first


@pytest.mark.parametrize("recorded", RESPONSES, ids=lambda one: one.name)
def test_an_ordinary_record_of_a_real_response_is_enough(recorded, provider, clients):
    """
    Without ``replayable``, text, tool calls and token counts are the recorded ones, unless the answer was cut.
    """
    provider.answers(Reply(raw=recorded.response.encode(), is_stream=recorded.is_stream))
    with capture() as captured:
        ask(recorded, clients)
    if recorded.api == "embeddings":
        pytest.skip("vectors are recorded in short form")
    if captured.trace.observations[0].truncated:
        pytest.skip("the answer was cut when it was recorded")

    with capture() as again, fluxloop.replay(captured.traces()):
        ask(recorded, clients)

    was, now = captured.trace.observations[0], again.trace.observations[0]
    assert now.output == was.output
    assert now.usage == was.usage, (was.usage, now.usage)
    assert len(provider.requests) == 1


def test_the_selection_has_every_api_streamed_and_not():
    """
    The file beside the tests is small, and has all kinds of responses.
    """
    found = {(one.api, one.is_stream) for one in selection() if one.api != "embeddings"}
    assert found == {(api, is_stream) for api in ("chat", "responses", "messages") for is_stream in (True, False)}
