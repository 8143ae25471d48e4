"""
Cassettes: recorded once, replayed offline, and the same file for the same run.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextvars import copy_context
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

import fluxloop
from fluxloop.enums import SCHEMA_VERSION
from fluxloop.errors import ReplayError, WriteError
from fluxloop.replay import cassette_files
from fluxloop.replay.cassettes import problems_in
from fluxloop.testing import capture

ran: list[str] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    ran.clear()


@fluxloop.tool
async def look(city: str) -> dict[str, Any]:
    ran.append(city)
    await asyncio.sleep(0.001 if city == "Rome" else 0)
    return {"city": city, "sunny": True}


@fluxloop.agent
async def weather(*cities: str) -> list[Any]:
    return await asyncio.gather(*map(look, cities))


def run(*cities: str) -> list[Any]:
    return asyncio.run(weather(*cities))


def test_once_records_a_missing_cassette_and_replays_it_then(tmp_path):
    """
    The first block runs the calls, the second is answered; the file is a trace file.
    """
    path = tmp_path / "cassettes" / "weather.jsonl"
    with fluxloop.cassette(path) as first:
        expected = run("Rome", "Oslo")
    assert first.report() is None
    assert ran == ["Rome", "Oslo"]
    with fluxloop.cassette(path) as second:
        assert run("Rome", "Oslo") == expected

    assert len(ran) == 2
    assert second.report().is_same
    [trace] = fluxloop.read_traces(path)
    assert trace.name == "weather"
    assert trace.trace_id == "weather-1"
    assert problems_in(path) == []


def test_recording_the_same_run_again_changes_nothing(tmp_path):
    """
    Ids and times are numbers, also of concurrent calls.
    """
    path = tmp_path / "weather.jsonl"
    texts = []
    for _ in range(3):
        with fluxloop.cassette(path, "rewrite"):
            run("Rome", "Oslo", "Bern")
        texts.append(path.read_bytes())
    assert len(set(texts)) == 1


@pytest.mark.parametrize("is_in_a_trace", [False, True])
def test_threads_that_start_in_another_order_change_nothing(tmp_path, is_in_a_trace):
    """
    Neither the order of traces nor that of what their inputs have as ids, where these ran at the same time.
    """

    def work(given: dict[str, Any]) -> Any:
        return given["number"]

    part = fluxloop.trace(work) if is_in_a_trace else fluxloop.agent(work)

    def together(first: int) -> None:
        both_run = threading.Barrier(2, timeout=10)
        is_first_there = threading.Event()

        @fluxloop.tool
        def meet() -> None:
            is_first_there.set()
            both_run.wait()

        def one(number: int) -> None:
            if number != first:
                assert is_first_there.wait(10)
            with fluxloop.instrument(f"part {number}"):
                meet()
                part({"id": str(uuid4()), "number": number})

        started = [threading.Thread(target=copy_context().run, args=(one, number)) for number in range(2)]
        for each in started:
            each.start()
        for each in started:
            each.join()

    run_both = fluxloop.agent(together, capture_input=False) if is_in_a_trace else together
    files = [tmp_path / str(first) / "run.jsonl" for first in range(2)]
    for first, path in enumerate(files):
        with fluxloop.cassette(path):
            run_both(first)

    assert files[0].read_bytes() == files[1].read_bytes()


def test_inputs_with_ids_that_change_are_in_the_order_of_what_else_they_have(tmp_path):
    """
    Random ids do not decide the order of what runs at the same time.
    """

    @fluxloop.tool
    async def look_at(item: Any) -> None:
        await asyncio.sleep(0.01)

    @fluxloop.agent(capture_input=False)
    async def look_at_all(numbers: list[int]) -> None:
        await asyncio.gather(*(look_at({"id": str(uuid4()), "number": number}) for number in numbers))

    found = set()
    for attempt in range(8):
        path = tmp_path / str(attempt) / "run.jsonl"
        with fluxloop.cassette(path):
            asyncio.run(look_at_all([1, 2, 3] if attempt % 2 else [3, 2, 1]))
        found.add(path.read_bytes())

    assert len(found) == 1


def test_none_needs_a_cassette_and_runs_nothing(tmp_path):
    """
    Without a file, the error says how to record; a call that is not in the file is a miss.
    """
    path = tmp_path / "weather.jsonl"
    with pytest.raises(ReplayError, match="mode='once'"), fluxloop.cassette(path, "none"):
        pass
    with fluxloop.cassette(path):
        run("Rome")
    before = path.read_bytes()
    with pytest.raises(fluxloop.ReplayMismatch), fluxloop.cassette(path, "none"):
        run("Oslo")
    assert ran == ["Rome"]
    assert path.read_bytes() == before


def test_new_episodes_records_what_is_not_in_the_cassette(tmp_path):
    """
    A known call is answered, a new one runs; afterwards both are answered.
    """
    path = tmp_path / "weather.jsonl"
    with fluxloop.cassette(path):
        run("Rome")
    with fluxloop.cassette(path, "new_episodes"):
        run("Rome", "Oslo")
    with fluxloop.cassette(path, "none"):
        run("Rome", "Oslo")
    assert ran == ["Rome", "Oslo"]


def test_a_block_that_fails_leaves_the_cassette_as_it_was(tmp_path):
    """
    An exception ends the block; the file is neither made nor changed.
    """
    path = tmp_path / "weather.jsonl"
    with pytest.raises(KeyError), fluxloop.cassette(path):
        run("Rome")
        raise KeyError("later")
    assert not path.exists()
    assert list(tmp_path.iterdir()) == []


def test_a_block_without_calls_says_so(tmp_path):
    """
    Nothing was recorded: the error names what is missing, instead of an empty cassette that answers nothing.
    """
    with pytest.raises(ReplayError, match="no call was recorded"), fluxloop.cassette(tmp_path / "empty.jsonl"):
        pass


def test_the_decorator_opens_the_cassette_for_each_call(tmp_path):
    """
    A test function, plain or async, is recorded by its first call.
    """
    path = tmp_path / "weather.jsonl"

    @fluxloop.cassette(path)
    async def case() -> list[Any]:
        return await weather("Rome")

    assert asyncio.run(case()) == asyncio.run(case())
    assert ran == ["Rome"]


def test_the_decorator_holds_the_cassette_open_while_a_generator_is_read(tmp_path):
    """
    The block of a generator, plain or async, ends with the generator, and not when it is created.
    """

    @fluxloop.tool
    def forecast(city: str) -> str:
        ran.append(city)
        return f"rain in {city}"

    @fluxloop.agent
    def travel(city: str) -> str:
        return forecast(city)

    @fluxloop.cassette(tmp_path / "plain.jsonl")
    def plain() -> Iterator[str]:
        yield travel("Oslo")
        yield travel("Bern")

    @fluxloop.cassette(tmp_path / "async.jsonl")
    async def asynchronous() -> AsyncIterator[str]:
        yield travel("Oslo")
        yield travel("Bern")

    async def read() -> list[str]:
        return [item async for item in asynchronous()]

    assert list(plain()) == list(plain()) == asyncio.run(read()) == asyncio.run(read())
    assert ran == ["Oslo", "Bern"] * 2


def test_unknown_modes_are_refused(tmp_path):
    """
    The message lists the modes.
    """
    with pytest.raises(ReplayError, match="once, none, new_episodes, rewrite"):
        fluxloop.cassette(tmp_path / "x.jsonl", "all")


def test_problems_of_a_cassette_are_found(tmp_path):
    """
    An ordinary record with a cut and a masked answer, and a file without any trace.
    """

    @fluxloop.tool
    def big(n: int) -> dict[str, str]:
        return {"text": "x" * n, "password": "hunter2"}

    with fluxloop.testing.capture(max_leaf_bytes=500) as captured, fluxloop.instrument("run"):
        big(5_000)
    from fluxloop.replay.cassette_files import write

    path = Path(tmp_path / "cut.jsonl")
    write(path, captured.traces())
    (tmp_path / "empty.jsonl").write_text("")

    assert problems_in(path) == [
        "TOOL big: the answer was cut when it was recorded",
        "TOOL big: a secret in the answer is masked",
    ]
    assert problems_in(tmp_path / "empty.jsonl") == ["it has no trace"]


def _torn(whole: bytes) -> dict[str, tuple[bytes, str]]:
    first, second, *others = whole.splitlines(keepends=True)
    rest = b"".join(others)
    return {
        "its last line is torn": (whole[:-40], "line 3 is torn"),
        "a line inside is torn": (first + second[:30] + b"\n" + rest, "line 2 is torn"),
        "its end is missing": (first + second, "the end of trace weather-1 is missing"),
        "it has other lines": (whole + b"[1]\n", "line 4 is torn, or is not a record"),
    }


@pytest.mark.parametrize("damage", ["its last line is torn", "a line inside is torn", "its end is missing"])
@pytest.mark.parametrize("mode", ["once", "none", "new_episodes"])
def test_a_damaged_cassette_is_an_error_and_stays_as_it_is(tmp_path, mode, damage):
    """
    The line is named, nothing runs, and the file is not changed.
    """
    path = tmp_path / "weather.jsonl"
    with fluxloop.cassette(path):
        run("Rome")
    ran.clear()
    data, message = _torn(path.read_bytes())[damage]
    path.write_bytes(data)

    with pytest.raises(ReplayError, match=message), fluxloop.cassette(path, mode):
        run("Rome")

    assert path.read_bytes() == data
    assert ran == []
    assert any(message in problem for problem in problems_in(path))


@pytest.mark.parametrize("mode", ["once", "none", "new_episodes"])
def test_a_cassette_of_a_newer_format_is_an_error_and_stays_as_it_is(tmp_path, mode):
    """
    What a newer version recorded may have another meaning, so nothing of it is served.
    """
    path = tmp_path / "weather.jsonl"
    with fluxloop.cassette(path):
        run("Rome")
    ran.clear()
    data = path.read_bytes().replace(b'"schema":%d' % SCHEMA_VERSION, b'"schema":99')
    path.write_bytes(data)

    with pytest.raises(ReplayError, match="has the record format 99"), fluxloop.cassette(path, mode):
        run("Rome")
    with pytest.raises(ReplayError, match="update FluxLoop"), fluxloop.replay(path):
        run("Rome")

    assert path.read_bytes() == data
    assert b'"schema":99' in data
    assert ran == []


@pytest.mark.parametrize("change", [lambda data: data.replace(b"\n", b"\r\n"), lambda data: b"\xef\xbb\xbf" + data])
def test_line_ends_and_a_mark_of_another_system_do_not_matter(tmp_path, change):
    """
    As git or an editor may write them.
    """
    path = tmp_path / "weather.jsonl"
    with fluxloop.cassette(path):
        expected = run("Rome")
    path.write_bytes(change(path.read_bytes()))
    with fluxloop.cassette(path, "none"):
        assert run("Rome") == expected


def test_threads_may_write_one_cassette(tmp_path):
    """
    The last one wins; the file is whole, and nothing is left beside it.
    """
    path = tmp_path / "weather.jsonl"
    failures: list[BaseException] = []

    def write(city: str) -> None:
        try:
            for _ in range(20):
                cassette_files.write(path, traces[city])
        except BaseException as problem:
            failures.append(problem)

    traces = {}
    for city in ("Rome", "Oslo"):
        with capture() as captured:
            run(city)
        traces[city] = captured.traces()
    threads = [threading.Thread(target=write, args=(city,)) for city in traces]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert problems_in(path) == []
    assert [file.name for file in tmp_path.iterdir()] == ["weather.jsonl"]


RECORDER = """
import sys, fluxloop

