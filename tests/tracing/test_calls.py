"""One recording path, four call shapes: nothing about a call changes but that it is recorded."""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fluxloop
from fluxloop.testing import capture


class NotedError(Exception):
    """Thrown in by scripts."""


def plain(a: int, b: int = 2, *, c: int = 3) -> int:
    """Add."""
    return a + b + c


async def coroutine(a: int, b: int = 2, *, c: int = 3) -> int:
    """Add."""
    return a + b + c


def generator(a: int, b: int = 2, *, c: int = 3) -> Iterator[int]:
    """Count."""
    yield from (a, b, c)


async def async_generator(a: int, b: int = 2, *, c: int = 3) -> AsyncIterator[int]:
    """Count."""
    for item in (a, b, c):
        yield item


SHAPES = [plain, coroutine, generator, async_generator]
KINDS = [
    inspect.isfunction,
    inspect.iscoroutinefunction,
    inspect.isgeneratorfunction,
    inspect.isasyncgenfunction,
    asyncio.iscoroutinefunction,
]
DECORATORS = [
    fluxloop.agent,
    fluxloop.agent(),
    fluxloop.trace,
    fluxloop.tool(name="x", description="y"),
    fluxloop.prompt(model="m"),
    fluxloop.instrument("x"),
    fluxloop.instrument(),
]


def run(func: Any, *args: Any, **kwargs: Any) -> Any:
    """Call a function of any shape, and return all it gives."""
    if inspect.isasyncgenfunction(func):

        async def collect() -> list[Any]:
            return [item async for item in func(*args, **kwargs)]

        return asyncio.run(collect())
    if inspect.isgeneratorfunction(func):
        return list(func(*args, **kwargs))
    if inspect.iscoroutinefunction(func):
        return asyncio.run(func(*args, **kwargs))
    return func(*args, **kwargs)


@pytest.mark.parametrize("func", SHAPES)
@pytest.mark.parametrize("decorate", DECORATORS)
def test_a_decorated_function_answers_every_question_as_the_plain_one(func, decorate):
    """Signature, name, doc, `__wrapped__` and kind are unchanged."""
    decorated = decorate(func)

    assert inspect.signature(decorated) == inspect.signature(func)
    assert decorated.__wrapped__ is func
    assert (decorated.__name__, decorated.__doc__, decorated.__module__) == (
        func.__name__,
        func.__doc__,
        func.__module__,
    )
    assert [kind(decorated) for kind in KINDS] == [kind(func) for kind in KINDS]


@pytest.mark.parametrize("func", SHAPES)
@pytest.mark.parametrize("decorate", DECORATORS)
@pytest.mark.parametrize("enabled", [True, False])
def test_a_decorated_function_gives_what_the_plain_one_gives(func, decorate, enabled):
    """Results are unchanged inside a trace, outside one, and with tracing off."""
    decorated = decorate(func)

    with capture(enabled=enabled):
        outside = run(decorated, 1, b=5)
        with fluxloop.instrument("scope"):
            inside = decorated(1, b=5) if func is plain or func is coroutine else None
            inside = asyncio.run(inside) if inspect.iscoroutine(inside) else inside

    assert outside == run(func, 1, b=5)
    assert inside in (None, run(func, 1, b=5))


@pytest.mark.parametrize("func", SHAPES)
def test_arguments_are_captured_by_name_with_defaults(func):
    """`f(1, b=5)` is recorded as all its parameters."""
    with capture() as captured:
        run(fluxloop.agent(func), 1, b=5)

    assert captured.traces()[0].observations[0].input == {"a": 1, "b": 5, "c": 3}


@pytest.mark.parametrize("func", SHAPES)
def test_wrong_arguments_fail_as_they_do_without_us(func):
    """The function's own TypeError comes through, with its own words."""
    with pytest.raises(TypeError) as expected:
        run(func, 1, z=9)

    with capture(), pytest.raises(TypeError) as got:
        run(fluxloop.agent(func), 1, z=9)

    assert str(got.value) == str(expected.value)


