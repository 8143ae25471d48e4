"""HTTP storage in real processes: killed, forked, ended, and several at once."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import offline
import pytest
from collector_aids import Collector, Reply, Request, collector, free_port, raw_server

ROOT = Path(__file__).parents[2]

Start = Callable[..., "subprocess.Popen[bytes]"]

OPENED = """
from fluxloop.storage import HTTPStorage
from time import perf_counter

def opened(**options):
    options = {"spool": folder, "flush_interval": 0.01, "shutdown_timeout": 30, **options}
    return HTTPStorage(sys.argv[2], **options)
"""


@pytest.fixture
def server() -> Iterator[Collector]:
    with collector() as running:
        yield running


def finish(process: subprocess.Popen[bytes], timeout: float = 55) -> list[str]:
    out, _ = process.communicate(timeout=timeout)
    assert process.returncode == 0
    return out.decode().splitlines()


def spooled(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_kill_loses_nothing_and_the_next_process_delivers(tmp_path: Path, server: Collector, start: Start) -> None:
    """
    The process is killed right after it said that the records are written; the next one sends them with its own.
    """
    down = f"http://127.0.0.1:{free_port()}"
    killed = start(
        OPENED
        + """
storage = opened()
for number in range(100):
    storage.write([record(number)])
print("written", flush=True)
time.sleep(60)
""",
        tmp_path,
        down,
    )
    assert killed.stdout is not None
    assert killed.stdout.readline() == b"written\n"
    killed.kill()
    killed.wait()

    finish(start(OPENED + "opened().write([record('next')])", tmp_path, server.url))
    server.wait(lambda: len(server.records) == 101)

    assert server.ids == ["onext", *(f"o{number}" for number in range(100))]
    assert spooled(tmp_path) == []


def test_what_was_sent_before_a_kill_is_not_sent_again(tmp_path: Path, server: Collector, start: Start) -> None:
    """
    The position in the spool is durable, too.
    """
    killed = start(
        OPENED
        + """
storage = opened()
storage.write([record(1), record(2)])
assert storage.flush(20)
storage.write([record(3)])
os.kill(os.getpid(), 9)
""",
        tmp_path,
        server.url,
    )
    killed.wait()
    server.requests.clear()

    finish(start(OPENED + "opened().write([record(4)])", tmp_path, server.url))

    assert sorted(server.ids) == ["o1", "o2", "o3", "o4"]
    sent_again = [record["id"] for request in server.requests for record in request.lines]
    assert "o1" not in sent_again


@pytest.mark.parametrize("options", ["flush_interval=60", "auto_flush=False"])
@pytest.mark.parametrize("end", ["pass", "sys.exit(0)", "raise SystemExit"])
def test_an_ordinary_end_delivers_the_last_records(
    tmp_path: Path, server: Collector, start: Start, end: str, options: str
) -> None:
    """
    A script that ends before the flush interval sends at exit, and leaves no file.
    """
    script = f"""
