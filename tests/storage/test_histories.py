"""
Histories in record files: what the file has already is recorded as a reference, and every reader gets complete lines.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluxloop.storage import FileStorage, array_runs, file, histories, record_file
from fluxloop.storage.decoding import has_trace_id
from fluxloop.storage.record_input import RecordInput
from fluxloop.storage.references import references_in
from fluxloop.storage.spool import Spool

DAY = "20260117"
NAME = f"observations_{DAY}.jsonl"


@pytest.fixture(autouse=True)
def moderate(monkeypatch: pytest.MonkeyPatch) -> None:
    """References for histories of some hundred messages."""
    for module in (file, record_file):
        monkeypatch.setattr(module, "LARGE_BYTES", 8192)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """References for histories of a few bytes."""
    for module in (file, record_file):
        monkeypatch.setattr(module, "LARGE_BYTES", 150)
    for module in (histories, array_runs):
        monkeypatch.setattr(module, "MIN_SAVED_BYTES", 20)
    monkeypatch.setattr(histories, "MIN_RUN_BYTES", 40)
    monkeypatch.setattr(histories, "_REFERENCE_BYTES", 0)


def compacting(folder: Path) -> FileStorage:
    return FileStorage(folder, journal=False, compact_histories=True)


def message(text: str, role: str = "user", **fields: Any) -> dict[str, Any]:
    return {"role": role, "content": text, **fields}


def messages(number: int, text: str = "Which of the trains still have seats?") -> list[dict[str, Any]]:
    return [message(f"{text} {index}", "user" if index % 2 else "assistant") for index in range(number)]


def line(id: str, input: Any, output: Any = "done", **fields: Any) -> bytes:
    record = {"id": id, "trace_id": "t1", "parent_id": None, "type": "CHAIN", "name": "step", "input": input}
    return orjson.dumps({**record, "output": output, **fields}) + b"\n"


def stored(storage: FileStorage, *lines: bytes) -> None:
    for one in lines:
        storage.append_record("observation", DAY, one)


def complete(path: Path) -> list[bytes]:
    """The lines of a file as readers see them."""
    with RecordInput(path) as opened:
        return [opened.complete(one) for one in opened]


def raw(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def conversation(turns: int, history: int = 100) -> list[bytes]:
    """The lines of a conversation, each with the state before and after a turn."""
    state = messages(history)
    lines = []
    for turn in range(turns):
        before = {"messages": list(state)}
        state.append(message(f"turn {turn}", "assistant"))
        lines.append(line(f"id-{turn}", before, {"messages": list(state)}))
    return lines


def test_a_history_is_in_the_file_once_and_in_every_record(tmp_path):
    """
    Twenty turns over a long history take little more than the history.
    """
    lines = conversation(20, 1000)
    stored(compacting(tmp_path), *lines)

    assert complete(tmp_path / NAME) == lines
    assert (tmp_path / NAME).stat().st_size < 1.3 * len(lines[-1]) / 2


def test_a_line_with_references_is_json_that_says_what_it_refers_to(tmp_path):
    """
    A person with a text editor sees the id of the earlier record, the number of its messages, and the new ones.
    """
    stored(compacting(tmp_path), *conversation(3))

    record = orjson.loads(raw(tmp_path / NAME)[2])
    [reference, *new] = record["input"]["messages"]
    with (tmp_path / NAME).open("rb") as opened:
        opened.seek(reference["offset"] + reference["at"])
        items = orjson.loads(b"[" + opened.read(reference["bytes"]) + b"]")
    assert (reference["$ref"], reference["items"], reference["mark"]) == ("id-0", 100, record["refs"])
    assert items == messages(100)
    assert [one["content"] for one in new] == ["turn 0", "turn 1"]


def test_references_do_not_form_chains(tmp_path):
    """
    The bytes that a reference names are items as they are, and a record has few references.
    """
    lines = conversation(300)
    stored(compacting(tmp_path), *lines)

    data = (tmp_path / NAME).read_bytes()
    for one in raw(tmp_path / NAME):
        references = references_in(one)
        assert len(references) <= 16
        for reference in references:
            if reference.offset is not None:
                start = reference.offset + reference.at
                assert b'"$ref"' not in data[start : start + reference.size]
    assert complete(tmp_path / NAME) == lines


@pytest.mark.parametrize(
    "value",
    [
        lambda state: state,
        lambda state: {"messages": state},
        lambda state: {"user": "u", "tags": ["a"], "none": {}, "messages": state, "n": 1},
        lambda state: {"state": {"user": "u", "messages": state}, "config": {"a": {"b": 1}}},
        lambda state: {"config": {"a": {"b": 1}}, "messages": state},
        lambda state: {"docs": [{"page": 1}], "messages": state},
        lambda state: {"a": {"b": {"messages": state}}},
    ],
)
def test_histories_are_found_in_arguments_and_states(tmp_path, value):
    """
    An argument, a channel of a state that is an argument, or the value itself; also beside other arrays.
    """
    lines = [line(f"id-{number}", value(messages(150 + number)), value(messages(151 + number))) for number in range(4)]
    stored(compacting(tmp_path), *lines)

    assert complete(tmp_path / NAME) == lines
    assert (tmp_path / NAME).stat().st_size < 1.5 * len(lines[0])


def test_small_lines_and_other_values_are_written_as_they_are(tmp_path):
    """
    Nothing is replaced in short records, in texts, and in arrays that no earlier record has.
    """
    lines = [line("a", messages(3)), line("b", messages(3)), line("c", "x" * 20_000), line("d", "x" * 20_000)]
    lines += [line("e", messages(200, "other")), line("f", list(range(9_000))), line("g", list(range(9_000)))]
    stored(compacting(tmp_path), *lines)

    assert raw(tmp_path / NAME) == lines


def test_it_can_be_turned_off(tmp_path):
    """
    With compact_histories=False the lines are written as they are.
    """
    lines = conversation(5)
    stored(FileStorage(tmp_path, journal=False, compact_histories=False), *lines)

    assert raw(tmp_path / NAME) == lines


def test_a_spool_has_complete_lines(tmp_path):
    """
    Segments are sent as they are, so nothing in them refers to other lines.
    """
    lines = conversation(5)
    spool = Spool(tmp_path)
    for one in lines:
        spool.write_line(one, is_last=False)

    assert raw(spool.paths()[0]) == lines
    spool.close()


TEXTS = st.sampled_from(['},{"', '"}]}', "a\\", "é😀", "~1234abcd~", ',"refs":"~1234abcd~"}', "plain", "\n"]) | st.text(
    max_size=12
)
ITEMS = st.one_of(
    st.builds(message, TEXTS),
    st.builds(lambda text: {"type": "text", "parts": [{"a": [text]}, [], {}]}, TEXTS),
    st.builds(lambda text: {"$ref": text, "items": 2, "at": -9, "bytes": 9, "crc32": 1, "mark": "~1234abcd~"}, TEXTS),
    st.just({}),
)
STEPS = st.tuples(
    st.sampled_from(["add", "repeat", "trim", "edit", "drop first", "branch", "nested", "direct", "beside"]),
    st.lists(ITEMS, min_size=1, max_size=3),
    st.integers(0, 1),
)


@given(steps=st.lists(STEPS, min_size=1, max_size=14))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.usefixtures("small")
def test_whatever_is_written_is_read_as_if_lines_were_complete(tmp_path_factory, steps):
    """
    Two writers continue conversations in every way; readers get each line byte for byte.
    """
    folder = tmp_path_factory.mktemp("records")
    writers = [compacting(folder) for _ in range(2)]
    lines = []
    state: list[Any] = messages(4)
    for number, (step, items, writer) in enumerate(steps):
        lines.append(line(f"id-{number}", *_values(step, state, items)))
        state = _next_state(step, state, items)
        stored(writers[writer], lines[-1])

    assert complete(folder / NAME) == lines
    assert [*FileStorage(folder).read()] == [orjson.loads(one) for one in lines]


def _values(step: str, state: list[Any], items: list[Any]) -> tuple[Any, Any]:
    after = state + items
    if step == "nested":
        return {"user": "u", "list": [1, 2], "state": {"messages": state}, "messages": after}, {"messages": [after]}
    if step == "direct":
        return state, after
    if step == "beside":
        return {"messages": state, "n": 1, "docs": after}, {"docs": state, "messages": after}
    return {"messages": state}, {"messages": after}


def _next_state(step: str, state: list[Any], items: list[Any]) -> list[Any]:
    changes: dict[str, Callable[[], list[Any]]] = {
        "repeat": lambda: state,
        "trim": lambda: state[:-1] or items,
        "edit": lambda: [*state[:-1], *items],
        "drop first": lambda: state[1:] or items,
        "branch": lambda: [*state[:3], *items],
    }
    return changes.get(step, lambda: state + items)()


@pytest.mark.usefixtures("small")
def test_a_file_that_was_cut_at_any_byte_loses_no_more_than_the_cut_record(tmp_path):
    """
    The records before the cut are complete, and so is one that another process appends behind the torn one.
    """
    lines = conversation(4, 6)
    stored(compacting(tmp_path), *lines)
    data = (tmp_path / NAME).read_bytes()
    ends = [len(b"".join(raw(tmp_path / NAME)[: number + 1])) for number in range(len(lines))]
    records = [orjson.loads(one) for one in lines]
    following = line("next", messages(2))
    cut = tmp_path / "cut.jsonl"

    for size in range(len(data) + 1):
        whole = sum(end - 1 <= size for end in ends)  # the line end may be missing
        for after in (b"", following):
            cut.write_bytes(data[:size] + after)
            assert _records(cut) == records[:whole] + [orjson.loads(following)] * bool(after)


def _records(path: Path) -> list[Any]:
    with RecordInput(path) as opened:
        found = [part.record for one in opened for part, _ in opened.records(one, has_trace_id)]
    return [record for record in found if not isinstance(record, str)]


@pytest.mark.usefixtures("small")
def test_a_record_behind_a_torn_one_is_complete_and_can_be_referred_to(tmp_path):
    """
    A process appends to the torn line of another one; later lines find its record there.
    """
    storage = compacting(tmp_path)
    first, *others = conversation(4, 6)
    stored(storage, line("small", "x"))
    with (tmp_path / NAME).open("ab") as torn:
        torn.write(b'{"id":"torn","trace_id":"t1","input":{"messages":[{"role":"us')
    stored(storage, first, *others)

    assert [one["id"] for one in _records(tmp_path / NAME)] == ["small", "id-0", "id-1", "id-2", "id-3"]
    assert _records(tmp_path / NAME)[1:] == [orjson.loads(one) for one in (first, *others)]
    assert references_in(raw(tmp_path / NAME)[-1])


@pytest.mark.parametrize("damage", ["removed", "overwritten"])
def test_a_history_whose_record_is_missing_shows_how_many_messages_are_missing(tmp_path, damage):
    """
    The new messages are there, with a marker before them; no other record's messages take their place.
    """
    stored(compacting(tmp_path), *conversation(3))
    first, *others = raw(tmp_path / NAME)
    left = b"" if damage == "removed" else first.replace(b"Which", b"Whose")
    (tmp_path / NAME).write_bytes(left + b"".join(others))

    last = _records(tmp_path / NAME)[-1]["input"]["messages"]
    assert last[0] == "…[truncated: 100 items left out, as record id-0 is missing or damaged]"
    assert [one["content"] for one in last[1:]] == ["turn 0", "turn 1"]


def test_files_may_be_put_together_and_lines_removed(tmp_path):
    """
    References are found by the id of their record where offsets have changed.
    """
    expected = []
    for name in ("one", "two"):
        lines = [line("small", name), *conversation(4)]
        lines = [one.replace(b'"id-', b'"%b-' % name.encode()).replace(b"Which", name.encode()) for one in lines]
        stored(compacting(tmp_path / name), *lines)
        expected += lines[1:]
    together = tmp_path / "together.jsonl"
    together.write_bytes(b"".join(b"".join(raw(tmp_path / name / NAME)[1:]) for name in ("one", "two")))

    assert complete(together) == expected


def test_line_ends_of_another_system_change_nothing(tmp_path):
    """
    An editor or a version control system wrote the file again with its own line ends.
    """
    lines = conversation(4)
    stored(compacting(tmp_path), *lines)
    path = tmp_path / NAME
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))

    assert complete(path) == [one.replace(b"\n", b"\r\n") for one in lines]
    assert _records(path) == [orjson.loads(one) for one in lines]


def test_a_file_that_was_written_again_with_blanks_shows_how_many_messages_are_missing(tmp_path):
    """
    A reference names bytes that are not in the file any more; it is never taken for a message.
    """
    stored(compacting(tmp_path), *conversation(2))
    path = tmp_path / NAME
    path.write_text("".join(json.dumps(orjson.loads(one)) + "\n" for one in raw(path)))

    [_, record] = _records(path)
    [missing, last] = record["input"]["messages"]
    assert missing == "…[truncated: 100 items left out, as record id-0 is missing or damaged]"
    assert last == message("turn 0", "assistant")
    assert "refs" not in record


@pytest.mark.parametrize("change", ["removed", "renamed", "truncated", "replaced", "closed"])
def test_nothing_refers_to_what_is_not_in_the_file(tmp_path, change):
    """
    Whatever happens to the file under its writer, each file can be read by itself.
    """
    storage = compacting(tmp_path)
    lines = conversation(8)
    path, other = tmp_path / NAME, tmp_path / "other.jsonl"
    stored(storage, *lines[:3])
    storage.flush()
    if change == "removed":
        path.unlink()
    elif change in ("renamed", "replaced"):
        path.rename(other)
    elif change == "truncated":
        os.truncate(path, 0)
    if change == "replaced":
        path.write_bytes(line("foreign", messages(100)))
    if change == "closed":
        storage.close()
    stored(storage, *lines[3:6])
    storage.flush()
    stored(storage, *lines[6:])
    storage.flush()

    found = [one for each in (other, path) if each.exists() for one in complete(each)]
    kept = lines[3:] if change in ("removed", "truncated") else lines
    assert [one for one in found if b'"foreign"' not in one] == kept


def test_nothing_refers_to_a_line_that_was_cut(tmp_path):
    """
    Another program shortens the file within the line that has the history.
    """
    storage = compacting(tmp_path)
    lines = conversation(6)
    path = tmp_path / NAME
    stored(storage, lines[0])
    os.truncate(path, len(lines[0]) // 4)
    stored(storage, *lines[1:])

    assert [orjson.loads(one) for one in lines[1:]] == _records(path)


@pytest.mark.parametrize("length", [0, 300])
def test_a_record_is_complete_if_the_file_is_shortened_just_before_it_is_written(tmp_path, monkeypatch, length):
    """
    Its references were made when the file still had what they name, so it is written again.
    """
    storage = compacting(tmp_path)
    lines = conversation(6)
    path = tmp_path / NAME
    stored(storage, *lines[:3])
    real = os.write

    def shortening(fd: int, data: bytes) -> int:
        monkeypatch.undo()
        os.truncate(path, length)
        return real(fd, data)

    monkeypatch.setattr(os, "write", shortening)
    stored(storage, *lines[3:])

    assert _records(path)[-3:] == [orjson.loads(one) for one in lines[3:]]


@pytest.mark.usefixtures("small")
def test_a_line_that_was_not_written_whole_is_not_referred_to(tmp_path, monkeypatch):
    """
    The disk is full in the middle of a line: the record is refused, and later ones do not need it.
    """
    storage = compacting(tmp_path)
    first, second, third = conversation(3, 6)
    real = os.write
    calls: list[int] = []

    def full(fd: int, data: Any) -> int:
        calls.append(fd)
        if len(calls) % 2:
            return real(fd, bytes(data)[: len(data) // 2])
        raise OSError(28, "No space left on device")

    stored(storage, line("small", "x"))
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        stored(storage, first)
    monkeypatch.setattr(os, "write", real)
    stored(storage, second, third)

    assert _records(tmp_path / NAME)[-2:] == [orjson.loads(second), orjson.loads(third)]
    assert all(reference.record != b"id-0" for one in raw(tmp_path / NAME) for reference in references_in(one))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_process_refers_to_its_own_lines_only(tmp_path):
    """
    Both processes continue the conversation, and every line is complete.
    """
    storage = compacting(tmp_path)
    before, here, there = conversation(3), conversation(6)[3:], conversation(9)[6:]
    stored(storage, *before)
    child = os.fork()
    if child == 0:
        stored(storage, *there)
        os._exit(0)
    stored(storage, *here)
    os.waitpid(child, 0)

    assert sorted(complete(tmp_path / NAME)) == sorted([*before, *here, *there])


def test_a_lock_that_a_fork_left_locked_blocks_nothing(tmp_path):
    """
    A thread of the parent that does not exist in a forked child may have had the lock; records are written without it.
    """
    storage = compacting(tmp_path)
    lines = conversation(4)
    stored(storage, lines[0])
    kept = storage._files["observation", DAY].histories
    assert kept is not None
    thread = threading.Thread(target=kept._lock.acquire)
    thread.start()
    thread.join()
    stored(storage, *lines[1:])
    kept.forget()

    assert complete(tmp_path / NAME) == lines


def test_threads_write_conversations_and_small_records_at_once(tmp_path):
    """
    Each thread continues its own conversation while others append between its lines.
    """
    storage = compacting(tmp_path)

    def lines_of(name: str) -> Iterator[bytes]:
        for number, one in enumerate(conversation(15)):
            yield one.replace(b'"id-', b'"%b-' % name.encode()).replace(b"Which", name.encode())
            yield line(f"{name}-small-{number}", "x")

    expected = {name: list(lines_of(name)) for name in "abcd"}
    threads = [threading.Thread(target=stored, args=(storage, *lines)) for lines in expected.values()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    found = complete(tmp_path / NAME)
    for name, lines in expected.items():
        assert [one for one in found if one.startswith(b'{"id":"%b-' % name.encode())] == lines
    assert (tmp_path / NAME).stat().st_size < len(b"".join(found)) / 3


def test_a_killed_process_leaves_complete_records(tmp_path, start):
    """
    SIGKILL at any moment: what is in the file can be read, with its whole history.
    """
    writer = """
        import sys, orjson
        from fluxloop.storage import FileStorage

        storage = FileStorage(sys.argv[1], journal=False, compact_histories=True)
        state = [{"role": "user", "content": f"message {index}"} for index in range(3_000)]
        for number in range(100_000):
            state.append({"role": "assistant", "content": str(number)})
            record = {"id": f"{sys.argv[2]}-{number}", "trace_id": "t1", "parent_id": None, "input": state}
            storage.append_record("observation", "20260117", orjson.dumps(record) + b"\\n")
            if number == 20:
                print("ready", flush=True)
    """
    processes = [start(writer, tmp_path, name) for name in ("a", "b")]
    for process in processes:
        process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.wait()

    found = _records(tmp_path / NAME)
    assert len(found) >= 40
    assert (tmp_path / NAME).read_bytes().count(b'"refs":') >= 30
    for record in found:
        contents = [one["content"] for one in record["input"]]
        number = int(record["id"].partition("-")[2])
        assert contents == [f"message {index}" for index in range(3_000)] + [str(one) for one in range(number + 1)]


@pytest.mark.usefixtures("small")
def test_user_data_that_looks_like_a_reference_comes_back_unchanged(tmp_path):
    """
    A program records what it has read from record files, JSON schemas, and whole lines with references.
    """
    storage = compacting(tmp_path)
    stored(storage, *conversation(2, 6))
    seen = orjson.loads(raw(tmp_path / NAME)[1])
    schema = {"$ref": "#/definitions/a", "items": 3}
    copies = [*seen["input"]["messages"], schema, {"refs": seen["refs"]}]
    lines = [
        line("copy-1", {"messages": copies}, {"messages": [*copies, schema]}),
        line("copy-2", {"messages": [*copies, schema]}, seen, metadata={"refs": seen["refs"]}),
        line("copy-3", {"messages": copies}, "x", refs=seen["refs"]),
        line("copy-4", "text", raw(tmp_path / NAME)[1].decode()),
        line("copy-5", {"messages": copies}, "x", refs="~00000000~"),
    ]
    stored(storage, *lines)
    found = complete(tmp_path / NAME)[2:]

    # A field of the record itself with the right mark is a reference: only FluxLoop writes the fields of records.
    assert [one for one in found if b"copy-3" not in one] == [one for one in lines if b"copy-3" not in one]


def test_memory_is_bounded(tmp_path, monkeypatch):
    """
    The oldest conversations are dropped, and what is dropped is written again.
    """
    monkeypatch.setattr(histories, "MAX_KEPT_BYTES", 100_000)
    storage = compacting(tmp_path)
    lines = []
    for number in [*range(30), 0]:
        lines.append(line(f"id-{len(lines)}", messages(300, f"conversation {number}")))
    stored(storage, *lines)

    kept = storage._files["observation", DAY].histories
    assert kept is not None
    assert kept._size <= 100_000
    assert kept._size == sum(map(histories._kept_bytes, kept._arrays.values()))
    assert complete(tmp_path / NAME) == lines


def test_small_arrays_in_large_records_take_little_memory(tmp_path, monkeypatch):
    """
    A program records long texts, each with a small array of its own: what the arrays take besides their items counts.
    """
    monkeypatch.setattr(histories, "MAX_KEPT_BYTES", 100_000)
    storage = compacting(tmp_path)
    stored(storage, *(line(f"id-{number}", "x" * 9000, [{"found": number}]) for number in range(500)))

    kept = storage._files["observation", DAY].histories
    assert kept is not None
    assert 0 < len(kept._arrays) < 200


@pytest.mark.usefixtures("small")
def test_a_crafted_line_never_raises(tmp_path):
    """
    Numbers beyond the file, negative ones, and references to bytes that are not items are missing items.
    """
    path = tmp_path / "crafted.jsonl"
    reference = '{"$ref":"a","items":1,%s"at":%d,"bytes":%d,"crc32":0,"mark":"~00000000~"}'
    inside = [("", -99, 5), ("", 5, 5), ("", -9, 10**14), ("", -9, 0)]
    for place, at, size in [*inside, ('"offset":0,', 10**9, 9), (f'"offset":{10**18},', 0, 9), ('"offset":0,', -9, 9)]:
        text = '{"id":"a","trace_id":"t","input":[' + reference % (place, at, size) + '],"refs":"~00000000~"}\n'
        path.write_text(text)
        [one] = complete(path)
        assert _records(path) == [orjson.loads(one)]
        assert b"1 items left out" in one or one == text.encode()


@pytest.mark.parametrize("error", [MemoryError, RecursionError, ValueError])
def test_a_record_is_written_as_it_is_if_its_history_cannot_be_compared(tmp_path, monkeypatch, error):
    """
    So are those after it.
    """
    storage = compacting(tmp_path)
    lines = conversation(4)
    stored(storage, *lines[:2])

    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr("fluxloop.storage.histories.CompactLine", fails)
    stored(storage, *lines[2:])
    monkeypatch.undo()

    [path] = tmp_path.glob("*.jsonl")
    assert complete(path) == lines
    assert raw(path)[2:] == lines[2:]