def test_stacked_decorators_unwrap_to_the_innermost_function():
    """Frameworks look through one `__wrapped__` only."""
    assert fluxloop.agent(fluxloop.tool(plain)).__wrapped__ is plain


def test_methods_are_recorded_without_self():
    """Methods, static and class methods work in either order, and `self` is not dumped."""

    class Agent:
        @fluxloop.agent
        def method(self, a: int) -> int:
            return a

        @fluxloop.agent
        @classmethod
        def outer_class(cls, a: int) -> int:
            return a

        @classmethod
        @fluxloop.agent
        def inner_class(cls, a: int) -> int:
            return a

        @fluxloop.agent
        @staticmethod
        def outer_static(a: int) -> int:
            return a

        @staticmethod
        @fluxloop.agent
        def inner_static(a: int) -> int:
            return a

    with capture() as captured:
        agent = Agent()
        calls = [agent.method, agent.outer_class, Agent.inner_class, agent.outer_static, Agent.inner_static]
        results = [call(a=7) for call in calls]

    assert results == [7] * 5
    assert [trace.observations[0].input for trace in captured.traces()] == [{"a": 7}] * 5


def test_a_partial_keeps_its_name_and_its_remaining_signature():
    """`functools.partial` is recorded under its function's name."""
    with capture() as captured:
        result = fluxloop.agent(functools.partial(plain, 1))(2)

    assert result == 6
    assert captured.outline() == "AGENT plain -> 6"


class CallableObject:
    def __call__(self) -> int:
        return 1


@pytest.mark.parametrize(
    ("target", "advice"),
    [
        (42, "takes a name as text, or the function itself, got 42"),
        (CallableObject(), "Decorate its __call__ method"),
        (CallableObject, "Put the decorator on a method"),
        (object(), "framework's decorator outermost"),
        (property(plain), "below @property"),
        (functools.cached_property(plain), "below @cached_property"),
        ((item for item in ()), "the result of a call. Pass the function itself"),
    ],
)
def test_a_decorator_on_something_else_than_a_function_says_what_to_do(target, advice):
    """What cannot be recorded is refused at decoration, each kind with the advice that fits it."""
    with pytest.raises(TypeError, match=advice) as refused:
        fluxloop.tool(target)

    assert ("Unknown tool type" in str(refused.value)) == (type(target) is object)


def test_a_wrong_observation_type_lists_the_right_ones():
    """The message names every type there is."""
    with pytest.raises(ValueError, match="Expected one of: agent, span, tool, generation, retrieval, embedding"):
        fluxloop.trace(observation_type="zzz")


# A script: what a consumer does to a generator, step by step.
STEPS = st.one_of(
    st.just(("next",)),
    st.tuples(st.just("send"), st.integers(0, 3)),
    st.tuples(
        st.just("throw"), st.sampled_from([NotedError, ValueError, GeneratorExit, KeyboardInterrupt, StopIteration])
    ),
    st.just(("close",)),
)
# A body: how a generator answers each resume.
MOODS = st.lists(st.sampled_from(["yield", "swallow", "translate", "return", "raise", "tool"]), max_size=5)


@fluxloop.tool
def inner(n: int) -> int:
    return n


