"""
The setting ``storage`` as a storage.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .contract import Storage, StorageSettings
from .fanout import FanOut
from .file import FileStorage
from .memory import MemoryStorage


def open_storage(spec: str | Storage | tuple[str | Storage, ...], settings: StorageSettings) -> Storage:
    """
    Return the storage that *spec* asks for.

    Args:
        spec: The value of the setting ``storage``, as the settings hold it once they have checked it: a name, a
            storage object, or a tuple of these to write to all of them.
        settings: What a storage opened by its name receives.
    """
    if isinstance(spec, tuple):
        return FanOut(open_storage(each, settings) for each in spec)
    return BY_NAME[spec](settings) if isinstance(spec, str) else spec


BY_NAME: Mapping[str, Callable[[StorageSettings], Storage]] = {
    "file": lambda settings: FileStorage(settings.base_path, journal=settings.journal),
    "memory": lambda _: MemoryStorage(),
}
"""How the storages are made that can be opened by name; the setting accepts the same names."""
