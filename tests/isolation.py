"""An isolated environment for tests of the settings: an empty folder, no FluxLoop variables, no earlier warnings."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from unittest.mock import patch

from fluxloop.report import Problems
from fluxloop.settings import dotenv, layers


class MinimalStorage:
    """A storage with only the two required methods."""

    def write(self, records: object) -> None: ...

    def close(self) -> None: ...


@contextmanager
def isolated_settings(folder: Path) -> Iterator[None]:
    """Work in *folder*, and restore the environment and the loaded files afterwards."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("FLUXLOOP_")}
    with (
        chdir(folder),
        patch.dict(os.environ, others, clear=True),
        patch.dict(dotenv._loaded, clear=True),
        patch.dict(dotenv._file_problems, clear=True),
        patch.object(layers, "_logged", Problems()),
    ):
        yield


def pyproject(text: str, folder: Path = Path()) -> Path:
    """Write *text* as the pyproject.toml of *folder*."""
    path = folder.absolute() / "pyproject.toml"
    path.write_text(text, encoding="utf-8")
    return path
