"""
The setting ``storage`` as a storage.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable

from ..errors import ConfigError
from .contract import Storage
from .fanout import FanOut
from .file import FileStorage
from .memory import MemoryStorage


def open_storage(spec: object, base_path: str | os.PathLike[str] = "./traces") -> Storage:
    """
    Return the storage that the setting *spec* asks for.

    Args:
        spec: ``"file"``, ``"memory"``, a storage object, or a list of these to write to all of them.
        base_path: The folder of ``"file"``.

    Raises:
        ConfigError: If *spec* is none of these.
    """
    if isinstance(spec, str) and (make := _BY_NAME.get(spec.strip().lower())):
        return make(base_path)
    if isinstance(spec, list | tuple) and spec:
        storages = [open_storage(each, base_path) for each in spec]
        return storages[0] if len(storages) == 1 else FanOut(storages)
    if isinstance(spec, Storage) and not isinstance(spec, type | io.IOBase):
        return spec
    raise ConfigError(
        'storage must be "file", "memory", an object with write(records) and close(), or a list of these, '
        f"got {_described(spec)}"
    )


_BY_NAME: dict[str, Callable[[str | os.PathLike[str]], Storage]] = {
    "file": FileStorage,
    "memory": lambda _: MemoryStorage(),
}


def _described(spec: object) -> str:
    """The value we got, and what may have been meant by it."""
    if isinstance(spec, type):
        return f"the class {spec.__name__}; write {spec.__name__}() for an object of it"
    if isinstance(spec, str | os.PathLike | io.IOBase):
        return f"{spec!r}; a folder is named by base_path="
    return repr(spec)
