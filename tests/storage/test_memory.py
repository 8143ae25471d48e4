"""Records in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from fluxloop.errors import ConfigError
from fluxloop.storage import MemoryStorage, Record


def test_observations_and_traces_can_be_asked_for(record: Callable[..., Record]) -> None:
    """
    The decoded records come back by kind, and all together in the order they were written.
    """
    storage = MemoryStorage()

    storage.write([record(1), record(1, kind="trace"), record(2)])

    assert [each["id"] for each in storage.observations()] == ["o1", "o2"]
    assert [each["trace_id"] for each in storage.traces()] == ["t1"]
    assert [each.get("id") for each in storage.read()] == ["o1", None, "o2"]


def test_clear_forgets_and_recording_goes_on(record: Callable[..., Record]) -> None:
    """
    A test can look at one thing after another.
    """
    storage = MemoryStorage()
    storage.write([record(1)])

    storage.clear()
    storage.write([record(2)])

    assert [each["id"] for each in storage.read()] == ["o2"]


def test_the_newest_records_are_kept_where_there_is_a_bound(record: Callable[..., Record]) -> None:
    """
    ``max_records`` keeps a program that runs for months from growing.
    """
    storage = MemoryStorage(max_records=2)

    storage.write([record(1), record(2), record(3)])

    assert [each["id"] for each in storage.read()] == ["o2", "o3"]


@pytest.mark.parametrize("bound", [0, -1])
def test_a_bound_that_keeps_nothing_is_refused(bound: int) -> None:
    """
    A memory that keeps nothing is a mistake, and an error at once.
    """
    with pytest.raises(ConfigError, match=f"max_records must be at least 1, or None to keep all records, got {bound}"):
        MemoryStorage(max_records=bound)


def test_threads_write_and_read_at_once(record: Callable[..., Record]) -> None:
    """
    No record is lost, and no reader meets a changing list, when all happens at the same time.
    """
    storage = MemoryStorage()
    seen: list[int] = []

    def work(name: str) -> None:
        for n in range(200):
            storage.write([record(f"{name}{n}")])
            seen.append(len(storage.observations()))

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({each["id"] for each in storage.read()}) == 800
    assert len(seen) == 800
