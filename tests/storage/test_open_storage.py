"""The value of the setting `storage`, turned into a storage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from fluxloop.settings.schema import Settings
from fluxloop.settings.value_types import STORAGE_NAMES
from fluxloop.storage import FanOut, FileStorage, MemoryStorage, Record, open_storage
from fluxloop.storage.opening import BY_NAME


class Own:
    """The storage of a user, in as few lines as it takes."""

    def write(self, records: Sequence[Record]) -> None:
        """Keep nothing."""

    def close(self) -> None:
        """Do nothing."""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(base_path=tmp_path)


def test_the_setting_accepts_the_names_that_can_be_opened() -> None:
    """
    The settings check a value, and the storages open it; both have the same names.
    """
    assert set(BY_NAME) == set(STORAGE_NAMES)


def test_file_is_the_folder_of_base_path(tmp_path: Path, settings: Settings) -> None:
    """
    ``storage="file"`` writes under ``base_path``, with a journal.
    """
    storage = open_storage("file", settings)

    assert isinstance(storage, FileStorage)
    assert storage.base_path == tmp_path
    assert storage.journal is not None


def test_the_journal_can_be_switched_off(tmp_path: Path) -> None:
    """
    ``journal=False`` is for the storage that the settings open.
    """
    storage = open_storage("file", Settings(base_path=tmp_path, journal=False))

    assert isinstance(storage, FileStorage)
    assert storage.journal is None


def test_memory_is_a_new_memory(settings: Settings) -> None:
    """
    ``storage="memory"`` keeps everything in memory.
    """
    assert isinstance(open_storage("memory", settings), MemoryStorage)


def test_an_object_with_the_two_methods_is_a_storage(settings: Settings) -> None:
    """
    A storage of the user's own needs no base class.
    """
    own = Own()

    assert open_storage(own, settings) is own


def test_several_storages_all_get_the_records(settings: Settings) -> None:
    """
    Several storages are a tuple.
    """
    own = Own()

    several = open_storage(("file", own), settings)

    assert isinstance(several, FanOut)
    assert isinstance(several.storages[0], FileStorage)
    assert several.storages[1] is own
