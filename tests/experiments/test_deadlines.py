"""
Timeouts with one timer behave as `asyncio.timeout`.
"""

from __future__ import annotations

import asyncio

import pytest

from fluxloop.experiments.deadlines import Deadlines, RunTimeoutError


async def test_only_blocks_that_take_too_long_are_cancelled():
    """
    Of many blocks, started at different times, those that do not end in time raise; the others end as they would.
    """
    deadlines = Deadlines(0.1)

    async def block(delay, seconds):
        await asyncio.sleep(delay)
        with deadlines.limit():
            await asyncio.sleep(seconds)
            return "done"

    found = await asyncio.gather(
        *(block(delay, seconds) for delay in (0, 0.02, 0.15) for seconds in (0, 60)), return_exceptions=True
    )

    assert [result if isinstance(result, str) else type(result) for result in found] == ["done", RunTimeoutError] * 3
    assert not asyncio.current_task().cancelling()


async def test_a_cancellation_from_outside_stays_one():
    """
    A task that is cancelled by something else is cancelled, not timed out.
    """
    started = asyncio.Event()

    async def block():
        with Deadlines(60).limit():
            started.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(block())
    await started.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_errors_and_no_limit_pass_through():
    """
    An error inside is that error; without a limit nothing is cancelled.
    """
    with pytest.raises(TimeoutError, match="own"), Deadlines(60).limit():
        raise TimeoutError("own")
    with Deadlines(None).limit():
        await asyncio.sleep(0)


async def test_finished_blocks_are_not_kept():
    """
    A thousand finished blocks leave one entry.
    """
    deadlines = Deadlines(60)
    for _ in range(1000):
        with deadlines.limit():
            await asyncio.sleep(0)

    assert len(deadlines._open) == 1
