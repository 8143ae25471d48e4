"""Descriptors, locks and living processes, as the operating system shows them."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxloop.storage import descriptors
from fluxloop.storage.descriptors import Descriptor, is_running, lock, open_regular


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file"


@pytest.fixture
def opened(path: Path) -> Iterator[Descriptor]:
    descriptor = Descriptor.for_writing(path, os.O_CREAT)
    yield descriptor
    descriptor.close()


def test_a_descriptor_is_closed_with_its_last_user(path: Path) -> None:
    """
    No code closes it early, and calling `close` is not required.
    """
    descriptor = Descriptor.for_writing(path, os.O_CREAT)
    number = descriptor.fd

    del descriptor

    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)


def test_closing_twice_does_not_close_another_file(path: Path, opened: Descriptor) -> None:
    """
    The number may belong to another file by the second time.
    """
    opened.close()
    other = os.open(path, os.O_RDONLY)

    opened.close()

    assert os.fstat(other).st_size == 0
    os.close(other)


def test_a_descriptor_finds_out_whether_its_path_leads_to_it(path: Path, opened: Descriptor) -> None:
    """
    A renamed file, and another one of the same name, are distinguished from the file that is open.
    """
    answers = [opened.is_in_place()]
    path.rename(path.with_suffix(".1"))
    answers.append(opened.is_in_place())
    path.touch()
    answers.append(opened.is_in_place())

    assert answers == [True, False, False]
    assert opened.stat() is not None


def test_a_removed_file_has_no_status(path: Path, opened: Descriptor) -> None:
    """
    Nor has one whose number belongs to another file, or to none.
    """
    other = Descriptor.for_writing(path.with_suffix(".1"), os.O_CREAT)
    renumbered = Descriptor.for_writing(path.with_suffix(".2"), os.O_CREAT)
    number = renumbered.fd
    os.dup2(other.fd, number)

    path.unlink()
    os.close(other.fd)

    assert (opened.stat(), other.stat(), renumbered.stat()) == (None, None, None)
    os.close(number)


def test_opening_a_regular_file_never_waits(tmp_path: Path) -> None:
    """
    A FIFO without a writer blocks who opens it as usual; here it is an error, and no descriptor is left open.
    """
    os.mkfifo(tmp_path / "fifo")
    before = len(os.listdir("/proc/self/fd"))

    for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR):
        with pytest.raises(OSError, match=r"Not a regular file|No such device or address"):
            open_regular(tmp_path / "fifo", flags)

    assert len(os.listdir("/proc/self/fd")) == before


def test_a_process_that_may_not_have_many_files_uses_low_numbers(path: Path) -> None:
    """
    The number is high where that is possible.
    """
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        low = Descriptor.for_writing(path, os.O_CREAT)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    high = Descriptor.for_writing(path, 0)

    assert low.fd < 256 <= descriptors.HIGH_NUMBER <= high.fd


def test_a_lock_is_held_by_one_descriptor_or_shared_by_readers(path: Path, opened: Descriptor) -> None:
    """
    An exclusive lock excludes all others; shared locks exclude only an exclusive one.
    """
    second = Descriptor.for_writing(path, 0)
    third = Descriptor.for_writing(path, 0)

    shared = lock(opened.fd, shared=True), lock(second.fd, shared=True), lock(third.fd)
    opened.close()
    second.close()
    exclusive = lock(third.fd)
    fourth = Descriptor.for_writing(path, 0)

    assert shared == (True, True, False)
    assert (exclusive, lock(fourth.fd, shared=True)) == (True, False)


def test_without_locks_the_answer_is_none(opened: Descriptor, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Windows has no `flock`, and some network file systems refuse it.
    """

    def refuse(fd: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(descriptors, "flock", refuse)
    refused = lock(opened.fd)
    monkeypatch.setattr(descriptors, "CAN_LOCK", False)

    assert (refused, lock(opened.fd)) == (None, None)


def test_a_running_process_is_found_by_its_number() -> None:
    """
    Also one of another user; one that has ended is not found.
    """
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()

    assert (is_running(os.getpid()), is_running(1), is_running(ended.pid)) == (True, True, False)


def test_a_process_we_may_not_signal_is_running(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A refusal shows that it exists.
    """

    def refuse(pid: int, signal: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "kill", refuse)

    assert is_running(os.getpid())
