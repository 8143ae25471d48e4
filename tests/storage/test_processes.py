"""Real processes: killed, forked, many at once, on full and read-only disks."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from collector_aids import collector

import fluxloop
from fluxloop.cli.diagnosis import diagnose
from fluxloop.reading.watch import Watch
from fluxloop.settings.layers import Configuration
from fluxloop.storage import FileStorage, HTTPStorage, Record
from fluxloop.storage.inflight import read_journals

Start = Callable[..., subprocess.Popen[bytes]]
Lines = Callable[[Path], list[dict[str, Any]]]

linux_root = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="needs root on Linux, to mount or to become another user"
)


def line_of(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    return process.stdout.readline()


# Killed


@pytest.mark.slow
def test_every_record_acknowledged_before_a_kill_is_in_the_file(tmp_path: Path, start: Start) -> None:
    """
    `kill -9` in the middle of 1,000 records a second loses none whose `write` had returned.
    """
    script = """
        storage = FileStorage(folder)
        for number in range(100_000):
            slot = storage.journal.put(head(number))
            storage.write([record(number, input="x" * 300)])
            storage.journal.free(slot, recorded=True)
            os.write(1, b"%d\\n" % number)
            time.sleep(0.0005)
        """
    for attempt in range(5):
        folder = tmp_path / str(attempt)
        process = start(script, folder)
        line_of(process)
        time.sleep(random.uniform(0.1, 0.4))
        process.kill()
        output, _ = process.communicate()
        acknowledged = [0, *map(int, output.split(b"\n")[:-1])]

        kept = [line["id"] for line in FileStorage(folder).read()]
        assert kept[: len(acknowledged)] == [f"o{number}" for number in acknowledged]
        assert len(kept) - len(acknowledged) <= 1
        (inflight,) = read_journals(folder)
        assert not inflight.alive
        assert {record["id"] for record in inflight.records} - {*kept} <= {f"o{len(kept)}"}


@pytest.mark.slow
def test_a_journal_killed_at_any_moment_is_whole(tmp_path: Path, start: Start) -> None:
    """
    Slots filled and freed as fast as can be, then `kill -9`: no slot holds parts of two observations.
    """
    script = """
        journal = Journal(folder)
        heads = [head(n, again=f"o{n}", pad="x" * n) for n in range(900)]
        slots = [journal.put(each) for each in heads[:40]]
        print("ready", flush=True)
        while True:
            for each in heads:
                slots.append(journal.put(each))
                journal.free(slots.pop(0), recorded=True)
        """
    for attempt in range(15):
        folder = tmp_path / str(attempt)
        process = start(script, folder)
        line_of(process)
        time.sleep(random.uniform(0.0, 0.05))
        process.kill()
        process.wait()

        (inflight,) = read_journals(folder)
        assert len(inflight.records) in (40, 41)  # the latter when the oldest one had just ended
        for record in inflight.records:
            assert record["id"] == record["again"] == f"o{len(record['pad'])}"


@pytest.mark.slow
def test_a_running_journal_is_read_whole(tmp_path: Path, start: Start) -> None:
    """
    While its process fills and frees slots, readers never see half of one observation and half of another.
    """
    process = start(
        """
        journal = Journal(folder)
        heads = [head(n, again=f"o{n}", pad="x" * n) for n in range(900)]
        slots = [journal.put(each) for each in heads[:40]]
        print("ready", flush=True)
        while True:
            for each in heads:
                slots.append(journal.put(each))
                journal.free(slots.pop(0), recorded=True)
        """,
        tmp_path,
    )
    line_of(process)

    records = []
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        (inflight,) = read_journals(tmp_path)
        assert inflight.alive
        records += inflight.records

    assert records
    assert all(record["id"] == record["again"] == f"o{len(record['pad'])}" for record in records)


# Many at once


@pytest.mark.slow
def test_many_processes_and_threads_tear_nothing(tmp_path: Path, start: Start, lines: Lines) -> None:
    """
    6 processes of 4 threads each, lines from 100 B to 200 kB: all there, all whole, no blank line.
    """
    script = """
        import threading
        name = sys.argv[2]
        storage = FileStorage(folder)
        def work(thread):
            for number in range(50):
                storage.write([record(f"{name}-{thread}-{number}", input="x" * 200 * (number % 50) ** 2)])
                storage.write([record(f"{name}-{thread}-{number}", kind="trace")])
        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        """
    expected = {f"{name}-{thread}-{n}" for name in range(6) for thread in range(4) for n in range(50)}

    for process in [start(script, tmp_path, name) for name in range(6)]:
        assert process.wait() == 0

    assert Counter(line["id"][1:] for line in lines(tmp_path / "observations_20260117.jsonl")) == Counter(expected)
    assert Counter(line["trace_id"][1:] for line in lines(tmp_path / "traces_20260117.jsonl")) == Counter(expected)


@pytest.mark.slow
def test_opening_a_file_others_write_to_adds_no_blank_line(tmp_path: Path, start: Start, lines: Lines) -> None:
    """
    Half a line that another process is just writing is not taken for a torn one.
    """
    script = """
        big = record("big", input="x" * 4_000_000)
        while True:
            FileStorage(folder).write([big])
            os.truncate(folder + "/observations_20260117.jsonl", 0) if sys.argv[2] == "0" else None
        """
    tmp_path.joinpath("observations_20260117.jsonl").touch()
    writers = [start(script, tmp_path, number) for number in range(2)]
    time.sleep(0.3)
    small = Record("observation", "20260117", b'{"id":"small","trace_id":"t"}\n')
    seen: list[int] = []
    write = os.write

    def noted(fd: int, data: bytes) -> int:
        seen.extend([len(data)] if data else [])
        return write(fd, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "write", noted)
        for _ in range(300):
            FileStorage(tmp_path).write([small])
    for writer in writers:
        writer.kill()

    assert seen == [len(small.line)] * 300


@pytest.mark.parametrize("start_method", ["fork", "spawn", "forkserver"])
def test_multiprocessing_writes_from_every_child(tmp_path: Path, start: Start, lines: Lines, start_method: str) -> None:
    """
    Whichever way Python starts its workers, their records are in the one file, and no journal stays behind.
    """
    script = tmp_path / "script.py"
    script.write_text(f"""
