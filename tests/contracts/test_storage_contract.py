"""What holds for every storage."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from collector_aids import collector

from fluxloop.storage import (
    FanOut,
    FileStorage,
    HTTPStorage,
    MemoryStorage,
    Readable,
    Record,
    Storage,
    SupportsFlush,
    SupportsJournal,
)
from fluxloop.storage.contract import journal_of


class Mirrored(FanOut):
    """A fan-out that reads from its last storage, so that it can take part here."""

    def read(self) -> Any:
        last = self.storages[-1]
        assert isinstance(last, Readable)
        return last.read()


class Sent(HTTPStorage):
    """HTTP storage with a collector that can be read, so that it can take part here."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self._running = collector()
        self._server = self._running.__enter__()
        super().__init__(self._server.url, spool=folder, **options)

    def read(self) -> Any:
        assert self.flush(timeout=20)
        return iter(self._server.records)


MAKERS: dict[str, Callable[[Path], Readable]] = {
    "dated files": lambda folder: FileStorage(folder / "traces"),
    "undated files": lambda folder: FileStorage(folder / "traces", dated=False),
    "files without a journal": lambda folder: FileStorage(folder / "traces", journal=False),
    "memory": lambda _: MemoryStorage(),
    "http": lambda folder: Sent(folder / "spool"),
    "http, one by one": lambda folder: Sent(folder / "spool", buffer_size=1, flush_interval=0),
    "fan-out": lambda folder: Mirrored([MemoryStorage(), FileStorage(folder / "a"), FileStorage(folder / "b")]),
}
"""Every storage there is; a new one is added here, and has to pass all that follows."""


@pytest.fixture(params=list(MAKERS))
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Readable]:
    storage = MAKERS[request.param](tmp_path)
    yield storage
    if isinstance(storage, Sent):
        storage.close()
        storage._running.__exit__(None, None, None)


def observation(number: object, day: str = "20260117") -> Record:
    return Record("observation", day, b'{"id":"o%b","trace_id":"t"}\n' % str(number).encode())


def trace(number: object, day: str = "20260117") -> Record:
    return Record("trace", day, b'{"trace_id":"t%b"}\n' % str(number).encode())


def ids(storage: Readable) -> list[str]:
    return [record.get("id", record["trace_id"]) for record in storage.read()]


def test_it_is_a_storage_by_its_methods(storage: Readable) -> None:
    """
    `write`, `close` and `read` are the whole contract; no base class is needed.
    """
    assert isinstance(storage, Storage)
    assert isinstance(storage, Readable)


def test_its_capabilities_are_those_it_declares(storage: Readable) -> None:
    """
    A storage without a journal has none; one that can be flushed holds nothing once it was.
    """
    storage.write([observation(1)])

    assert (journal_of(storage) is not None) <= isinstance(storage, SupportsJournal)
    assert not isinstance(storage, SupportsFlush) or storage.flush(timeout=20) is True
    assert ids(storage) == ["o1"]


def test_what_was_written_is_read_in_order(storage: Readable) -> None:
    """
    Each kind of record comes back in the order it was written, decoded and unchanged.
    """
    storage.write([observation(n) for n in range(50)])
    storage.write([trace(1)])

    assert ids(storage) == [f"o{n}" for n in range(50)] + ["t1"]


def test_records_of_any_text_and_size_come_back(storage: Readable) -> None:
    """
    Unicode, escaped newlines and a megabyte of it: a record is kept byte by byte.
    """
    line = '{"id":"o","trace_id":"t","input":"%s"}\n' % ("é\\n🙂\\u2028" * 100_000)

    storage.write([Record("observation", "20260117", line.encode())])

    assert [record["input"] for record in storage.read()] == ["é\n🙂\u2028" * 100_000]


def test_an_empty_list_of_records_is_accepted(storage: Readable) -> None:
    """
    An empty batch writes nothing, and reading an unused storage finds nothing.
    """
    storage.write([])

    assert ids(storage) == []


def test_it_can_be_closed_at_any_time_and_used_again(storage: Readable) -> None:
    """
    `close` unused, twice, or between two records: nothing is lost.
    """
    storage.close()
    storage.write([observation(1)])
    storage.close()
    storage.close()
    storage.write([observation(2)])

    assert ids(storage) == ["o1", "o2"]


def test_it_takes_any_sequence(storage: Readable) -> None:
    """
    Lists, tuples, and what else has a length and an order.
    """
    batches: list[Sequence[Record]] = [[observation(1)], (observation(2), trace(1))]

    for batch in batches:
        storage.write(batch)

    assert Counter(ids(storage)) == Counter(["o1", "o2", "t1"])


def test_threads_lose_and_mix_nothing(storage: Readable) -> None:
    """
    Eight threads at once, over two days: every record is there, once, whole, and in its thread's order.
    """

    def work(name: int) -> None:
        for n in range(100):
            storage.write(
                [observation(f"{name}-{n:03}", f"2026011{n % 2}"), trace(f"{name}-{n:03}", f"2026011{n % 2}")]
            )

    threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    found = ids(storage)
    assert Counter(found) == Counter(f"{kind}{name}-{n:03}" for kind in "ot" for name in range(8) for n in range(100))
    of_one_thread_and_day = [i for i in found if i.startswith("o3-") and int(i[-3:]) % 2]
    assert of_one_thread_and_day == sorted(of_one_thread_and_day)
