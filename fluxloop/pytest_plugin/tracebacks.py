"""
The traceback of a failed test, without the frames of FluxLoop between those of the test and of the program.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest

from ..errors import FluxLoopError

PACKAGES = frozenset({"fluxloop", "fluxloop_custom", "fluxloop_langchain", "fluxloop_langgraph", "fluxloop_pytest"})

HIDE = "__tracebackhide__"
"""The name by which pytest recognizes frames that it leaves out, among the names of a function or of its module."""


@contextmanager
def hidden(error: BaseException | None) -> Iterator[None]:
    """Let pytest leave out the frames of FluxLoop inside the block, unless FluxLoop itself failed."""
    modules: list[dict[str, Any]] = []
    if isinstance(error, pytest.fail.Exception) and not error.pytrace:
        error = None  # it is shown without a traceback
    for frames, raised in _tracebacks(error):
        if not _is_ours(frames[-1]) or isinstance(raised, FluxLoopError | AssertionError):
            modules += [frame.f_globals for frame in frames if _is_ours(frame) and HIDE not in frame.f_globals]
    for module in modules:
        module[HIDE] = True
    try:
        yield
    finally:
        for module in modules:
            module.pop(HIDE, None)


def _tracebacks(error: BaseException | None) -> Iterator[tuple[list[FrameType], BaseException]]:
    """Yield the frames of *error* and of the errors that led to it, each from the outermost on."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        frames: list[FrameType] = []
        entry = error.__traceback__
        while entry is not None:
            frames.append(entry.tb_frame)
            entry = entry.tb_next
        if frames:
            yield frames, error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] in PACKAGES