RESISTS = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""Some bodies answer a close with one more item, and Python complains when they are collected: with us and without."""


def body_of(moods: list[str]) -> Any:
    def body() -> Any:
        got: list[object] = []
        for number, mood in enumerate(moods):
            try:
                if mood == "return":
                    return got
                if mood == "raise":
                    raise ValueError(number)
                if mood == "tool":
                    inner(number)
                got.append((yield (number, tuple(got))))
            except NotedError as exc:
                if mood == "swallow":
                    got.append("swallowed")
                elif mood == "translate":
                    raise ValueError("translated") from exc
                else:
                    raise
            except GeneratorExit:
                if mood == "swallow":
                    got.append("would not close")
                elif mood == "translate":
                    return got
                else:
                    raise
        return got

    return body


def async_body_of(moods: list[str]) -> Any:
    make = body_of(moods)

    async def body() -> Any:
        inside = make()
        try:
            item = next(inside)
            while True:
                try:
                    sent = yield item
                except BaseException as exc:
                    item = inside.throw(exc)
                else:
                    item = inside.send(sent)
        except StopIteration:
            return

    return body


def put_away(generator: Any) -> None:
    """Let a generator that resists being closed run out, so that its collection is silent."""
    for _ in range(10):
        try:
            generator.close()
        except (RuntimeError, ValueError):
            continue
        return


def play(generator: Any, script: list[tuple[Any, ...]]) -> list[object]:
    """Run *script* on a generator and note every answer."""
    answers: list[object] = []
    for action, *argument in script:
        try:
            if action == "next":
                answers.append(next(generator))
            else:
                answers.append(getattr(generator, action)(*argument))
        except BaseException as exc:
            answers.append((type(exc), str(exc), type(exc.__cause__)))
    put_away(generator)
    return answers


async def aplay(generator: Any, script: list[tuple[Any, ...]]) -> list[object]:
    answers: list[object] = []
    names = {"next": "__anext__", "send": "asend", "throw": "athrow", "close": "aclose"}
    for action, *argument in script:
        try:
            answers.append(await getattr(generator, names[action])(*argument))
        except BaseException as exc:
            answers.append((type(exc), str(exc), type(exc.__cause__)))
    for _ in range(10):
        with suppress(Exception):
            await generator.aclose()
    return answers


@RESISTS
@given(moods=MOODS, script=st.lists(STEPS, max_size=7), traced=st.booleans())
def test_a_decorated_generator_answers_any_script_as_the_plain_one(moods, script, traced):
    """Any next, send, throw and close gets the same answer with us as without."""
    plain_body = body_of(moods)
    decorated = (fluxloop.agent if traced else fluxloop.tool)(plain_body)

    with capture() as captured:
        answers = play(decorated(), script)

    assert answers == play(plain_body(), script)
    assert fluxloop.get_current_context() is None
    assert captured.storage is not None


@RESISTS
@given(moods=MOODS, script=st.lists(STEPS, max_size=7))
def test_a_returned_generator_answers_any_script_as_the_plain_one(moods, script):
    """A generator that a recorded function returns is handed on as it is."""
    plain_body = body_of(moods)

    with capture():
        answers = play(fluxloop.agent(lambda: plain_body())(), script)

    assert answers == play(plain_body(), script)


@RESISTS
@given(moods=MOODS, script=st.lists(STEPS, max_size=7), traced=st.booleans())
def test_a_decorated_async_generator_answers_any_script_as_the_plain_one(moods, script, traced):
    """The same for async generators."""
    plain_body = async_body_of(moods)
    decorated = (fluxloop.agent if traced else fluxloop.tool)(plain_body)

    async def both() -> tuple[list[object], list[object]]:
        return await aplay(decorated(), script), await aplay(plain_body(), script)

    with capture():
        answers, expected = asyncio.run(both())

    assert answers == expected


def test_a_recorded_call_adds_one_frame():
    """A recursive function that is recorded takes two frames a level, in a plain and in a coroutine function."""

    @fluxloop.tool
    def recursive(n: int) -> int:
        return recursive(n - 1) if n else depth()

    @fluxloop.tool
    async def recursive_coroutine(n: int) -> int:
        return await recursive_coroutine(n - 1) if n else depth()

    def depth() -> int:
        frame, count = sys._getframe(), 0
        while frame is not None:
            frame, count = frame.f_back, count + 1
        return count

    with capture(), fluxloop.instrument("run"):
        assert recursive(20) - recursive(10) == 20
        with closing(asyncio.new_event_loop()) as loop:
            deep, less = (loop.run_until_complete(recursive_coroutine(n)) for n in (20, 10))
            assert deep - less == 20
