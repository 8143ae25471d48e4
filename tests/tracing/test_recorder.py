"""Our own failures stay ours: counted, said once, and never in the program's way."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import fluxloop
from fluxloop.storage import MemoryStorage, Record
from fluxloop.testing import capture
from fluxloop.tracing import recorder as recorder_module
from fluxloop.tracing import trace as trace_module


@fluxloop.tool
def tool(n: int) -> int:
    return n


@fluxloop.agent
def agent(n: int) -> int:
    return tool(n)


class Broken:
    """A storage that refuses everything."""

    def write(self, records: Sequence[Record]) -> None:
        raise OSError(28, "No space left on device")

    def close(self) -> None: ...


def test_a_storage_that_fails_costs_records_and_nothing_else(caplog):
    """The call returns, one line is logged, and the losses are counted."""
    with fluxloop.FluxLoopClient(storage=Broken()) as client:
        recorded = client.agent(lambda n: n)

        assert [recorded(1), recorded(2)] == [1, 2]

    report = client.report()
    assert (report.written, report.failed) == (0, 4)
    assert len([r for r in caplog.records if "No space left" in r.getMessage()]) == 1
    assert any("No space left" in problem for problem in report.problems)


def test_one_broken_storage_does_not_keep_records_from_the_others():
    """Several storages each get everything."""
    memory = MemoryStorage()
    with fluxloop.FluxLoopClient(storage=[Broken(), memory]) as client:
        client.agent(lambda: 1)()

    assert len(list(memory.read())) == 2


def test_a_folder_that_cannot_be_written_is_reported(caplog):
    """A path that is a file: the program runs, and the log says what to do."""
    Path("in-the-way").write_text("a file")
    with fluxloop.FluxLoopClient(base_path="in-the-way") as client:
        assert client.agent(lambda: 7)() == 7

    assert client.report().failed == 2
    assert "in-the-way" in caplog.text


@pytest.mark.parametrize("stage", ["encode", "journal", "tick", "now", "new_id"])
def test_a_failure_of_ours_never_reaches_the_program(stage, monkeypatch, caplog):
    """Whatever breaks inside the recorder, results and exceptions are the function's own."""
    caplog.set_level(logging.CRITICAL)

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("ours")

    with fluxloop.FluxLoopClient(base_path="there") as client:
        recorder = client.recorder
        if stage == "journal":
            monkeypatch.setattr(recorder.journal, "put", fail)
        else:
            monkeypatch.setattr(recorder, stage, fail)

        @client.tool
        def raises() -> None:
            raise KeyError("theirs")

        @client.agent
        def runs() -> int:
            with pytest.raises(KeyError, match="theirs"):
                raises()
            return sum(client.tool(lambda: (n for n in (1, 2)))())

        assert runs() == 3

    assert client.report().dropped > 0


def test_counts_say_what_was_cut_and_what_was_masked():
    """Each place is marked in its record and counted."""
    with fluxloop.FluxLoopClient(storage="memory", max_leaf_bytes=100) as client:
        client.agent(lambda text, password: text)("x" * 1_000, password="hunter2")
        observation, _ = client.recorder.storage.read()

    report = client.report()
    assert observation["input"]["password"] == "[redacted]"
    assert (observation["redacted"], observation["truncated"]) == (1, 2)
    assert (report.redacted, report.truncated, report.written) == (1, 2, 2)


def test_a_secret_in_an_error_is_masked_everywhere():
    """Message, traceback and input show nothing of it."""
    secret = "sk-" + "a1B2" * 10

    @fluxloop.agent
    def fails(key: str) -> None:
        raise ValueError(f"Incorrect API key provided: {key}")

    with capture() as captured, pytest.raises(ValueError, match="Incorrect"):
        fails(secret)

    assert secret not in str(list(captured.storage.read()))
    assert "Incorrect API key provided: [redacted]" in captured.outline()


def test_inputs_are_snapshots():
    """What the function does to its arguments changes nothing about what was recorded."""

    @fluxloop.agent
    def changes(items: list[int]) -> list[int]:
        items.append(2)
        return items

    with capture() as captured:
        changes([1])

    (root,) = captured.traces()[0].observations
    assert (root.input, root.output) == ({"items": [1]}, [1, 2])


