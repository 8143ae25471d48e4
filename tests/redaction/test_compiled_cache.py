"""
Compiled prefilters that are kept between processes: they are used, and nothing that is there instead of them does harm.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from blockbuster import blockbuster_ctx

from fluxloop.redaction import compiled_cache
from fluxloop.redaction.prefilter import Prefilter

pytest.importorskip("hyperscan")

EXPRESSIONS = ((3, "sk-[a-z0-9]{8}"), (7, "(?i)password="))
TEXT = b"a sk-12345678 and PASSWORD=x"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the kept files, which does not exist yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    return tmp_path / "caches" / "fluxloop"


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of expressions of each compilation."""
    found: list[int] = []

    save = compiled_cache.save

    def noted(expressions: Sequence[tuple[int, str]], *rest: Any) -> None:
        found.append(len(expressions))
        save(expressions, *rest)

    monkeypatch.setattr(compiled_cache, "save", noted)
    return found


def assert_searches(prefilter: Prefilter) -> None:
    assert [tuple(hit) for hit in prefilter.hits(TEXT)] == [(3, 13), (7, 27)]
    assert prefilter.any(TEXT)
    assert not prefilter.any(b"nothing")


def test_the_second_prefilter_is_loaded(folder, compilations):
    """
    It finds the same. Other expressions have a file of their own.
    """
    assert_searches(Prefilter(EXPRESSIONS))
    assert_searches(Prefilter(EXPRESSIONS))
    assert compilations == [2]
    Prefilter(EXPRESSIONS[:1])
    assert compilations == [2, 1]
    assert len(list(folder.iterdir())) == 2


def torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def altered(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes(data)


def huge(path: Path) -> None:
    os.truncate(path, 20_000_000_000)


def foreign(path: Path) -> None:
    path.write_text("not a database")


def writable_by_others(path: Path) -> None:
    path.chmod(0o666)


def link(path: Path) -> None:
    os.replace(path, path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def gone(path: Path) -> None:
    path.unlink()


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX files")
@pytest.mark.parametrize(
    "change",
    [torn, empty, altered, huge, foreign, writable_by_others, link, pipe, a_folder, gone],
    ids=lambda one: one.__name__,
)
def test_a_file_that_is_no_kept_prefilter_is_replaced(folder, compilations, change):
    """
    The prefilter is compiled, and the next one is loaded, unless a folder is in the way.
    """
    Prefilter(EXPRESSIONS)
    [path] = folder.iterdir()
    change(path)

    assert_searches(Prefilter(EXPRESSIONS))
    assert_searches(Prefilter(EXPRESSIONS))

    assert compilations == ([2, 2] if change is not a_folder else [2, 2, 2])
    assert not list(folder.glob(f"*.{os.getpid()}-*"))


def test_threads_that_need_the_same_prefilter_do_not_disturb_each_other(folder):
    """
    Each has one that works, whether it compiled or loaded it, and one file is left.
    """
    with ThreadPoolExecutor(8) as pool:
        for number in range(20):
            expressions = [*EXPRESSIONS, (9, f"b{number}")]
            for prefilter in pool.map(Prefilter, [expressions] * 8):
                assert_searches(prefilter)
    assert {path.suffix for path in folder.iterdir()} == {".hyperscan"}


def test_a_relative_folder_is_not_used(tmp_path, monkeypatch):
    """
    By the standard of the variable, it has no meaning; the default is used.
    """
    monkeypatch.setenv("XDG_CACHE_HOME", "caches")
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    (tmp_path / "home").mkdir()
    Prefilter(EXPRESSIONS)
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    assert len(list((tmp_path / "home").rglob("redaction-*"))) == 1


def test_without_a_folder_every_prefilter_is_compiled(tmp_path, monkeypatch, compilations):
    """
    The place is taken by a file, or the home of the user is unknown or of another user.
    """
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert_searches(Prefilter(EXPRESSIONS))

    def unknown() -> Path:
        raise RuntimeError("could not determine home directory")

    monkeypatch.setattr(Path, "home", unknown)
    assert_searches(Prefilter(EXPRESSIONS))
    if os.name != "nt":
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        monkeypatch.setattr(Path, "home", lambda: tmp_path)
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
        assert_searches(Prefilter(EXPRESSIONS))
    assert len(compilations) == 3 - (os.name == "nt")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


async def test_a_guard_against_blocking_calls_costs_the_file_only(folder, compilations):
    """
    On an event loop where reading files raises, the prefilter is compiled.
    """
    with blockbuster_ctx():
        assert_searches(Prefilter(EXPRESSIONS))
    assert compilations == [2]


def test_few_files_are_kept(folder, monkeypatch):
    """
    The oldest are removed.
    """
    monkeypatch.setattr(compiled_cache, "MAX_FILES", 3)
    for number in range(5):
        Prefilter([(1, f"a{number}")])
        for path in folder.iterdir():
            os.utime(path, (path.stat().st_mtime - 10,) * 2)
    assert len(list(folder.iterdir())) == 3
