"""Threads continue the trace in which they are started, on request; calls that are lost otherwise are reported."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

import fluxloop
from fluxloop.storage.untraced import untraced_calls
from fluxloop.testing import capture
from fluxloop.tracing import propagation


@fluxloop.tool
def tool(number: int) -> int:
    return number


@pytest.fixture
def installed() -> Iterator[None]:
    fluxloop.install_threads()
    yield
    fluxloop.uninstall_threads()


def names(captured: object) -> list[list[str]]:
    return [[one.name for one in trace.observations] for trace in captured.traces()]  # type: ignore[attr-defined]


def test_threads_and_jobs_continue_the_trace(installed: None) -> None:
    with capture() as captured, fluxloop.instrument("run"), ThreadPoolExecutor(2) as pool:
        thread = threading.Thread(target=tool, args=(1,))
        thread.start()
        thread.join()
        timer = threading.Timer(0, tool, [2])
        timer.start()
        timer.join()
        assert pool.submit(tool, 3).result() == 3
        assert list(pool.map(tool, [4, 5])) == [4, 5]

    assert names(captured) == [["run"] + ["tool"] * 5]


def test_jobs_of_an_event_loops_pool_continue_the_trace(installed: None) -> None:
    async def main() -> int:
        with fluxloop.instrument("run"):
            return await asyncio.get_running_loop().run_in_executor(None, tool, 1)

    with capture() as captured:
        assert asyncio.run(main()) == 1

    assert names(captured) == [["run", "tool"]]


def test_a_worker_of_a_pool_does_not_stay_in_the_trace_of_its_first_job(installed: None) -> None:
    with capture() as captured, ThreadPoolExecutor(1) as pool:
        with fluxloop.instrument("first"):
            pool.submit(tool, 1).result()
        pool.submit(tool, 2).result()
        with fluxloop.instrument("second"):
            pool.submit(tool, 3).result()

    assert names(captured) == [["first", "tool"], ["second", "tool"]]


def test_nothing_but_two_methods_is_replaced_and_both_are_restored() -> None:
    start, submit = threading.Thread.start, ThreadPoolExecutor.submit

    fluxloop.install_threads()
    fluxloop.install_threads()
    assert threading.Thread.start is not start
    assert threading.Thread.start.__wrapped__ is start  # type: ignore[attr-defined]
    fluxloop.uninstall_threads()

    assert (threading.Thread.start, ThreadPoolExecutor.submit) == (start, submit)


def test_a_replacement_by_other_code_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start
    fluxloop.install_threads()
    ours = threading.Thread.start

    def theirs(self: threading.Thread) -> None:
        ours(self)

    monkeypatch.setattr(threading.Thread, "start", theirs)
    fluxloop.uninstall_threads()
    with capture() as captured, fluxloop.instrument("run"):
        thread = threading.Thread(target=tool, args=(1,))
        thread.start()
        thread.join()

    assert threading.Thread.start is theirs
    assert names(captured) == [["run"]]
    monkeypatch.setattr(threading.Thread, "start", start)


def test_a_call_that_a_thread_loses_is_counted_and_reported_once(tmp_path: Path) -> None:
    fluxloop.configure(base_path=tmp_path)
    before = fluxloop.report().untraced

    with fluxloop.instrument("run"), ThreadPoolExecutor(1) as pool:
        assert list(pool.map(tool, [1, 2, 3])) == [1, 2, 3]

    report = fluxloop.report()
    assert report.untraced - before == 3
    assert [line for line in report.problems if "install_threads" in line and "'tool'" in line] != []


def test_a_function_whose_calls_are_lost_is_noted_once_beside_the_records(tmp_path: Path) -> None:
    """So that it can be found after the program has ended."""
    client = fluxloop.FluxLoopClient(storage="file", base_path=tmp_path)
    lost = client.tool(name="lost")(abs)

    with client.instrument("run"), ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lost, [1, 2, 3])) == [1, 2, 3]
    client.shutdown()

    [noted] = tmp_path.glob("untraced_*.jsonl")
    assert [*untraced_calls(tmp_path)] == ["lost"]
    assert len(noted.read_text().splitlines()) == 1
    assert noted.stat().st_mode & 0o777 == 0o600
    assert len(list(fluxloop.read_traces(tmp_path))) == 1


def test_notes_that_cannot_be_written_or_read_are_left_out(tmp_path: Path) -> None:
    """A folder in the place of the file, and damaged lines in another one (bad input)."""
    (tmp_path / f"untraced_{datetime.now(UTC):%Y%m%d}.jsonl").mkdir()
    (tmp_path / "untraced_20260117.jsonl").write_text('{"name": "old", "time": "2026-01-17T10:00:00Z"}\n[1]\n{"na')
    client = fluxloop.FluxLoopClient(storage="file", base_path=tmp_path)
    lost = client.tool(name="lost")(lambda: 1)

    with client.instrument("run"):
        thread = threading.Thread(target=lost)
        thread.start()
        thread.join()

    assert client.report().untraced == 1
    assert {name: f"{time:%F}" for name, time in untraced_calls(tmp_path).items()} == {"old": "2026-01-17"}


def test_calls_outside_a_trace_are_not_reported(tmp_path: Path) -> None:
    """In the main thread, and in threads while no trace is open, code may well call a tool without a trace."""
    fluxloop.configure(base_path=tmp_path)
    before = fluxloop.report().untraced

    tool(1)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(tool, 2).result()

    assert fluxloop.report().untraced == before


def test_an_ended_trace_leaves_no_reason_to_look_for_a_parent():
    """Calls outside traces cost what a plain wrapper does as soon as the last trace has ended, without a collection."""
    before = set(propagation.reasons)
    gc.disable()
    try:
        with capture():
            inside: list[set[object]] = []
            agent = fluxloop.agent(lambda: inside.append(propagation.reasons - before))
            agent()
            after = propagation.reasons - before
    finally:
        gc.enable()

    assert inside[0]
    assert not after


def test_a_task_that_outlives_its_trace_still_records():
    """A context that holds a node of an ended trace keeps the trace, and so the look-up, alive."""
    tool = fluxloop.tool(name="late")(lambda: None)

    async def main():
        async def later():
            await ended.wait()
            tool()

        @fluxloop.agent(name="run")
        async def run():
            tasks.append(asyncio.create_task(later()))

        ended, tasks = asyncio.Event(), []
        await run()
        gc.collect()
        ended.set()
        await tasks[0]

    with capture() as captured:
        asyncio.run(main())

    assert "late" in [name for trace in names(captured) for name in trace]
