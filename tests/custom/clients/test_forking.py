"""
Forks of requests: a response, messages or a model that replaces the recorded one.
"""

from __future__ import annotations

from typing import Any

import pytest

import fluxloop

from . import provider as api
from .provider import QUESTION, Reply
from .test_replaying import (
    CALLS,
    anthropic_messages,
    anthropic_stream,
    google_content,
    google_stream,
    instrumented,
    made,
    openai_chat,
    openai_chat_stream,
    openai_responses,
    record,
)

__all__ = ["instrumented"]

from fluxloop.testing import Captured, capture

OTHER = [{"role": "user", "content": "Capital of Spain?"}]


def fork(captured: Captured, call: Any, clients: Any, **options: Any) -> tuple[Any, Captured]:
    """Return the result of *call* with its only request changed, and the records."""
    only = captured.trace.observations[0].id
    with capture() as forked, fluxloop.replay(captured.traces(), fork_at=only, **options):
        return made(call, clients), forked


CASES = [openai_chat, openai_chat_stream, openai_responses, anthropic_messages, anthropic_stream, google_content]


@pytest.mark.parametrize("call", [*CASES, google_stream], ids=lambda call: call.__name__)
def test_a_text_is_a_response_of_the_sdk(call, provider, clients):
    """
    Nothing is sent; the record has the given text as its output.
    """
    _, captured = record(call, provider, clients)
    sent = len(provider.requests)

    _, forked = fork(captured, call, clients, output="Madrid")

    assert "Madrid" in str(forked.trace.observations[0].output)
    assert len(provider.requests) == sent


@pytest.mark.parametrize(
    ("call", "member", "given"),
    [
        (openai_chat, "messages", OTHER),
        (openai_responses, "input", "Capital of Spain?"),
        (anthropic_messages, "messages", OTHER),
        (google_content, "contents", "Capital of Spain?"),
    ],
    ids=["chat", "responses", "anthropic", "google"],
)
def test_other_messages_are_sent(call, member, given, provider, clients):
    """
    The rest of the request is as the program makes it.
    """
    _, captured = record(call, provider, clients)
    provider.answers(CALLS[call]())
    before = {name: item for name, item in provider.requests[-1].items() if name != member}

    fork(captured, call, clients, input=given)

    assert "Spain" in str(provider.requests[-1][member])
    assert {name: item for name, item in provider.requests[-1].items() if name != member} == before


@pytest.mark.parametrize("call", [openai_chat, openai_chat_stream, anthropic_messages], ids=lambda call: call.__name__)
def test_another_model_is_asked(call, provider, clients):
    """
    The messages are the recorded ones.
    """
    _, captured = record(call, provider, clients)

    fork(captured, call, clients, model="another-model")

    assert provider.requests[-1]["model"] == "another-model"
    assert provider.requests[-1]["messages"] == QUESTION


def test_another_model_of_google_is_in_the_path(provider, clients):
    """
    Google's clients name the model in the address.
    """
    _, captured = record(google_content, provider, clients)
    fork(captured, google_content, clients, model="gemini-next")
    assert "gemini-next:generateContent" in provider.paths[-1]


def test_a_whole_response_can_be_given(provider, clients):
    """
    As JSON, or as an object of the SDK.
    """
    response, captured = record(openai_chat, provider, clients)
    other = response.model_copy(update={"id": "other"})

    assert fork(captured, openai_chat, clients, output=other)[0].id == "other"
    assert fork(captured, openai_chat, clients, output=api.completion("Rome"))[0].choices[0].message.content == "Rome"


def test_a_model_object_is_an_error(provider, clients):
    """
    A client's request has the name of a model.
    """
    _, captured = record(openai_chat, provider, clients)
    provider.answers(Reply(api.completion()))
    with pytest.raises(fluxloop.ReplayMismatch, match="must be the name of a model"):
        fork(captured, openai_chat, clients, model=object())