opened({options}).write([record(1)])
# What Python 3.12 does at exit:
def refuse(*_): raise RuntimeError("can't create new thread at interpreter shutdown")
import atexit, fluxloop.storage.sender
atexit.register(lambda: setattr(fluxloop.storage.sender, "start_new_thread", refuse))
{end}
"""
    finish(start(OPENED + script, tmp_path, server.url))

    assert server.ids == ["o1"]
    assert spooled(tmp_path) == []


EXIT = """
import atexit
began = []
atexit.register(lambda: print(perf_counter() - began[0], flush=True))  # runs after those that are registered later
{OPENED}
storage = opened(shutdown_timeout=float(sys.argv[3]), timeout=30)
{write}
atexit.register(lambda: began.append(perf_counter()))  # runs first
"""


@pytest.mark.parametrize(("shutdown_timeout", "longest"), [(0.5, 10), (0, 5)])
def test_a_collector_that_hangs_delays_the_exit_by_the_timeout(
    tmp_path: Path, server: Collector, start: Start, shutdown_timeout: float, longest: float
) -> None:
    """
    And not longer. The records stay in the spool, one line names them, and the next program sends them.
    """

    def hang(connection: object) -> None:
        import threading

        threading.Event().wait(30)

    with raw_server(hang) as url:
        script = EXIT.format(OPENED=OPENED, write="storage.write([record(1)])")
        ended = start(script, tmp_path, url, shutdown_timeout, stderr=subprocess.PIPE)
        out, err = ended.communicate(timeout=55)

    assert shutdown_timeout * 0.9 <= float(out) < longest
    assert ended.returncode == 0
    assert re.findall(r"before all records were sent to \S+: 1 wait in .* or fluxloop upload", err.decode()) != []
    assert err.count(b"\n") == 1
    assert len(spooled(tmp_path)) == 1
    finish(start(OPENED + "opened(flush_interval=60).write([record(2)])", tmp_path, server.url))
    server.wait(lambda: len(server.records) == 2)
    assert (server.ids, spooled(tmp_path)) == (["o2", "o1"], [])


def test_a_collector_that_is_away_delays_the_exit_by_one_attempt(tmp_path: Path, start: Start) -> None:
    """
    A refused connection is not tried again at exit.
    """
    script = EXIT.format(OPENED=OPENED, write="storage.write([record(1)]); time.sleep(0.5)")

    [delay] = finish(start(script, tmp_path, f"http://127.0.0.1:{free_port()}", 20))

    assert float(delay) < 15
    assert len(spooled(tmp_path)) == 1


@pytest.mark.parametrize("write", ["pass", "storage.write([record(1)]); storage.flush(20)"], ids=["unused", "flushed"])
def test_without_anything_to_send_the_exit_is_not_delayed(
    tmp_path: Path, server: Collector, start: Start, write: str
) -> None:
    """
    However long the timeout is.
    """
    [delay] = finish(start(EXIT.format(OPENED=OPENED, write=write), tmp_path, server.url, 60))

    assert float(delay) < 10


def test_an_exit_waits_for_a_collector_that_asked_to(tmp_path: Path, server: Collector, start: Start) -> None:
    """
    429 with `Retry-After: 0` at exit is tried again within the timeout.
    """
    replies = [Reply(429, "", {"Retry-After": "0"})]
    server.behaviour = lambda _: replies.pop() if replies else None

    finish(start(OPENED + "opened(flush_interval=60, shutdown_timeout=20).write([record(1)])", tmp_path, server.url))

    assert server.ids == ["o1"]


def test_a_forked_child_sends_its_own_records_only(tmp_path: Path, server: Collector, start: Start) -> None:
    """
    The parent's records, which wait when it forks, are sent by the parent, once.
    """
    script = """
storage = opened(flush_interval=60)
storage.write([record("parent")])
if not (child := os.fork()):
    storage.write([record("child")])
    assert storage.flush(20)
    print(storage.delivery.sent, storage.delivery.spooled, flush=True)
    os._exit(0)
os.waitpid(child, 0)
assert len(list(storage.unsent())) > 0
storage.write([record("parent again")])
"""
    assert finish(start(OPENED + script, tmp_path, server.url)) == ["1 0"]
    assert server.ids == ["ochild", "oparent", "oparent again"]
    sent = Counter(record["id"] for request in server.requests for record in request.lines)
    assert set(sent.values()) == {1}
    assert spooled(tmp_path) == []


def test_forks_of_a_busy_program_lose_and_repeat_nothing(tmp_path: Path, server: Collector, start: Start) -> None:
    """
    Fork while threads write and the thread sends: every process goes on, and each record arrives once.
    """
    script = """
import threading
storage = opened(buffer_size=5)
stop = threading.Event()

def work(name):
    number = 0
    while not stop.is_set():
        storage.write([record(f"{name}-{number}")])
        number += 1
        time.sleep(0.0005)
    os.write(1, f"{number}\\n".encode())  # one system call: the lines of threads are not mixed

threads = [threading.Thread(target=work, args=(name,)) for name in range(3)]
for thread in threads: thread.start()
children = []
for name in range(8):
    time.sleep(0.02)
    if not (child := os.fork()):
        for number in range(20):
            storage.write([record(f"child{name}-{number}")])
        os._exit(0 if storage.flush(20) else 3)
    children.append(child)
