"""One stream of records into several storages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from fluxloop.storage import FanOut, FileStorage, MemoryStorage, Record


class Broken:
    """A storage that always fails."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def write(self, records: Sequence[Record]) -> None:
        raise self.error

    def close(self) -> None:
        raise self.error


def test_every_storage_gets_every_record(tmp_path: Path, record: Callable[..., Record]) -> None:
    """
    Files to keep and memory to look at, from one run.
    """
    file, memory = FileStorage(tmp_path), MemoryStorage()

    FanOut([file, memory]).write([record(1), record(2)])

    assert list(file.read()) == list(memory.read()) != []


def test_one_that_fails_does_not_affect_the_others(record: Callable[..., Record]) -> None:
    """
    The storages after a broken one get the record too; then its error is raised as it is.
    """
    memory = MemoryStorage()
    error = OSError("no disk")

    with pytest.raises(OSError, match="no disk") as caught:
        FanOut([Broken(error), memory]).write([record(1)])

    assert caught.value is error
    assert len(memory.observations()) == 1


def test_several_failures_are_raised_together(record: Callable[..., Record]) -> None:
    """
    No failure hides another.
    """
    errors = [OSError("no disk"), ValueError("no sense")]

    with pytest.raises(ExceptionGroup, match="several storages failed") as caught:
        FanOut([Broken(error) for error in errors]).write([record(1)])

    assert list(caught.value.exceptions) == errors


def test_close_closes_all_though_one_fails(tmp_path: Path, record: Callable[..., Record]) -> None:
    """
    A storage that cannot be closed does not keep the others open.
    """
    file = FileStorage(tmp_path)
    file.write([record(1)])

    with pytest.raises(OSError, match="stuck"):
        FanOut([Broken(OSError("stuck")), file]).close()

    assert file._files == {}


def test_the_journal_is_that_of_the_first_storage_that_has_one(tmp_path: Path) -> None:
    """
    One journal is enough: what was open is the same for all.
    """
    first, second = FileStorage(tmp_path / "a"), FileStorage(tmp_path / "b")

    assert FanOut([MemoryStorage(), FanOut([first]), second]).journal is first.journal
    assert FanOut([MemoryStorage(), FileStorage(tmp_path / "c", journal=False)]).journal is None


class Buffered:
    """A storage that can be flushed, given time."""

    def __init__(self) -> None:
        self.timeouts: list[float | None] = []

    def write(self, records: Sequence[Record]) -> None:
        pass

    def flush(self, timeout: float | None = None) -> bool:
        self.timeouts.append(timeout)
        return timeout is None or timeout > 1

    def close(self) -> None:
        pass


def test_flush_flushes_all_that_can_be_flushed(tmp_path: Path) -> None:
    """
    Storages that hold nothing are passed over; the timeout is for all together.
    """
    first, second = Buffered(), Buffered()
    storage = FanOut([MemoryStorage(), first, FileStorage(tmp_path), second])

    assert [storage.flush(), storage.flush(5), storage.flush(0.5)] == [True, True, False]
    assert first.timeouts[0] is None
    assert 0 <= second.timeouts[1] <= first.timeouts[1] <= 5
