"""
Errors that a replay raises again, as objects with their arguments, attributes, groups and causes.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import openai
import pytest
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.runnables import RunnableLambda

import fluxloop
from fluxloop.encoding.typed import UntypedError
from fluxloop.encoding.typed_errors import built_error, typed_error
from fluxloop.testing import capture
from fluxloop_langchain import FluxLoopCallbackHandler


class QuotaError(Exception):
    """Wants other arguments than it keeps, and has attributes."""

    def __init__(self, code: int, *, retry_after: float) -> None:
        super().__init__(f"quota {code}")
        self.code, self.retry_after = code, retry_after


class GoneError(OSError):
    """Gives the built-in class other arguments than it gets."""

    def __init__(self, path: str) -> None:
        super().__init__(2, "gone", path)


class PairError(ValueError):
    """Has a text of its own."""

    def __init__(self, one: int, other: Any) -> None:
        self.one, self.other = one, other

    def __str__(self) -> str:
        return f"{self.one} and {self.other}"


def caused() -> KeyError:
    error = KeyError("x")
    error.__cause__ = QuotaError(429, retry_after=3.5)
    error.add_note("asked twice")
    return error


ERRORS: dict[str, BaseException] = {
    "attributes": QuotaError(429, retry_after=3.5),
    "other arguments": GoneError("f"),
    "a text of its own": PairError(1, {"a": (1, 2)}),
    "several arguments": ValueError("a", 2, None),
    "no arguments": RuntimeError(),
    "a file": FileNotFoundError(2, "no such file", "f"),
    "a decoding error": UnicodeDecodeError("utf-8", b"ab", 0, 1, "bad"),
    "an error as argument": RuntimeError(QuotaError(1, retry_after=0)),
    "a cause and notes": caused(),
    "a group": ExceptionGroup("many", [QuotaError(1, retry_after=0), ExceptionGroup("in", [OSError(2, "gone", "f")])]),
}


def facts(error: BaseException | None) -> Any:
    """Return all that a program can see of *error*."""
    if error is None:
        return None
    inside = getattr(error, "exceptions", ())
    args = [each for each in error.args if not isinstance(each, list | tuple | BaseException)]
    files = getattr(error, "errno", None), getattr(error, "filename", None), getattr(error, "reason", None)
    state = {name: str(value) for name, value in vars(error).items()}
    return type(error), str(error), args, state, files, [*map(facts, inside)], facts(error.__cause__)


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_is_raised_again_as_it_was(name):
    """
    In each call shape; the very call that failed gets it, among others that run at the same time.
    """

    @fluxloop.tool
    def plain(number: int) -> int:
        if number == 1:
            raise ERRORS[name]
        return number

    @fluxloop.tool
    async def stream(number: int) -> Any:
        yield number
        if number == 1:
            raise ERRORS[name]

    async def read(number: int) -> list[int]:
        return [item async for item in stream(number)]

    @fluxloop.agent
    async def program() -> list[Any]:
        calls = [*(asyncio.to_thread(plain, n) for n in range(3)), *(read(n) for n in range(3))]
        return await asyncio.gather(*calls, return_exceptions=True)

    def result() -> list[Any]:
        return [facts(one) if isinstance(one, BaseException) else one for one in asyncio.run(program())]

    with capture(replayable=True) as captured:
        expected = result()
    with capture(replayable=True) as again, fluxloop.replay(captured.traces()):
        assert result() == expected

    assert [index for index, one in enumerate(expected) if isinstance(one, tuple)] == [1, 4]
    assert sorted(again.outline().splitlines()) == sorted(captured.outline().splitlines())


def test_an_error_of_a_provider_has_its_attributes_inside_langchain():
    """
    Code that reads the status and the body of an error goes on as it did; the open response is left out.
    """
    import httpx

    def failing() -> openai.RateLimitError:
        response = httpx.Response(429, request=httpx.Request("POST", "http://127.0.0.1/v1"))
        return openai.RateLimitError("slow down", response=response, body={"code": "rate_limit"})

    class Limited(GenericFakeChatModel):
        def _generate(self, *args: Any, **kwargs: Any) -> Any:
            raise failing()

    model = Limited(messages=iter([]))
    chain = RunnableLambda(lambda text: model.invoke(text))

    def program() -> Any:
        with pytest.raises(openai.RateLimitError) as raised:
            chain.invoke("hi", {"callbacks": [FluxLoopCallbackHandler()]})
        return str(raised.value), raised.value.status_code, raised.value.body, raised.value.code

    with capture(replayable=True) as captured:
        expected = program()
    with capture(), fluxloop.replay(captured.traces()):
        assert program() == expected
    assert expected == ("slow down", 429, {"code": "rate_limit"}, "rate_limit")


@pytest.mark.parametrize(
    "change",
    [{"class": "os:system"}, {"class": "builtins:dict"}, {"class": "nowhere:Error"}, {"args": 5}, {"state": [1]}],
    ids=str,
)
def test_a_changed_record_builds_nothing_else(change):
    """
    Only exceptions of loaded packages are built.
    """
    encoded = {**json.loads(json.dumps(typed_error(ValueError("x")))), **change}
    with pytest.raises(UntypedError):
        built_error(encoded)
    assert "nowhere" not in sys.modules


def test_secrets_in_an_error_are_masked():
    """
    In its arguments and attributes, as in its text.
    """
    secret = "sk-proj-" + "a1B2" * 12

    @fluxloop.tool
    def fail() -> None:
        error = ValueError(f"the key {secret} is wrong")
        error.api_key = secret  # type: ignore[attr-defined]
        raise error

    with capture(replayable=True) as captured, pytest.raises(ValueError, match="is wrong"):
        fail()
    assert secret not in repr(captured.traces())
