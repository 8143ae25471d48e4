"""
Replays and what interrupts them: signals, forks, threads that go on, streams that are closed or left.
"""

from __future__ import annotations

import contextvars
import os
import random
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import fluxloop
from fluxloop.answering import seams_open
from fluxloop.answering.late_imports import LateImports
from fluxloop.replay import block
from fluxloop.testing import Captured, capture
from fluxloop.tracing.calls import interceptors

ran: list[Any] = []


@fluxloop.tool
def more(number: int) -> int:
    """Add one."""
    ran.append(number)
    return number + 1


@fluxloop.prompt
def words(text: str) -> Iterator[str]:
    """Stream three words."""
    for word in ("one", "two", "three"):
        ran.append(word)
        yield word


@fluxloop.agent
def run(number: int) -> int:
    """Call the tool."""
    return more(number)


def recorded(call: Any, *args: Any) -> Captured:
    with capture() as captured:
        call(*args)
    ran.clear()
    return captured


needs_signals = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs signals of POSIX")


@needs_signals
@pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")  # in a destructor
def test_a_handler_that_raises_at_any_moment_leaves_nothing_open(without_coverage: None) -> None:
    """
    While a replay is opened, runs or is closed; the seed of the moments is in the message.
    """

    class Stop(Exception):
        """Raised by the handler."""

    def stop(*_: object) -> None:
        raise Stop

    captured = recorded(run, 1)
    with fluxloop.replay(captured.traces()):  # imports what it needs
        run(1)
    seed = random.randrange(10**6)
    moments = random.Random(seed)
    previous = signal.signal(signal.SIGALRM, stop)
    stopped = 0
    try:
        with capture():
            for _ in range(100):
                try:
                    signal.setitimer(signal.ITIMER_REAL, moments.uniform(0.00002, 0.002))
                    with fluxloop.replay(captured.traces()):
                        run(1)
                    signal.setitimer(signal.ITIMER_REAL, 0)
                except (Stop, fluxloop.ReplayMismatch):
                    stopped += 1
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, previous)

    assert stopped, seed
    assert not seams_open(), seed
    assert interceptors == [], seed
    assert not [one for one in sys.meta_path if isinstance(one, LateImports)], seed


class Left(Exception):
    """Raised where a block is left."""


class Interrupted(list[Any]):
    """A list to which nothing can be added."""

    def append(self, item: object) -> None:
        """Raise as a signal handler would."""
        raise Left


def test_a_handler_that_raises_between_two_callbacks_leaves_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The handler's exception arrives, and the first callback is removed again.
    """
    captured = recorded(run, 1)
    first, (_, second), *others = block._CALLBACKS
    monkeypatch.setattr(block, "_CALLBACKS", (first, (Interrupted(), second), *others))

    with pytest.raises(Left), fluxloop.replay(captured.traces()):
        pass

    assert interceptors == []
    assert not seams_open()


def test_a_block_that_is_not_left_is_open_only_while_it_lives() -> None:
    """
    As after a signal handler that raises just before ``__exit__`` begins, which no Python code can prevent.
    """
    captured = recorded(run, 1)

    def enter() -> None:
        block = fluxloop.replay(captured.traces())
        block.__enter__()
        assert run(1) == 2
        raise Left

    with pytest.raises(Left):
        enter()
    assert not seams_open()
    assert interceptors == []
    run(1)
    assert ran.pop() == 1
    with fluxloop.replay(captured.traces()):
        assert run(1) == 2
    assert ran == []
    assert not [one for one in sys.meta_path if isinstance(one, LateImports)]


@needs_signals
def test_a_handler_may_replay_while_a_replay_is_open() -> None:
    """
    Each gets its own answers.
    """
    first, second = recorded(run, 1), recorded(run, 5)
    found: list[int] = []

    def handle(*_: object) -> None:
        with fluxloop.replay(second.traces()):
            found.append(run(5))

    previous = signal.signal(signal.SIGUSR1, handle)
    try:
        with capture(), fluxloop.replay(first.traces()) as replay:
            signal.raise_signal(signal.SIGUSR1)
            assert run(1) == 2
    finally:
        signal.signal(signal.SIGUSR1, previous)
    assert found == [6]
    assert replay.report().is_same
    assert ran == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_a_forked_child_and_its_parent_are_both_answered() -> None:
    """
    The child has the answers as they were left at the fork.
    """
    captured = recorded(run, 1)
    with capture(), fluxloop.replay(captured.traces()):
        child = os.fork()
        if child == 0:
            try:
                os._exit(0 if run(1) == 2 and not ran else 1)
            finally:
                os._exit(2)
        assert run(1) == 2
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert ran == []


def test_a_thread_that_outlives_the_block_runs_for_real() -> None:
    """
    It carries the context of the block, whose replay is closed.
    """
    captured = recorded(run, 1)
    go, found = threading.Event(), []

    def later() -> None:
        go.wait(10)
        found.append(more(7))

    with capture(), fluxloop.replay(captured.traces()):
        run(1)
        thread = threading.Thread(target=contextvars.copy_context().run, args=(later,))
        thread.start()
    go.set()
    thread.join(10)

    assert found == [8]
    assert ran == [7]


def test_a_stream_that_is_closed_half_way_is_recorded_as_before() -> None:
    """
    The recording is of a stream that was closed there too; nothing runs.
    """

    @fluxloop.agent
    def half() -> list[str]:
        stream = words("x")
        found = [next(stream), next(stream)]
        stream.close()  # type: ignore[attr-defined]
        return found

    captured = recorded(half)
    with capture() as again, fluxloop.replay(captured.traces()) as replay:
        assert half() == ["one", "two"]

    assert again.outline() == captured.outline()
    assert replay.report().is_same
    assert ran == []


def test_a_stream_that_is_left_open_has_the_recorded_items_after_the_block() -> None:
    """
    It was answered when it was asked for, and does not run for real later.
    """
    kept: list[Any] = []

    @fluxloop.agent
    def begin() -> str:
        kept.append(words("x"))
        return next(kept[-1])

    @fluxloop.agent
    def whole() -> list[str]:
        return list(words("x"))

    captured = recorded(whole)
    with capture(), fluxloop.replay(captured.traces(), match="fifo"):
        assert begin() == "one"
        assert list(kept.pop()) == ["two", "three"]
        begin_again = kept
    assert begin_again == []
    assert ran == []


def test_nested_replays_have_their_own_answers() -> None:
    """
    The outer one has effect again at the end of the inner one.
    """
    outer, inner = recorded(run, 1), recorded(run, 5)
    with capture(), fluxloop.replay(outer.traces()) as first:
        with fluxloop.replay(inner.traces()) as second:
            assert run(5) == 6
        assert run(1) == 2
    assert first.report().is_same
    assert second.report().is_same
    assert ran == []
