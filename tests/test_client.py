"""Clients are independent of each other, and settings take effect immediately."""

from __future__ import annotations

from pathlib import Path

import pytest

import fluxloop
from fluxloop.storage import MemoryStorage
from fluxloop.testing import capture, outline


def written(folder: str) -> list[str]:
    return [outline(trace) for trace in fluxloop.read_traces(folder)]


def test_two_clients_record_separately():
    """Each client records into its own storage, even when one calls the other."""
    with fluxloop.FluxLoopClient(base_path="a") as a, fluxloop.FluxLoopClient(storage="file", base_path="b") as b:

        @b.tool
        def helper() -> int:
            return 1

        @b.agent
        def inner() -> int:
            return helper()

        @a.agent
        def outer() -> int:
            with b.observe("not here"):
                b.event("nor this")
            return inner() + helper()

        assert outer() == 2

    assert written("a") == ["AGENT outer -> 2"]
    assert written("b") == ["AGENT inner -> 1\n  TOOL helper -> 1"]


def test_a_client_continues_its_own_trace_inside_the_trace_of_another():
    """Inside another client's trace, a client continues its own enclosing trace."""
    a, b = fluxloop.FluxLoopClient(storage="memory"), fluxloop.FluxLoopClient(storage="memory")

    with capture(a) as of_a, capture(b) as of_b, a.instrument("a"), b.instrument("b"), a.instrument("a again"):
        pass

    assert of_a.outline() == "SPAN a\n  SPAN a again"
    assert of_b.outline() == "SPAN b"


def test_the_decorators_of_the_package_record_into_any_open_trace():
    """A tool decorated with `fluxloop.tool` is recorded by the client whose trace is open."""
    tool = fluxloop.tool(lambda: 1)
    with fluxloop.FluxLoopClient(storage="memory") as client, capture(client) as captured, client.instrument("x"):
        tool()

    assert captured.outline() == "SPAN x\n  TOOL <lambda> -> 1"


def test_each_configure_takes_effect_immediately():
    """New traces use the new settings; an open trace keeps its storage."""
    agent = fluxloop.agent(lambda: 1)

    fluxloop.configure(base_path="one")
    agent()
    with fluxloop.instrument("open"):
        settings = fluxloop.configure(base_path="two")
        fluxloop.event("still there")
    agent()

    assert settings.base_path == Path("two").absolute()
    assert written("one") == ["AGENT <lambda> -> 1", "SPAN open\n  EVENT still there"]
    assert written("two") == ["AGENT <lambda> -> 1"]


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"storag": "file"}, "storag"),
        ({"sample_rate": 2}, "sample_rate"),
        ({"base_path": "ok", "enabled": "perhaps"}, "enabled"),
        ({"redact_patterns": ["("]}, "redact_patterns"),
        ({"storage": "http-ish"}, "storage"),
    ],
)
def test_a_rejected_configure_changes_nothing(values, name):
    """The error names the setting, and the current settings stay the same."""
    before = fluxloop.configure(base_path="before")

    with pytest.raises(ValueError, match=name):
        fluxloop.configure(**values)

    assert fluxloop.get_config() == before
    fluxloop.agent(lambda: 1)()
    assert written("before") == ["AGENT <lambda> -> 1"]


def test_load_env_takes_effect_and_keeps_configured_values(monkeypatch):
    """The values of the file take effect; an earlier `configure` still wins."""
    Path(".env").write_text("FLUXLOOP_BASE_PATH=from-env\nFLUXLOOP_DEBUG=no\nFLUXLOOP_SAMPLE_RATE=0.5\n")
    fluxloop.configure(sample_rate=1.0)

    assert fluxloop.load_env() is True
    assert fluxloop.load_env("nowhere") is False
    assert fluxloop.get_config().base_path.name == "from-env"
    assert fluxloop.get_config().sample_rate == 1.0

    fluxloop.reset_config()
    assert fluxloop.get_config().sample_rate == 0.5


def test_sampling_is_decided_per_trace():
    """About the requested share of traces is recorded, each with all its observations."""
    with fluxloop.FluxLoopClient(storage="memory", sample_rate=0.5) as client:
        agent = client.agent(lambda: client.tool(lambda: 1)())
        for _ in range(200):
            agent()
        storage = client.recorder.storage
        assert isinstance(storage, MemoryStorage)

    kept = len(storage.traces())
    assert 40 < kept < 160
    assert len(storage.observations()) == 2 * kept
    assert client.report().sampled_out == 200 - kept


def test_flush_and_shutdown_are_harmless_and_recording_continues():
    """File storage has nothing to flush, and calls after `shutdown` are still recorded."""
    fluxloop.configure(base_path="there")
    agent = fluxloop.agent(lambda: 1)
    agent()

    assert fluxloop.flush(timeout=1) is True
    assert fluxloop.shutdown(timeout=1) is True

    agent()
    assert len(written("there")) == 2


def test_a_buffering_storage_is_flushed_with_the_timeout():
    """`flush(timeout)` calls the `flush` of a storage that has one."""
    asked = []

    class Buffering(MemoryStorage):
        def flush(self, timeout: float | None) -> bool:
            asked.append(timeout)
            return False

    client = fluxloop.FluxLoopClient(storage=Buffering())
    client.recorder  # noqa: B018 - the first access creates it

    assert client.flush(0.5) is False
    assert asked == [0.5]


def test_the_version_is_that_of_the_distribution():
    """`fluxloop.__version__` is the version of the installed distribution."""
    from importlib.metadata import version

    assert fluxloop.__version__ == version("fluxloop")
