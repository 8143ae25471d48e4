"""
What holds for a replay of every framework, in every shape of call and every mode of matching, see replayed_units.py.

No test may use the network: while a replay is open, a connection fails the test, also one to this machine.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from contracts.replayed_units import UNITS, Unit, other_input, other_model, ran
from custom.clients.provider import Provider, Reply, running

import fluxloop
import fluxloop_custom
from fluxloop.testing import Captured, capture
from fluxloop_custom import openai_agents
from fluxloop_langchain import FluxLoopCallbackHandler

VOLATILE = {
    *("id", "run_id", "parent_ids", "created_at", "thread_id", "item_id", "call_id", "sdk_http_response"),
}
"""Members that differ in each run."""

QUICK = [name for name, unit in UNITS.items() if unit.is_quick]
OTHERS = [pytest.param(name, marks=pytest.mark.slow) for name, unit in UNITS.items() if not unit.is_quick]
MODES = ["strict", *(pytest.param(mode, marks=pytest.mark.slow) for mode in ("fifo", "loose"))]

ALL_UNITS = pytest.mark.parametrize("name", [*QUICK, *OTHERS])


@pytest.fixture
def provider() -> Iterator[Provider]:
    """Run a provider of models."""
    with running() as started:
        yield started


@pytest.fixture(autouse=True)
def recorded_frameworks() -> Iterator[None]:
    """Record every framework, as `fluxloop.install` does."""
    from agents import set_trace_processors

    set_trace_processors([])
    openai_agents.install()
    fluxloop_custom.instrument_openai()
    fluxloop_custom.instrument_anthropic()
    fluxloop_custom.instrument_google_genai()
    ran.clear()
    yield
    fluxloop_custom.uninstrument_openai()
    fluxloop_custom.uninstrument_anthropic()
    fluxloop_custom.uninstrument_google_genai()
    openai_agents.uninstall()


@pytest.fixture
def offline_replay(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return a function that forbids every connection from now on; at the end, there was none."""
    tried: list[Any] = []

    def connect(connection: Any, address: Any) -> Any:
        tried.append(address)
        raise AssertionError(f"a replay connects to {address}")

    def forbid() -> None:
        for method in ("connect", "connect_ex"):
            monkeypatch.setattr(socket.socket, method, connect)

    yield forbid
    assert tried == []


def plain(value: Any) -> Any:
    """Return *value* as data, with objects as their classes and fields, without what differs in each run."""
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items() if name not in VOLATILE}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "model_dump"):
        return [type(value).__name__, plain(value.model_dump(warnings=False))]
    if type(value).__name__ == "Interrupt":  # its id differs
        return ["Interrupt", plain(value.value)]
    if type(value).__name__ == "Send":  # a task of LangGraph, with messages
        return ["Send", value.node, plain(value.arg)]
    return value


def flat(value: Any) -> list[str]:
    """Return the texts and numbers in *value*, sorted."""
    pending, found = [value], []
    while pending:
        item = pending.pop()
        pending += item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
        found += [] if isinstance(item, dict | list) else [repr(item)]
    return sorted(found)


def recorded(unit: Unit, provider: Provider) -> tuple[Any, Captured]:
    """Return the result of *unit*, run for real in an agent, and its records."""
    provider.answers(*unit.replies)
    with capture(replayable=True) as captured, fluxloop.instrument("program"):
        result = plain(unit.run(provider))
    ran.clear()
    provider.answers(Reply({"error": "not to be asked"}, status=500))
    return result, captured


@pytest.mark.parametrize("match", MODES)
@ALL_UNITS
def test_a_replay_gives_the_program_what_the_run_gave_it(
    name: str, match: Any, provider: Provider, offline_replay: Any
) -> None:
    unit = UNITS[name]
    expected, captured = recorded(unit, provider)
    sent = len(provider.requests)

    offline_replay()
    replay = fluxloop.replay(captured.traces(), match=match)
    with capture(replayable=True) as again, replay, fluxloop.instrument("program"):
        replayed = plain(unit.run(provider))

    if unit.is_parallel:
        assert flat(replayed) == flat(expected)
        assert sorted(again.outline().splitlines()) == sorted(captured.outline().splitlines())
    else:
        assert replayed == expected
        assert "ChatKit" in name or again.outline() == captured.outline()  # its ids of threads differ
    assert ran == []
    assert len(provider.requests) == sent
    assert replay.report().hits > 0
    assert replay.report().is_same


