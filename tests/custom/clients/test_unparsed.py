"""
Functions that return an unparsed response of an SDK are recorded with its body, whether the SDK is instrumented or not.
"""

from __future__ import annotations

from typing import Any

import pytest
from encoding_aids import record

import fluxloop
import fluxloop_custom
from fluxloop.testing import capture

from .provider import QUESTION, Reply, completion, message


def ask(clients: Any, sdk: str, method: str) -> Any:
    """Return an unparsed response."""
    if sdk == "openai":
        return getattr(clients.openai().chat.completions, method).create(model="gpt-5", messages=QUESTION)
    return getattr(clients.anthropic().messages, method).create(model="claude", messages=QUESTION, max_tokens=9)


BODIES = {"openai": completion(), "anthropic": message()}


@pytest.mark.parametrize("is_instrumented", [True, False])
@pytest.mark.parametrize("sdk", ["openai", "anthropic"])
def test_a_raw_response_is_recorded_as_its_body(provider, clients, sdk, is_instrumented):
    """
    The output is what parsing gives, with its usage and model; the program gets the raw response.
    """
    provider.answers(Reply(BODIES[sdk]))
    with capture() as captured:
        if is_instrumented:
            fluxloop_custom.instrument_openai()
            fluxloop_custom.instrument_anthropic()
        with fluxloop.instrument("run"):
            raw = fluxloop.prompt(ask)(clients, sdk, "with_raw_response")
        fluxloop_custom.uninstrument_openai()
        fluxloop_custom.uninstrument_anthropic()

    [_, call] = captured.traces()[0].observations
    assert call.output == BODIES[sdk]
    assert call.model == BODIES[sdk]["model"]
    assert (call.usage.input_tokens, call.usage.output_tokens) == (12, 3)
    assert raw.parse().id == BODIES[sdk]["id"]


@pytest.mark.parametrize("sdk", ["openai", "anthropic"])
def test_a_streaming_response_is_not_read_for_recording(provider, clients, sdk):
    """
    Its body is recorded only if the program has read it.
    """
    provider.answers(Reply(BODIES[sdk]))

    with ask(clients, sdk, "with_streaming_response") as response:
        assert record(response)["status_code"] == 200
        assert "body" not in record(response)
        response.parse()
        assert record(response) == BODIES[sdk]
