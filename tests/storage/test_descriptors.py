"""Descriptors, locks and signs of life, as the operating system gives them."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxloop.storage import descriptors
from fluxloop.storage.descriptors import Descriptor, lock, runs


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file"


@pytest.fixture
def opened(path: Path) -> Iterator[Descriptor]:
    descriptor = Descriptor(os.open(path, os.O_RDWR | os.O_CREAT))
    yield descriptor
    descriptor.close()


def test_a_descriptor_is_closed_with_its_last_user(path: Path) -> None:
    """
    Nobody closes it early, and nobody has to close it.
    """
    descriptor = Descriptor(os.open(path, os.O_RDWR | os.O_CREAT))
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


def test_a_descriptor_knows_whether_its_path_leads_to_it(path: Path, opened: Descriptor) -> None:
    """
    A removed file, and another one of the same name, are told from the file that is open.
    """
    answers = [opened.is_at(str(path))]
    path.rename(path.with_suffix(".1"))
    answers.append(opened.is_at(str(path)))
    path.touch()
    answers.append(opened.is_at(str(path)))

    assert answers == [True, False, False]


def test_a_lock_is_had_by_one_or_shared_by_readers(path: Path, opened: Descriptor) -> None:
    """
    An exclusive lock keeps everybody else away; shared ones keep only the exclusive one away.
    """
    second = Descriptor(os.open(path, os.O_RDWR))
    third = Descriptor(os.open(path, os.O_RDWR))

    shared = lock(opened.fd, shared=True), lock(second.fd, shared=True), lock(third.fd)
    opened.close()
    second.close()
    exclusive = lock(third.fd)
    fourth = Descriptor(os.open(path, os.O_RDWR))

    assert shared == (True, True, False)
    assert (exclusive, lock(fourth.fd, shared=True)) == (True, False)


def test_where_there_are_no_locks_we_say_so(opened: Descriptor, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Windows has no `flock`, and some network file systems refuse it: then others have to decide.
    """

    def refuse(fd: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(descriptors, "flock", refuse)
    refused = lock(opened.fd)
    monkeypatch.setattr(descriptors, "CAN_LOCK", False)

    assert (refused, lock(opened.fd)) == (None, None)


def test_a_process_is_known_by_its_number() -> None:
    """
    The running ones run, also those of other users; one that has ended does not.
    """
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()

    assert (runs(os.getpid()), runs(1), runs(ended.pid)) == (True, True, False)


def test_a_process_we_may_not_signal_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    To be refused is a sign of life.
    """

    def refuse(pid: int, signal: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "kill", refuse)

    assert runs(os.getpid())