statuses = [os.waitpid(child, 0)[1] for child in children]
stop.set()
for thread in threads: thread.join()
assert not any(statuses), statuses
assert storage.flush(20)
"""
    counts = finish(start(OPENED + script, tmp_path, server.url), timeout=60)

    sent = Counter(record["id"] for request in server.requests for record in request.lines)
    assert set(sent.values()) == {1}
    assert len(sent) == sum(map(int, counts)) + 8 * 20


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_of_multiprocessing_deliver_at_their_end(
    tmp_path: Path, server: Collector, start: Start, method: str
) -> None:
    """
    A worker ends without `atexit`; its last records are sent nevertheless.
    """
    (tmp_path / "worker.py").write_text(
        """
import sys
from fluxloop.storage import HTTPStorage, Record

def work(number, folder, url):
    storage = HTTPStorage(url, spool=folder, flush_interval=60, shutdown_timeout=20)
    storage.write([Record("observation", "20260117", b'{"id":"w%d","trace_id":"t"}\\n' % number)])
"""
    )
    script = f"""
import multiprocessing
sys.path.insert(0, {str(tmp_path)!r})
import worker
if __name__ == "__main__":
    context = multiprocessing.get_context({method!r})
    workers = [context.Process(target=worker.work, args=(number, folder, sys.argv[2])) for number in range(3)]
    for each in workers: each.start()
    for each in workers: each.join()
"""
    finish(start(script, tmp_path / "spool", server.url), timeout=60)

    assert sorted(server.ids) == ["w0", "w1", "w2"]
    assert spooled(tmp_path / "spool") == []


def test_processes_with_one_spool_send_nothing_twice(tmp_path: Path, server: Collector, start: Start) -> None:
    """
    Segments of dead processes are claimed by exactly one of those that come at the same time.
    """
    down = f"http://127.0.0.1:{free_port()}"
    write = "storage = opened(use_collector=False)\nfor n in range(50): storage.write([record(f'{sys.argv[3]}-{n}')])"
    for name in range(6):
        finish(start(OPENED + write, tmp_path, down, f"dead{name}"))
    assert len(spooled(tmp_path)) == 6

    alive = "storage = opened()\nstorage.write([record(sys.argv[3])])\nassert storage.flush(20)"
    processes = [start(OPENED + alive, tmp_path, server.url, f"alive{name}") for name in range(4)]
    for process in processes:
        finish(process)

    sent = Counter(record["id"] for request in server.requests for record in request.lines)
    assert len(sent) == 6 * 50 + 4
    assert set(sent.values()) == {1}
    assert spooled(tmp_path) == []


def test_a_torn_last_line_of_a_killed_process_harms_nothing(tmp_path: Path, server: Collector, start: Start) -> None:
    """
    A whole record without its line end is sent; the beginning of one is dropped without a count.
    """
    (tmp_path / "999999-0123456789ab-000000.jsonl").write_bytes(
        b'{"id":"o1","trace_id":"t"}\n{"id":"o2","trace_id":"t"}'
    )
    (tmp_path / "999998-0123456789ab-000000.jsonl").write_bytes(b'{"id":"o3","trace_id":"t"}\n{"id":"o4","tr')
    (tmp_path / "999997-0123456789ab-000000.jsonl").write_bytes(b"")
    script = """
storage = opened()
storage.write([record(5)])
assert storage.flush(20)
print(storage.delivery.sent, storage.delivery.dropped)
"""
    assert finish(start(OPENED + script, tmp_path, server.url)) == ["4 0"]
    assert sorted(server.ids) == ["o1", "o2", "o3", "o5"]
    assert spooled(tmp_path) == []


def test_other_files_in_the_spool_are_left_alone(tmp_path: Path, server: Collector, start: Start) -> None:
    """
    Files with other names, folders and FIFOs are neither sent nor removed, and block nothing.
    """
    import os

    (tmp_path / "notes.jsonl").write_text("mine\n")
    (tmp_path / "refused.jsonl").write_text("{}\n")
    (tmp_path / "12-0123456789ab-000000.jsonl").mkdir()
    os.mkfifo(tmp_path / "13-0123456789ab-000000.jsonl")
    before = spooled(tmp_path)

    finish(start(OPENED + "opened().write([record(1)])", tmp_path, server.url))

    assert server.ids == ["o1"]
    assert spooled(tmp_path) == before


def test_using_the_storage_loads_httpx_in_the_thread_only(tmp_path: Path, start: Start) -> None:
    """
    Importing, configuring and writing load neither httpx nor ssl.
    """
    script = """
