"""
Secrets that were masked in answers: a replay puts them back where the user gives them, and the records stay masked.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pydantic
import pytest

import fluxloop
from fluxloop.errors import FluxLoopWarning, ReplayError
from fluxloop.testing import capture

KEY = "sk-abcdefghijklmnopqrstuvwxyz0123456789"
OTHER = "sk-zyxwvutsrqponmlkjihgfedcba9876543210"


class Session(pydantic.BaseModel):
    """What a login returns."""

    user: str
    api_key: str


@fluxloop.tool
def login(user: str) -> Session:
    """Return an object with a secret."""
    return Session(user=user, api_key=KEY)


@fluxloop.tool
def page(url: str) -> list[str]:
    """Return texts with secrets inside."""
    return ["a page", f"curl -H 'Authorization: Bearer {OTHER}' {url}"]


@fluxloop.prompt
async def tokens(text: str) -> AsyncIterator[dict[str, str]]:
    """Stream a secret."""
    yield {"text": text}
    yield {"api_key": KEY}


async def read() -> list[Any]:
    return [item async for item in tokens("hi")]


@fluxloop.agent
def run() -> Any:
    """Call all three."""
    return login("ann"), page("https://example.org"), asyncio.run(read())


def recorded() -> tuple[Any, Any]:
    with capture(replayable=True) as captured:
        return run(), captured


def test_the_program_gets_the_whole_answers_and_the_records_stay_masked(recwarn):
    """
    By the name of the member, or of the call; objects are of their class, no warning, and the report has no mask.
    """
    expected, captured = recorded()

    with capture() as again, fluxloop.replay(captured.traces(), secrets={"api_key": KEY, "page": OTHER}) as replay:
        found = run()

    assert found == expected
    assert type(found[0]) is Session
    assert not [one for one in recwarn if issubclass(one.category, FluxLoopWarning)]
    assert replay.report().masked == ()
    assert replay.report().is_same
    texts = [json.dumps(trace.model_dump(mode="json")) for trace in [*captured.traces(), *again.traces()]]
    assert not [text for text in texts if KEY in text or OTHER in text]
    assert KEY not in repr(replay.report())


def test_a_secret_that_is_not_given_stays_masked_with_a_warning():
    """
    The warning and the report name the call, and the digest does not depend on the secrets.
    """
    _, captured = recorded()

    with capture(), pytest.warns(FluxLoopWarning, match=r"TOOL 'page'.*secrets="):
        with fluxloop.replay(captured.traces(), secrets={"api_key": KEY}) as one:
            run()
    with capture(), fluxloop.replay(captured.traces(), secrets={"api_key": OTHER, "page": KEY}) as other:
        run()

    assert one.report().masked == ("TOOL 'page'",)
    assert one.report().digest == other.report().digest


def test_a_cassette_takes_secrets_too(tmp_path):
    """
    The file has none of them.
    """
    path = tmp_path / "case.jsonl"
    secrets = {"api_key": KEY, "page": OTHER}
    with fluxloop.cassette(path, secrets=secrets):
        expected = run()
    with fluxloop.cassette(path, "none", secrets=secrets):
        assert run() == expected
    assert KEY not in path.read_text()
    assert OTHER not in path.read_text()


@pytest.mark.parametrize(
    ("secrets", "message"),
    [(["api_key"], "a mapping of names to secrets, got list"), ({"api_key": None}, "got NoneType for 'api_key'")],
)
def test_other_secrets_are_an_error_without_their_values(secrets, message):
    """
    The message has names and types only.
    """
    _, captured = recorded()
    with pytest.raises(ReplayError, match=message):
        fluxloop.replay(captured.traces(), secrets=secrets)