def test_nothing_is_captured_where_nothing_is_wanted():
    """Per decorator and for the whole configuration."""
    with capture() as captured:
        fluxloop.agent(capture_input=False, capture_output=False)(lambda n: n)(1)
    with capture(capture_input=False, capture_output=False) as all_captured:
        agent(1)
        list(fluxloop.agent(lambda: (yield 1))())

    records = [*captured.storage.read(), *all_captured.storage.read()]
    assert all("input" not in record and "output" not in record for record in records)


def test_metadata_of_a_decorator_is_not_shared_between_calls():
    """Each observation has its own, with the tool's description."""
    with capture() as captured:
        decorated = fluxloop.agent(metadata={"v": 1})(fluxloop.tool(description="d")(lambda: 1))
        decorated()
        decorated()

    for trace in captured.traces():
        assert [o.metadata for o in trace.observations] == [{"v": 1}, {"description": "d"}]


def test_settings_that_describe_the_program_are_on_every_trace():
    """project_name, environment and service_name go into the trace's metadata."""
    with capture(project_name="p", environment="test", service_name="s") as captured:
        agent(1)

    assert captured.traces()[0].metadata == {"project_name": "p", "environment": "test", "service_name": "s"}


def test_a_prompt_reads_model_usage_and_finish_reason_from_the_result():
    """What the result says is on the observation, and its tokens on the trace."""

    @fluxloop.prompt
    def complete() -> dict[str, Any]:
        return {
            "model": "gpt-4o-2024",
            "choices": [{"message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 10, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}},
        }

    with capture() as captured, fluxloop.instrument("run"):
        complete()
        fluxloop.prompt(model="mine", provider="p")(lambda: {"usage": None})()
        fluxloop.prompt(capture_tokens=False)(complete.__wrapped__)()

    _, first, second, third = captured.traces()[0].observations
    assert (first.model, first.finish_reasons) == ("gpt-4o-2024", ["stop"])
    assert (first.usage.input_tokens, first.usage.output_tokens, first.usage.cache_read_tokens) == (10, 2, 4)
    assert (second.model, second.provider, second.usage) == ("mine", "p", None)
    assert third.usage is None
    assert captured.traces()[0].usage.total_tokens == 12


def test_order_is_the_order_of_beginnings():
    """`seq` counts where clocks tie."""
    with capture() as captured, fluxloop.instrument("run"):
        for n in range(5):
            tool(n)

    assert [o.output for o in captured.traces()[0].observations[1:]] == [0, 1, 2, 3, 4]
    assert [o.seq for o in captured.traces()[0].observations] == list(range(6))


def test_what_is_collected_in_the_middle_of_our_work_does_not_wait_for_it():
    """
    A stream or run that ends as garbage is recorded wherever the collector happens to run, also under our own locks.
    """
    client = fluxloop.FluxLoopClient(storage=MemoryStorage())
    trace = client.open_trace("trace")
    assert trace is not None

    for lock in (trace_module._usage_lock, recorder_module._counts_lock):
        with lock:
            assert lock.acquire(blocking=False)
            lock.release()


@pytest.mark.parametrize("logger", ["fluxloop", ""])
def test_a_logging_handler_that_is_recorded_receives_each_line_once(logger):
    """The lines that recording the handler would cause are left out; the program goes on."""
    lines: list[str] = []

    class Recorded(logging.Handler):
        @fluxloop.trace
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    handler = Recorded()
    logging.getLogger(logger).addHandler(handler)
    try:
        with capture(debug=True) as captured, fluxloop.instrument("run"):
            fluxloop.event("note")
    finally:
        logging.getLogger(logger).removeHandler(handler)

    assert [line.split()[1] for line in lines] == ['{"type":"EVENT","name":"note"}', '{"type":"SPAN","name":"run"}']
    assert [one.name for trace in captured.traces() for one in trace.observations].count("note") == 1
