"""The setting `storage`, turned into a storage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from fluxloop.errors import ConfigError
from fluxloop.storage import FanOut, FileStorage, MemoryStorage, Record, open_storage


class Own:
    """The storage of a user, in as few lines as it takes."""

    def write(self, records: Sequence[Record]) -> None:
        """Keep nothing."""

    def close(self) -> None:
        """Do nothing."""


@pytest.mark.parametrize("word", ["file", "FILE", " File "])
def test_file_is_the_folder_of_base_path(tmp_path: Path, word: str) -> None:
    """
    ``storage="file"`` writes under ``base_path``; words count in any case.
    """
    storage = open_storage(word, tmp_path)

    assert isinstance(storage, FileStorage)
    assert storage.base_path == tmp_path


def test_memory_is_a_new_memory(tmp_path: Path) -> None:
    """
    ``storage="memory"`` keeps everything in memory.
    """
    assert isinstance(open_storage("memory", tmp_path), MemoryStorage)


def test_an_object_with_the_two_methods_is_a_storage(tmp_path: Path) -> None:
    """
    A storage of the user's own needs no base class.
    """
    own = Own()

    assert open_storage(own, tmp_path) is own


def test_a_list_writes_to_all_of_them(tmp_path: Path) -> None:
    """
    Several storages are a list; a list of one is that one.
    """
    own = Own()

    several = open_storage(["file", own], tmp_path)

    assert isinstance(several, FanOut)
    assert isinstance(several.storages[0], FileStorage)
    assert several.storages[1] is own
    assert open_storage((own,), tmp_path) is own


@pytest.mark.parametrize(
    ("spec", "got"),
    [
        ("fiel", "got 'fiel'; a folder is named by base_path="),
        (Path("traces"), r"got PosixPath\('traces'\); a folder is named by base_path="),
        (MemoryStorage, r"got the class MemoryStorage; write MemoryStorage\(\) for an object of it"),
        ([], r"got \[\]"),
        (["file", None], "got None"),
        (None, "got None"),
        (3, "got 3"),
        (object(), "got <object object"),
    ],
)
def test_anything_else_is_refused_with_what_is_accepted(tmp_path: Path, spec: object, got: str) -> None:
    """
    The message lists what is accepted, repeats what we got, and guesses what was meant.
    """
    with pytest.raises(
        ConfigError, match=f'storage must be "file", "memory", an object with .* a list of these, {got}'
    ):
        open_storage(spec, tmp_path)


def test_an_open_file_is_no_storage(tmp_path: Path) -> None:
    """
    It has the two methods by name only, and would fail at the first record.
    """
    with (tmp_path / "out.jsonl").open("wb") as file, pytest.raises(ConfigError, match="BufferedWriter"):
        open_storage(file, tmp_path)