import fluxloop
storage = opened(flush_interval=60)
storage.write([record(1)])
print(sorted({"httpx", "ssl", "asyncio"} & sys.modules.keys()))
storage.close()
"""
    assert finish(start(OPENED + script, tmp_path, "http://127.0.0.1:1")) == ["[]"]


@pytest.mark.parametrize("seed", [1, 2])
def test_a_collector_that_comes_and_goes_ends_with_every_record_once(tmp_path: Path, start: Start, seed: int) -> None:
    """
    Four processes write, one of them is killed; the collector fails, hangs up after storing, and restarts.
    """
    chance = random.Random(seed)
    port = free_port()
    script = (
        OPENED
        + """
storage = opened(buffer_size=20, timeout=2, shutdown_timeout=20)
for number in range(300):
    storage.write([record(f"{sys.argv[3]}-{number:03}")])
    print(number, flush=True)
    time.sleep(0.002)
if sys.argv[3] == "0":
    os.kill(os.getpid(), 9)
for _ in range(100):
    if storage.flush(1): break
"""
    )
    processes = [start(script, tmp_path, f"http://127.0.0.1:{port}", name) for name in range(4)]
    earlier = Collector()
    seen = earlier.records

    def misbehave(request: Request) -> Reply | None:
        draw = chance.random()
        if draw < 0.2:
            return Reply(chance.choice([500, 503, 429]), "", {"Retry-After": "0"})
        if draw < 0.4:
            running.store(request)
            return Reply(502)
        return None

    for life in range(3):
        with collector(port) as running:
            running.restart(earlier)
            running.behaviour = misbehave
            if life < 2:
                enough = len(seen) + 50
                running.wait(lambda: len(seen) > enough, timeout=30)  # noqa: B023 - called before the loop goes on
                continue
            for process in processes:
                process.communicate(timeout=60)
            finish(start(OPENED + "opened(shutdown_timeout=30).write([record('last')])", tmp_path, running.url))
            running.behaviour = lambda _: None
            finish(start(OPENED + "opened(shutdown_timeout=30).write([record('end')])", tmp_path, running.url))

    ids = [str(each["id"]) for each in seen]
    expected = {f"o{name}-{number:03}" for name in range(4) for number in range(300)} | {"olast", "oend"}
    assert len(ids) == len(set(ids))
    assert set(ids) == expected, f"seed {seed}: {len(expected - set(ids))} lost"
    for name in range(4):
        own = [each for each in ids if each.startswith(f"o{name}-")]
        assert own == sorted(own)
    assert spooled(tmp_path) == []


LEFT_OPEN = """
import os, sys
import fluxloop

fluxloop.configure(storage="http", base_path=sys.argv[1], collector_url=sys.argv[2], flush_interval=0.01)

@fluxloop.tool
def search(word):
    return word

@fluxloop.agent
def bot(word):
    search(word)
    fluxloop.flush(10)
    with fluxloop.instrument("waiting"):
        os.kill(os.getpid(), 9)

bot("hello")
"""


@pytest.mark.parametrize("by", ["the next program", "fluxloop upload"])
def test_what_was_open_in_a_killed_process_is_sent_as_crashed(
    tmp_path: Path, server: Collector, start: Start, by: str
) -> None:
    """
    The agent, its trace and the observation within; what had ended keeps its end, and nothing is left in the spool.
    """
    start(LEFT_OPEN, tmp_path, server.url).wait()
    assert [record["name"] for record in server.records] == ["search"]

    if by == "the next program":
        program = f"import fluxloop\nfluxloop.configure(storage='http', base_path={str(tmp_path)!r}, "
        program += f"collector_url={server.url!r})\nwith fluxloop.instrument('next'): pass"
        finish(start(program, tmp_path))
    else:
        command = [sys.executable, "-m", "fluxloop", "upload", str(tmp_path), "--url", server.url]
        subprocess.run(command, check=True, timeout=55, env=offline.environment(PYTHONPATH=str(ROOT)))
    crashed = {record["name"] for record in server.records if record.get("status") == "crashed"}

    assert crashed >= {"bot", "waiting"}
    assert any("id" not in record and record["name"] == "bot" for record in server.records)
    (folder,) = (tmp_path / ".spool").iterdir()
    assert [path.name for path in folder.iterdir()] == []