import multiprocessing, sys
from fluxloop.storage import FileStorage, Record

storage = FileStorage({str(tmp_path / "traces")!r})

def work(number):
    slot = storage.journal.put(b'{{"id":"o%d"' % number)
    storage.write([Record("observation", "20260117", b'{{"id":"o%d"}}\\n' % number)])
    storage.journal.free(slot, recorded=True)

if __name__ == "__main__":
    work(0)
    context = multiprocessing.get_context({start_method!r})
    children = [context.Process(target=work, args=(number,)) for number in (1, 2, 3)]
    [child.start() for child in children]
    [child.join() for child in children]
    work(4)
""")

    process = subprocess.run([sys.executable, script], env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])})

    assert process.returncode == 0
    assert {line["id"] for line in lines(tmp_path / "traces" / "observations_20260117.jsonl")} == {
        f"o{number}" for number in range(5)
    }
    assert os.listdir(tmp_path / "traces") == ["observations_20260117.jsonl"]


def test_a_child_records_though_other_threads_held_every_lock_at_the_fork(tmp_path: Path, start: Start) -> None:
    """
    Locks that no thread of the child can release are not waited for, and the child imports nothing while it records.
    """
    process = start(
        """
        import gc, threading
        import fluxloop, fluxloop.forks
        fluxloop.configure(base_path=folder)
        fluxloop.forks._MAX_WAIT_S = 0.1  # of the fork, for one of the locks

        @fluxloop.tool
        def tool(n):
            return n

        @fluxloop.agent
        def agent(n):
            return [tool(n) for n in range(3)]

        agent(0)
        kind = type(threading.RLock())
        modules = [m for name, m in sys.modules.items() if name.startswith("fluxloop")]
        owners = [*map(vars, modules), *(vars(o) for o in gc.get_objects() if type(o).__module__.startswith("fluxloop")
                                         and hasattr(o, "__dict__"))]
        locks = {id(v): v for owner in owners for v in owner.values() if isinstance(v, (kind, type(threading.Lock())))}
        ready, done = threading.Event(), threading.Event()

        def hold():
            for each in locks.values():
                each.acquire()
            ready.set()
            done.wait()
            for each in locks.values():
                each.release()

        class Refuse:
            def find_spec(self, name, path=None, target=None):
                os.write(1, b"imports " + name.encode() + b"\\n")

        holder = threading.Thread(target=hold)
        holder.start()
        ready.wait()
        child = os.fork()
        if not child:
            sys.meta_path.insert(0, Refuse())
            agent(1)
            fluxloop.report()
            os._exit(0)
        for _ in range(1_000):
            if os.waitpid(child, os.WNOHANG)[0]:
                print(len(locks) > 3, "ended", flush=True)
                break
            time.sleep(0.01)
        else:
            os.kill(child, 9)
        done.set()
        """,
        tmp_path,
    )
    output, _ = process.communicate()

    assert output == b"True ended\n"
    assert len(list(fluxloop.read_traces(tmp_path))) == 2


def test_readers_show_as_open_only_what_is_open(tmp_path: Path, start: Start) -> None:
    """
    A journal may hold observations that have ended: `view --follow`, `doctor` and `read_traces` find their records.
    """
    process = start(
        """
        import fluxloop
        fluxloop.configure(base_path=folder)
        with fluxloop.instrument("outer"):
            for n in range(3):
                with fluxloop.observe("a"), fluxloop.observe("b"):
                    pass
            print("open", flush=True)
            time.sleep(60)
        """,
        tmp_path,
    )
    line_of(process)

    shown = [record["name"] for inflight in read_journals(tmp_path) for record in inflight.records]
    (seen,) = Watch(tmp_path).poll().running
    (trace,) = fluxloop.read_traces(tmp_path)
    configuration = Configuration(isolated=True)
    configuration.configure(base_path=tmp_path)
    files = diagnose(configuration, "0").files

    assert sorted(shown) == ["a", "b", "outer"]
    for each in (seen, trace):
        assert [o.name for o in each.observations if o.status is None] == ["outer"]
    assert (files.running, files.crashed) == (1, 0)


def test_both_sides_of_a_fork_write(tmp_path: Path, start: Start, lines: Lines) -> None:
    """
    After `fork` parent and child both go on, though a thread held our locks: nothing twice, all there.
    """
    process = start(
        """
        from fluxloop.storage import file, journal
        storage = FileStorage(folder)
        storage.write([record("before")])
        file._files_lock.acquire(); journal._files_lock.acquire()
        import threading
        child = []
        def fork_elsewhere():
            child.append(os.fork())
            side = "parent" if child[0] else "child"
            if side == "parent":
                released.wait()
            for number in range(500):
                slot = storage.journal.put(head(number))
                storage.write([record(f"-{side}-{number}"), record(f"-{side}-{number}", kind="trace")])
                storage.journal.free(slot, recorded=True)
            if side == "child":
                os._exit(0)
        released = threading.Event()
        thread = threading.Thread(target=fork_elsewhere)
        thread.start()
        while not child:
            time.sleep(0.01)
        journal._files_lock.release(); file._files_lock.release(); released.set()
        thread.join()
        os.waitpid(child[0], 0)
        """,
        tmp_path,
    )

    assert process.wait() == 0
    ids = [line["id"] for line in lines(tmp_path / "observations_20260117.jsonl")]
    assert Counter(ids) == Counter(
        ["obefore", *(f"o-{side}-{number}" for side in ("parent", "child") for number in range(500))]
    )


def test_a_child_that_closes_every_file_it_finds_keeps_its_records(tmp_path: Path, start: Start, lines: Lines) -> None:
    """
    What daemons do after a fork: our lines are not in the files that get the numbers next.
    """
    process = start(
        """
        storage = FileStorage(folder + "/traces")
        storage.write([record(1)])
        if not os.fork():
            os.closerange(3, 64)
            for number in range(20):
                os.open(f"{folder}/others-{number}", os.O_RDWR | os.O_CREAT)
            storage.write([record(2)])
            os._exit(0)
        os.wait()
        """,
        tmp_path,
    )

    assert process.wait() == 0
    assert [line["id"] for line in lines(tmp_path / "traces" / "observations_20260117.jsonl")] == ["o1", "o2"]
    assert {path.stat().st_size for path in tmp_path.glob("others-*")} == {0}


# The beginning and the end


def test_an_ordinary_program_leaves_the_two_files_and_no_more(tmp_path: Path, start: Start) -> None:
    """
    At exit both files are there, no thread was left to wait for, and no journal remains.
    """
    process = start(
        """
        import threading
        storage = FileStorage(folder)
        slot = storage.journal.put(head(1))
        storage.write([record(1), record(1, kind="trace")])
        storage.journal.free(slot)
        print(threading.active_count())
        """,
        tmp_path,
    )
    output, _ = process.communicate()

    assert output == b"1\n"
    assert sorted(os.listdir(tmp_path)) == ["observations_20260117.jsonl", "traces_20260117.jsonl"]


def test_a_thread_stuck_on_a_dead_disk_does_not_hold_up_the_exit(tmp_path: Path, start: Start) -> None:
    """
    The program ends, whatever one of its threads is waiting for.
    """
    process = start(
        """
        import threading
        from fluxloop.storage import journal
        def stuck():
            with journal._files_lock:
                ready.set()
                time.sleep(60)
        ours = Journal(folder)
        ours.free(ours.put(head(1)))
        ready = threading.Event()
        threading.Thread(target=stuck, daemon=True).start()
        ready.wait()
        """,
        tmp_path,
    )

    assert process.wait(timeout=20) == 0


def test_importing_is_quiet_and_light(tmp_path: Path, start: Start) -> None:
    """
    The import makes no file and loads nothing heavy.
    """
    process = start(
        """
        os.chdir(folder)
        heavy = {"pydantic", "httpx", "tempfile", "shutil", "asyncio", "subprocess", "ctypes", "multiprocessing"}
        print(sorted(heavy & set(sys.modules)), os.listdir("."))
        """,
        tmp_path,
    )
    output, _ = process.communicate()

    assert output == b"[] []\n"


@pytest.mark.parametrize("handlers", ["before", "after"])
def test_what_is_recorded_on_the_way_out_is_kept(tmp_path: Path, start: Start, lines: Lines, handlers: str) -> None:
    """
    A program that records in exit handlers, before or after ours, loses nothing and leaves no journal.
    """
    process = start(
        """
        import atexit, ctypes
        from fluxloop.storage import journal
        storage = FileStorage(folder)
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(storage))  # so that no finalizer cleans up
        def work(number):
            slot = storage.journal.put(head(number))
            storage.write([record(number)])
            storage.journal.free(slot, recorded=True)
        atexit.register(work, 2)
        if sys.argv[2] == "after":
            atexit.unregister(journal._exiting)
            atexit.register(journal._exiting)
        work(1)
        """,
        tmp_path,
        handlers,
    )

    assert process.wait() == 0
    assert [line["id"] for line in lines(tmp_path / "observations_20260117.jsonl")] == ["o1", "o2"]
    assert list(tmp_path.glob(".inflight-*")) == []


# Disks


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


@linux_root
def test_a_full_disk_is_reported_and_survived(small_disk: Path) -> None:
    """
    Records are refused with a clear error while the disk is full, and stored again when it is not.
    """
    storage = FileStorage(small_disk / "traces")
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(500_000))
    big = Record("observation", "20260117", b'{"id":"big","trace_id":"t","input":"%b"}\n' % (b"x" * 30_000))
    kept = 0
    refused = None
    while refused is None:
        try:
            storage.write([big])
            kept += 1
        except OSError as exc:
            refused = exc
    ballast.unlink()

    storage.write([big, big])

    assert "No space left on device. Free some space; recording then continues." in str(refused)
    assert kept > 5
    assert [record["id"] for record in storage.read()] == ["big"] * (kept + 2)
    (path,) = small_disk.glob("traces/*.jsonl")
    assert b"\n\n" not in path.read_bytes()


@linux_root
def test_the_report_counts_exactly_what_a_full_disk_refused(small_disk: Path) -> None:
    """
    Every record is in the files or counted as failed, and none is counted twice.
    """
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(700_000))
    runs = 200
    with fluxloop.FluxLoopClient(base_path=small_disk / "traces") as client:
        work = client.agent(lambda text: text)
        for n in range(runs):
            work("x" * 97 * (n % 50))
            if n == 150:
                ballast.unlink()
        report = client.report()

    records = list(FileStorage(small_disk / "traces").read())
    assert report.failed > 10
    assert (report.written, report.written + report.failed) == (len(records), 2 * runs)


@linux_root
def test_a_full_disk_is_no_loss_with_a_collector(small_disk: Path, record: Callable[..., Record]) -> None:
    """
    What the spool cannot take is sent from memory; the positions that cannot be written cost nothing either.
    """
    (small_disk / "ballast").write_bytes(bytes(950_000))
    with collector() as server:
        storage = HTTPStorage(server.url, spool=small_disk / "spool", flush_interval=0.05)
        for number in range(100):
            storage.write([record(number, input="x" * 3_000)])
        assert storage.flush(timeout=30)
        storage.close()

    assert sorted(server.ids) == sorted(f"o{number}" for number in range(100))
    assert (storage.delivery.sent, storage.delivery.dropped, storage.delivery.spooled) == (100, 0, 0)


@linux_root
def test_a_full_disk_costs_the_journal_its_slots_and_the_program_nothing(small_disk: Path, start: Start) -> None:
    """
    Observations that begin while the disk is full have no slot; those that begin later have one again.
    """
    process = start(
        """
        journal = Journal(folder)
        first = journal.put(head(0))
        ballast = os.open(folder + "/ballast", os.O_WRONLY | os.O_CREAT)
        try:
            while True:
                os.write(ballast, bytes(4096))
        except OSError:
            pass
        slots = [journal.put(head(n)) for n in range(1, 200)]
        for slot in slots:
            journal.free(slot)
        os.unlink(folder + "/ballast"); os.close(ballast)
        print(slots.count(-1) > 100, "No space" in journal.problem, -1 in [journal.put(head(n)) for n in range(200)])
        """,
        small_disk,
    )
    output, _ = process.communicate()

    assert process.returncode == 0
    assert output == b"True True False\n"


# Files that others touch while the program runs


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: [os.truncate(path, 0) for path in folder.iterdir()],
        lambda folder: [os.truncate(path, 100) for path in folder.iterdir()],
        lambda folder: [path.unlink() for path in folder.iterdir()],
        lambda folder: [(path.unlink(), path.write_text("notes\n")) for path in folder.iterdir()],
        lambda folder: shutil.rmtree(folder),
        lambda folder: folder.rename(folder.with_name("old")),
        lambda folder: (folder.rename(folder.with_name("old")), folder.write_text("notes"), folder.unlink()),
    ],
    ids=["emptied", "shortened", "deleted", "replaced", "folder deleted", "folder renamed", "folder a file"],
)
def test_whatever_others_do_to_the_files_the_program_goes_on(
    tmp_path: Path, start: Start, damage: Callable[[Path], object]
) -> None:
    """
    A real program with open observations: afterwards they end as before, and what is open can be read again.
    """
    folder = tmp_path / "traces"
    process = start(
        """
        import fluxloop
        fluxloop.configure(base_path=folder)
        outer = fluxloop.instrument("outer"); outer.__enter__()
        inner = fluxloop.observe("inner"); inner.__enter__()
        with fluxloop.observe("before"):
            pass
        print("ready", flush=True)
        sys.stdin.readline()
        time.sleep(0.5)  # so long a renamed file may go unnoticed
        for n in range(200):
            with fluxloop.observe(f"after-{n}"):
                pass
        print("open", flush=True)
        sys.stdin.readline()
        inner.__exit__(None, None, None); outer.__exit__(None, None, None)
        report = fluxloop.report()
        print(report.failed, report.dropped, flush=True)
        """,
        folder,
    )
    line_of(process)

    damage(folder)
    process.stdin.write(b"\n")
    line_of(process)
    (trace,) = fluxloop.read_traces(folder)
    running = {o.name for o in trace.observations if o.status is None}
    output, _ = process.communicate(b"\n")

    (trace,) = fluxloop.read_traces(folder)
    assert process.returncode == 0
    assert output == b"0 0\n"
    assert running == {"outer", "inner"}
    assert {o.name for o in trace.observations} >= {"outer", "inner", *(f"after-{n}" for n in range(200))}
    assert [path.read_bytes() for path in folder.glob(".inflight-*")] in ([], [b"notes\n"])  # what was put there


def test_without_a_journal_there_is_no_hidden_file(tmp_path: Path, start: Start) -> None:
    """
    ``FLUXLOOP_JOURNAL=off``: finished observations are stored, and of a killed process the open ones are missing.
    """
    process = start(
        """
        os.environ["FLUXLOOP_JOURNAL"] = "off"
        os.environ["FLUXLOOP_BASE_PATH"] = folder
        import fluxloop
        with fluxloop.instrument("open"):
            with fluxloop.observe("done"):
                pass
            print(os.listdir(folder), flush=True)
            time.sleep(60)
        """,
        tmp_path,
    )
    listed = line_of(process)
    process.kill()
    process.wait()

    (trace,) = fluxloop.read_traces(tmp_path)
    assert listed.startswith(b"['observations_")
    assert listed.count(b",") == 0
    assert [o.name for o in trace.observations] == ["done"]


def test_a_limit_on_file_size_is_reported_and_survived(tmp_path: Path, start: Start) -> None:
    """
    A short write at the limit of `ulimit -f`, then the error; the next process closes the torn line.
    """
    process = start(
        """
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        storage = FileStorage(folder)
        for number in range(100):
            try:
                storage.write([record(number, input="x" * 900)])
            except OSError as exc:
                print(number, exc.errno, "ulimit" in str(exc), flush=True)
                break
        """,
        tmp_path,
    )
    output, _ = process.communicate()
    torn = (tmp_path / "observations_20260117.jsonl").read_bytes()

    FileStorage(tmp_path).write([Record("observation", "20260117", b'{"id":"o99","trace_id":"t"}\n')])

    assert output == b"10 27 True\n"
    assert len(torn) == 10_000
    assert [record["id"] for record in FileStorage(tmp_path).read()] == [*(f"o{n}" for n in range(10)), "o99"]
    assert json.loads((tmp_path / "observations_20260117.jsonl").read_bytes().splitlines()[-1])["id"] == "o99"


@linux_root
def test_a_folder_of_another_user_is_reported(tmp_path: Path, start: Start) -> None:
    """
    Without write permission there is a clear error, from `write` and from `check`, and no journal.
    """
    process = start(
        """
        import shutil, tempfile  # while we may still read them
        os.chmod(folder, 0o755)
        os.setuid(65534)
        for path in (folder, folder + "/traces"):
            storage = FileStorage(path)
            try:
                storage.write([record(1)])
            except OSError as exc:
                print("Give this user write permission" in str(exc), len(storage.check()))
            print(storage.journal.put(head(1)), storage.journal.problem is not None)
        """,
        tmp_path,
    )
    output, _ = process.communicate()

    assert output.split() == [b"True", b"1", b"-1", b"True"] * 2
    assert list(tmp_path.iterdir()) == []


@linux_root
def test_a_read_only_disk_is_reported(small_disk: Path) -> None:
    """
    The same on a disk that was mounted read-only.
    """
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    storage = FileStorage(small_disk / "traces")

    with pytest.raises(OSError, match=r"Read-only file system\..*Give this user write permission"):
        storage.write([Record("observation", "20260117", b"{}\n")])

    assert ["Read-only file system" in problem for problem in storage.check()] == [True]


@pytest.mark.slow
def test_a_folder_deleted_again_and_again_loses_only_what_was_in_it(tmp_path: Path, start: Start) -> None:
    """
    `rm -rf traces` under a running program: it goes on, and within a second records are in a new folder.
    """
    folder = tmp_path / "traces"
    process = start(
        """
        storage = FileStorage(folder)
        for number in range(100_000):
            slot = storage.journal.put(head(number))
            storage.write([record(number)])
            storage.journal.free(slot, recorded=True)
            if not number % 100:
                os.write(1, b"%d\\n" % number)
            time.sleep(0.001)
        """,
        folder,
    )

    for _ in range(3):
        line_of(process)
        shutil.rmtree(folder, ignore_errors=True)
        deadline = time.monotonic() + 5
        while not folder.exists() and time.monotonic() < deadline:
            time.sleep(0.02)

        assert folder.exists()
    assert process.poll() is None
    open_files = len(os.listdir(f"/proc/{process.pid}/fd"))
    assert open_files < 12