@ALL_UNITS
def test_a_fork_gives_the_first_step_another_answer(name: str, provider: Provider, offline_replay: Any) -> None:
    unit = UNITS[name]
    if unit.forked is None:
        pytest.skip("embeddings cannot be answered with a text")
    _, captured = recorded(unit, provider)
    steps = [one for one in captured.trace.observations if one.type.name in ("GENERATION", "TOOL", "RETRIEVAL")]

    offline_replay()
    with (
        capture() as forked,
        fluxloop.replay(
            captured.traces(), match="loose", fork_at=steps[0].id, output=unit.forked, rest="recorded"
        ) as replay,
        fluxloop.instrument("program"),
    ):
        unit.run(provider)

    assert replay.report().forked_at == f"{steps[0].type.name} {steps[0].name}"
    changed = [one for one in forked.trace.observations if one.metadata.get("fork")]
    assert "forked" in str([one.output for one in forked.trace.observations])
    assert len(changed) <= 1
    assert forked.trace.metadata["forked_from"]["observation_id"] == steps[0].id


@ALL_UNITS
def test_a_fork_without_a_change_runs_the_first_step_again(name: str, provider: Provider) -> None:
    unit = UNITS[name]
    _, captured = recorded(unit, provider)
    kinds = ("GENERATION", "TOOL", "RETRIEVAL", "EMBEDDING")
    steps = [one for one in captured.trace.observations if one.type.name in kinds]
    provider.answers(*unit.replies)
    sent = len(provider.requests)

    options: dict[str, Any] = {"match": "loose", "fork_at": steps[0].id, "rest": "recorded"}
    with capture(), fluxloop.replay(captured.traces(), **options) as replay, fluxloop.instrument("program"):
        unit.run(provider)

    assert replay.report().live >= 1
    assert "ChatKit" in name or len(ran) + len(provider.requests) - sent >= 1


@pytest.mark.parametrize("changed", ["input", pytest.param("model", marks=pytest.mark.slow)])
@ALL_UNITS
def test_a_fork_runs_the_first_step_with_another_input_or_model(name: str, changed: str, provider: Provider) -> None:
    unit = UNITS[name]
    _, captured = recorded(unit, provider)
    kinds = ("GENERATION", "TOOL", "RETRIEVAL", "EMBEDDING")
    step = next(one for one in captured.trace.observations if one.type.name in kinds)
    made = {"input": other_input, "model": other_model}[changed](name, step.type.name)
    if made is None:
        pytest.skip("a tool or a retriever has no model")
    provider.answers(*unit.replies)
    sent, asked = len(provider.requests), len(provider.paths)

    options: dict[str, Any] = {"match": "loose", "fork_at": step.id, "rest": "recorded", changed: made}
    with capture() as forked, fluxloop.replay(captured.traces(), **options) as replay, fluxloop.instrument("program"):
        result = plain(unit.run(provider))

    fork = forked.trace.metadata["forked_from"]
    assert (fork["observation_id"], fork["changed"]) == (step.id, changed)
    assert replay.report().live >= 1
    ran_with = [*ran, provider.requests[sent:], provider.paths[asked:], result]
    assert "forked" in str(ran_with) + str([one.input for one in forked.trace.observations])
    assert "batch" not in name or len(result) == 2
    assert len(FluxLoopCallbackHandler().ledger) == 0


def test_the_units_cover_every_framework_and_shape() -> None:
    """A shape that is removed by mistake is noticed."""
    shapes = {"invoke", "ainvoke", "batch", "abatch", "stream", "astream", "astream_events"}
    for kind in ("chat", "completion", "retriever", "tool", "create_agent", "graph"):
        assert {f"LangChain {kind} {shape}" for shape in shapes} <= UNITS.keys()
    for client in ("OpenAI chat", "OpenAI responses", "Anthropic", "Google"):
        assert {f"{client}{form}" for form in ("", " streamed", " async", " async streamed")} <= UNITS.keys()
    runs = {f"Agents SDK {how} {api}" for how in ("run", "run_streamed", "run_sync") for api in ("chat", "responses")}
    assert runs | {"ChatKit"} <= UNITS.keys()
