"""An exception raised from outside while an adapter works reaches the program, and nothing stays open."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from custom.agents_aid import Calls, Says, add, agent_of, recorded, run

from fluxloop import ObservationType
from fluxloop.testing import capture
from fluxloop.tracing.propagation import _current
from fluxloop_custom import openai_agents
from fluxloop_custom.openai_agents import internals, payloads, processor

pytestmark = [
    pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="needs POSIX signals"),
    pytest.mark.usefixtures("without_coverage"),
]

streamed_or_not = pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])


class TimeLimitError(Exception):
    """As Celery's SoftTimeLimitExceeded and RQ's JobTimeoutException are."""


@pytest.fixture(autouse=True, params=[TimeLimitError, KeyError, KeyboardInterrupt])
def error(request: pytest.FixtureRequest) -> Iterator[type[BaseException]]:
    """The exception that the handler of SIGALRM raises."""

    def on_alarm(signum: int, frame: object) -> None:
        raise request.param("too slow")

    before = signal.signal(signal.SIGALRM, on_alarm)
    yield request.param
    signal.signal(signal.SIGALRM, before)


def interrupt(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, at: int = 1) -> None:
    """Let SIGALRM arrive once, in the call number *at* of a function of the adapter."""
    function, calls = getattr(module, name), []

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == at:
            signal.raise_signal(signal.SIGALRM)
        return function(*args, **kwargs)

    monkeypatch.setattr(module, name, interrupted)


STEPS = {
    "a trace starts": (payloads, "trace_options", 1),
    "an agent starts": (payloads, "name_of", 1),
    "a model call starts": (internals, "model_call_here", 1),
    "a tool starts": (internals, "tool_call_here", 1),
    "a model call ends": (payloads, "model_call", 1),
    "a tool ends": (internals, "has_timed_out", 1),
    "an agent ends": (payloads, "agent", 1),
    "a trace ends": (processor, "Ending", 1),
}
"""What the adapter does when the signal arrives: a function that it calls then, and in which of its calls."""


@streamed_or_not
@pytest.mark.parametrize("step", STEPS)
def test_an_exception_from_outside_passes_the_processor(step, streamed, error, monkeypatch, caplog):
    """
    Each observation has an end, and the next run is recorded in full.

    The SDK catches and logs any `Exception` of a processor, so only others, such as Ctrl-C, end the run.
    """
    turns = (Calls("add", {"a": 1}), Says("three"))
    raises = pytest.raises(error) if not issubclass(error, Exception) else nullcontext()
    with recorded() as captured:
        ours = openai_agents.install()
        with monkeypatch.context() as patched, caplog.at_level(logging.ERROR, "openai.agents"), raises:
            interrupt(patched, *STEPS[step])
            asyncio.run(run(agent_of(*turns, tools=[add]), streamed=streamed))
        assert issubclass(error, Exception) == ("Error in trace processor" in caplog.text)
        assert (ours._spans, len(ours._ledger), processor._recorded_by) == ({}, 0, {})
        assert _current.get() is None
        asyncio.run(run(agent_of(*turns, tools=[add]), streamed=streamed))
        dropped = ours._client.report().dropped

    traces = captured.traces()
    assert dropped == 0
    assert {o.status for trace in traces for o in trace.observations} <= {"success", "error", "cancelled"}
    assert [o.type for o in traces[-1].observations].count(ObservationType.TOOL) == 1


def test_an_exception_from_outside_passes_the_recording_of_a_chatkit_response(error, monkeypatch):
    """The response raises it, and its observation has an end."""
    pytest.importorskip("chatkit")
    from chatkit.types import ProgressUpdateEvent
    from custom.airline import Airline, desk, thread_of

    from fluxloop_custom import chatkit

    class Working(Airline):
        @chatkit.traced_respond
        async def respond(self, thread: Any, item: Any, context: Any) -> AsyncIterator[Any]:
            yield ProgressUpdateEvent(text="looking")

    interrupt(monkeypatch, chatkit.internals, "dumped")

    async def respond() -> None:
        async for _ in Working(desk()).respond(thread_of("thr_1"), None, {}):
            pass

    with capture() as captured, pytest.raises(error, match="too slow"):
        asyncio.run(respond())

    (trace,) = captured.traces()
    assert trace.status == ("error" if issubclass(error, Exception) else "cancelled")
    assert _current.get() is None
