"""Event loops whose guard forbids blocking calls: every record is stored there, by the thread that makes it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from blockbuster import BlockingError, blockbuster_ctx

import fluxloop
from fluxloop.storage import FileStorage, Journal
from fluxloop.storage.event_loops import unguarded

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def guard() -> Iterator[None]:
    """The guard that `langgraph dev` switches on, for the thread of any event loop."""
    with blockbuster_ctx():
        yield


def test_a_call_that_the_guard_forbids_is_made_outside_the_loop(tmp_path: Path, guard: None) -> None:
    """
    The loop's thread waits for a helper thread, which ends then; errors come back as they were raised.
    """

    async def main() -> tuple[int, int]:
        with pytest.raises(BlockingError):
            os.stat(tmp_path)
        with pytest.raises(FileNotFoundError, match="nowhere"):
            unguarded(os.stat, tmp_path / "nowhere")
        assert unguarded(os.stat, tmp_path).st_ino
        return unguarded(threading.get_ident), threading.get_ident()

    helper, loops = asyncio.run(main())

    assert helper != loops
    deadline = time.monotonic() + 10
    while helper in sys._current_frames() and time.monotonic() < deadline:
        time.sleep(0.001)
    assert helper not in sys._current_frames()


def test_where_no_loop_runs_the_guard_is_not_avoided(guard: None) -> None:
    """
    It allows everything there, and no thread is needed.
    """
    assert unguarded(threading.get_ident) == threading.get_ident()


def test_without_a_guard_a_loop_makes_no_thread() -> None:
    """
    An ordinary asyncio program.
    """

    async def main() -> bool:
        return unguarded(threading.get_ident) == threading.get_ident()

    assert asyncio.run(main())


@pytest.mark.parametrize("configured", ["in the loop", "before", "never"])
def test_every_record_is_stored_on_a_guarded_loop(tmp_path: Path, start: Start, configured: str) -> None:
    """
    From the first traced call on, through a folder that is deleted and one that is renamed, none is lost or late.
    """
    process = start(
        """
        import asyncio, shutil
        import fluxloop
        from blockbuster import blockbuster_ctx

        os.chdir(folder)
        if sys.argv[2] == "before":
            fluxloop.configure(base_path="traces")

        @fluxloop.tool
        async def tool(n):
            await asyncio.sleep(0)
            return n

        @fluxloop.agent
        async def agent(n):
            return await asyncio.gather(*map(tool, range(n)))

        def stored():
            observations = [o for trace in fluxloop.read_traces("traces") for o in trace.observations]
            return sum(o.status == "success" for o in observations)

        async def main():
            if sys.argv[2] == "in the loop":
                fluxloop.configure(base_path="traces")
            await agent(10)
            counts = [await asyncio.to_thread(stored)]
            for damage in (lambda: shutil.rmtree("traces"), lambda: os.rename("traces", "old")):
                await asyncio.to_thread(damage)
                await asyncio.sleep(0.6)  # so long a renamed file may go unnoticed
                await agent(100)
                counts.append(await asyncio.to_thread(stored))
            assert fluxloop.shutdown()
            return counts

        with blockbuster_ctx():
            counts = asyncio.run(main())
        report = fluxloop.report()
        print(counts, report.failed, report.dropped, report.problems, os.listdir("traces"))
        """,
        tmp_path,
        configured,
    )
    output, _ = process.communicate()

    counts, _, rest = output.decode().partition("] ")
    assert counts == "[11, 101, 101"
    assert rest.startswith("0 0 () ['")
    assert ".inflight" not in rest


def test_a_process_killed_on_a_guarded_loop_leaves_what_was_open(tmp_path: Path, start: Start) -> None:
    """
    The journal is made there, too.
    """
    process = start(
        """
        import asyncio
        import fluxloop
        from blockbuster import blockbuster_ctx

        fluxloop.configure(base_path=folder)

        @fluxloop.agent
        async def agent():
            os.kill(os.getpid(), 9)

        with blockbuster_ctx():
            asyncio.run(agent())
        """,
        tmp_path,
    )
    process.wait()

    (trace,) = fluxloop.read_traces(tmp_path)
    assert [(o.name, o.status) for o in trace.observations] == [("agent", "crashed")]


def test_a_journal_that_cannot_be_made_costs_no_observation(tmp_path: Path, guard: None) -> None:
    """
    Where the folder cannot be made, the observation begins without a slot, on a guarded loop as anywhere.
    """
    (tmp_path / "file").touch()
    journal = Journal(tmp_path / "file" / "traces")

    async def main() -> int:
        return journal.put(b'{"id":"o1","trace_id":"t1"')

    assert asyncio.run(main()) == -1
    assert "Not a directory" in str(journal.problem)


def test_a_storage_can_be_closed_on_a_guarded_loop(
    tmp_path: Path, guard: None, record: Callable[..., object], head: Callable[..., bytes]
) -> None:
    """
    `close` removes the journal, as anywhere.
    """
    storage = FileStorage(tmp_path)

    async def main() -> None:
        storage.journal.free(storage.journal.put(head(1)), recorded=True)
        storage.write([record(1)])
        storage.close()

    asyncio.run(main())

    assert [path.name for path in tmp_path.iterdir()] == ["observations_20260117.jsonl"]