@fluxloop.tool
def look(city):
    return city * 1000

@fluxloop.agent
def visit(*cities):
    return [look(city) for city in cities]

path, mode, *cities = sys.argv[1:]
for city in cities:
    try:
        with fluxloop.cassette(path, mode):
            print("opened", flush=True)
            sys.stdin.readline()
            visit(*city)
    except Exception as problem:
        print(type(problem).__name__, problem, flush=True)
    else:
        print("ended", flush=True)
"""


@pytest.mark.parametrize("mode", ["once", "rewrite", "new_episodes"])
def test_a_cassette_that_was_written_meanwhile_is_left_as_it_is(tmp_path, mode):
    """
    Nothing of the other recording is lost; a recording with the same content is not a conflict.
    """
    path = tmp_path / "weather.jsonl"
    if mode != "once":
        with fluxloop.cassette(path):
            run("Rome")

    with (
        pytest.raises(WriteError, match=f"^the cassette {path} was written by another program"),
        fluxloop.cassette(path, mode),
    ):
        run("Oslo")
        with fluxloop.cassette(path, "rewrite"):
            run("Bern")
    written = path.read_bytes()
    with fluxloop.cassette(path, "rewrite"):
        run("Bern")
        with fluxloop.cassette(path, "rewrite"):
            run("Bern")

    assert path.read_bytes() == written
    assert b"Bern" in written
    assert problems_in(path) == []


@pytest.mark.skipif(os.name == "nt", reason="needs locks of folders")
def test_two_that_end_at_the_same_moment_do_not_both_write(tmp_path, monkeypatch):
    """
    The second one looks at the file when the first one has replaced it, and not in between.
    """
    path, replace = tmp_path / "weather.jsonl", os.replace
    with fluxloop.cassette(path):
        run("Rome")
    rome, before = [*fluxloop.read_traces(path)] * 2, cassette_files.version(path)
    with capture() as captured:
        run("Oslo")
    oslo, is_waiting, outcomes = captured.traces(), threading.Event(), []

    def second() -> None:
        is_waiting.set()
        try:
            cassette_files.write(path, rome, before)
            outcomes.append("written")
        except WriteError as error:
            outcomes.append(str(error))

    def replaced(*paths: Any) -> None:
        monkeypatch.setattr(os, "replace", replace)
        other.start()
        assert is_waiting.wait(10)
        other.join(0.2)
        replace(*paths)

    other = threading.Thread(target=second)
    monkeypatch.setattr(os, "replace", replaced)
    cassette_files.write(path, oslo, before)
    other.join()

    assert outcomes[0].startswith(f"the cassette {path} was written by another program")
    assert b"Oslo" in path.read_bytes()


@pytest.mark.slow  # ten processes
@pytest.mark.parametrize("mode", ["once", "rewrite", "new_episodes"])
def test_processes_that_record_one_cassette_at_once_keep_it_whole(tmp_path, mode):
    """
    The first one writes it; the other gets an error that names the file, unless it has recorded the same.
    """
    path = tmp_path / "visits.jsonl"
    if mode != "once":
        subprocess.run([sys.executable, "-c", RECORDER, path, "once", "c"], input="\n", text=True, check=True)

    def start(*cities: str) -> Any:
        command = [sys.executable, "-c", RECORDER, str(path), mode, *cities]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def goes_on(program: Any) -> str:
        program.stdin.write("\n")
        program.stdin.flush()
        return str(program.stdout.readline())

    with start("a") as first, start("b") as second, start("a") as third:
        try:
            for each in (first, second, third):
                assert each.stdout.readline() == "opened\n"
            assert goes_on(first) == "ended\n"
            written = path.read_bytes()
            refused = goes_on(second)
            assert refused.startswith(f"WriteError the cassette {path} was written by another program")
            assert goes_on(third) == "ended\n"
        finally:
            for each in (first, second, third):
                each.stdin.close()

    assert path.read_bytes() == written
    assert problems_in(path) == []
    assert [file.name for file in tmp_path.iterdir()] == ["visits.jsonl"]


def test_a_cassette_that_cannot_be_written_is_an_error(tmp_path):
    """
    One line names the file and the reason.
    """
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match="cannot write the cassette"), fluxloop.cassette(tmp_path / "file" / "x.jsonl"):
        run("Rome")
