"""
Keep compiled prefilters between processes: compiling takes about 300 ms of a program's start, loading less than 1 ms.

The files are in the user's folder for caches. They contain only rules, and can be deleted at any time. Without such a
folder, or where it cannot be used safely, every process compiles.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from threading import get_ident
from typing import Any

from ..interruptions import was_raised_from_outside

MAX_FILES = 16
"""The limit of kept files: each version of the rules, and each set of a user's patterns, has one."""

MAX_BYTES = 16_000_000
"""The limit of the size of a file; one has about 500 kB."""


def load(expressions: Sequence[tuple[int, str]], hyperscan: Any) -> Any:
    """
    Return the kept database of *expressions*, or None.

    Hyperscan itself checks version, platform and checksum of what it loads.
    """
    try:
        path = _path(expressions, hyperscan)
        data = _read(path) if path is not None else None
        return hyperscan.loadb(data, mode=hyperscan.HS_MODE_BLOCK) if data else None
    except Exception as error:  # the file is gone, or of another platform; or a guard forbids to block the event loop
        if was_raised_from_outside(error):
            raise
        return None


def save(expressions: Sequence[tuple[int, str]], database: Any, hyperscan: Any) -> None:
    """Keep *database*, which was compiled from *expressions*, if that is possible."""
    try:
        path = _path(expressions, hyperscan)
        if path is not None:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write(path, hyperscan.dumpb(database))
            _remove_oldest(path.parent)
    except Exception as error:  # the folder is read-only, or the disk is full
        if was_raised_from_outside(error):
            raise


def _path(expressions: Sequence[tuple[int, str]], hyperscan: Any) -> Path | None:
    """Return the path of the file for *expressions*; None if the user's folder is not theirs, as with ``sudo``."""
    home = Path.home()
    if os.name != "nt" and home.stat().st_uid != os.geteuid():
        return None
    default = {"darwin": home / "Library" / "Caches", "win32": home / "AppData" / "Local"}.get(sys.platform)
    chosen = os.environ.get("XDG_CACHE_HOME", "")
    folder = Path(chosen) if os.path.isabs(chosen) else default or home / ".cache"
    name = sha256(repr((hyperscan.__version__, expressions)).encode()).hexdigest()[:32]
    return folder / "fluxloop" / f"redaction-{name}.hyperscan"


def _read(path: Path) -> bytes | None:
    """Return the content of a regular file that no other user can have written."""
    with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)), "rb") as file:
        found = os.fstat(file.fileno())
        is_ours = os.name == "nt" or (found.st_uid == os.geteuid() and not found.st_mode & 0o022)
        return file.read() if is_ours and stat.S_ISREG(found.st_mode) and found.st_size <= MAX_BYTES else None


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_suffix(f".{os.getpid()}-{get_ident()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink()


def _remove_oldest(folder: Path) -> None:
    files = sorted(folder.glob("redaction-*"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in files[MAX_FILES:]:
        path.unlink(missing_ok=True)
