"""
The mark ``fluxloop_cassette``: model and tool calls of a test are answered from a file, or recorded into it.

The files are in ``cassettes`` beside the test. ``--fluxloop-record`` selects the mode, as for `fluxloop.cassette`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from ..errors import FluxLoopError
from ..models import ObservationData, Trace
from ..replay.cassettes import FOLDER, Cassette, Mode
from ..replay.matching import MODES, Match
from ..replay.session import described
from ..settings.dotenv import in_ci
from ..storage import MemoryStorage
from ..testing import Captured
from . import recording
from .names import file_name, test_name

ARGUMENTS = ("name", "match", "live")
DURING_TEAR_DOWN = "pytest_tear_down"
"""The member of the metadata of traces that fixtures started after the test function had ended."""
MOST_SHOWN = 5
"""Calls that a message lists."""

_OPEN = pytest.StashKey["TestCassette"]()


@dataclass(frozen=True)
class CassetteMark:
    """The arguments of the mark."""

    path: Path
    match: Match = "strict"
    live: tuple[str, ...] = ()


def cassette_mark(item: pytest.Item) -> CassetteMark:
    """
    Return the arguments of the nearest mark of *item*, and the defaults without one.

    Raises:
        pytest.UsageError: If an argument is unknown or has an invalid value, or if two marks of the test disagree.
    """
    own = [mark for mark in item.own_markers if mark.name == "fluxloop_cassette"]
    if len({(mark.args, repr(mark.kwargs)) for mark in own}) > 1:
        raise pytest.UsageError(f"{item.nodeid}: it has {len(own)} marks fluxloop_cassette that differ, expected one")
    mark = item.get_closest_marker("fluxloop_cassette")
    args = mark.args if mark is not None else ()
    given = {**dict(zip(ARGUMENTS, args, strict=False)), **(mark.kwargs if mark is not None else {})}
    unknown = [*(name for name in given if name not in ARGUMENTS), *args[len(ARGUMENTS) :]]
    if unknown:
        raise _wrong(item, f"has no argument {unknown[0]!r}; it has {', '.join(ARGUMENTS)}")
    match, live = given.get("match", "strict"), given.get("live", ())
    if match not in MODES:
        raise _wrong(item, f"has match={match!r}, expected one of {', '.join(MODES)}")
    lives = (live,) if isinstance(live, str) else live
    if not isinstance(lives, tuple | list) or not all(isinstance(one, str) for one in lives):
        raise _wrong(item, f"has live={live!r}, expected the name of a call, 'tools', 'models', or a list of them")
    return CassetteMark(_path(item, given.get("name")), match, tuple(lives))


def _path(item: pytest.Item, name: object) -> Path:
    """Return the path of the cassette *name*; by default it has the name of the test, in a folder for its file."""
    folder = item.path.parent / FOLDER
    if name is None:
        return folder / item.path.stem / f"{file_name(test_name(item))}.jsonl"
    if not isinstance(name, str) or not name.strip() or "\0" in name:
        raise _wrong(item, f"has name={name!r}, expected the name of a file")
    path = folder / (name if name.endswith(".jsonl") else f"{name}.jsonl")
    if not path.resolve().is_relative_to(folder.resolve()):
        raise _wrong(item, f"has name={name!r}, which is not inside {folder}")
    return path


def _wrong(item: pytest.Item, problem: str) -> pytest.UsageError:
    return pytest.UsageError(f"{item.nodeid}: @pytest.mark.fluxloop_cassette {problem}")


def mode_of(config: pytest.Config) -> Mode:
    """Return how cassettes are used: as ``--fluxloop-record`` says, by default ``none`` in CI and else ``once``."""
    given: Mode | None = config.getoption("fluxloop_record")
    return given or ("none" if in_ci() else "once")


class TestCassette(Cassette):
    """The cassette of a test. It answers calls of the whole process, which runs one test at a time."""

    __test__ = False
    is_for_process = True

    def __init__(self, item: pytest.Item, captured: Captured) -> None:
        self.passed = False
        """Whether the test passed; only then something is written."""
        mark = cassette_mark(item)
        super().__init__(mark.path, mode_of(item.config), mark.match, None, mark.live)
        self._captured = captured
        self._of_test: set[str] = set()

    def _record(self, stack: ExitStack) -> MemoryStorage:
        return self._captured.storage  # the fixture fluxloop_traces records, with replayable=True

    def _recorded(self, storage: MemoryStorage) -> list[Trace]:
        traces = Captured(self._captured.storage).traces()
        for trace in traces:
            if trace.trace_id not in self._of_test:
                trace.metadata[DURING_TEAR_DOWN] = True
        return traces

    def check(self) -> None:
        """
        Fail the test, whose function has returned, if it did not do what was recorded.

        Calls that fixtures make later are answered as well, and do not count here.
        """
        self._of_test = {trace.trace_id for trace in Captured(self._captured.storage).traces()}
        if self._replay is None:
            if not self._of_test:
                pytest.fail(
                    f"no call was recorded into the cassette {shown(self.path)}: the test has to run a function with "
                    "@fluxloop.agent, or a framework whose adapter is installed, see fluxloop.install",
                    pytrace=False,
                )
        elif misses := self._replay.misses:
            pytest.fail(f"{misses[0]}\n  the program caught the error", pytrace=False)
        elif self._match == "strict" and self.mode != "new_episodes" and (left := self._left(self._replay.unused)):
            listed = [f"  {described(one)}" for one in left[:MOST_SHOWN]]
            more = [f"  … {len(left) - MOST_SHOWN} more"] if len(left) > MOST_SHOWN else []
            message = f"{len(left)} calls of the cassette {shown(self.path)} were not made:"
            pytest.fail(
                "\n".join([message, *listed, *more, "  With match='fifo' or 'loose' they may stay away"]), False
            )
        self.passed = True

    def _left(self, unused: list[ObservationData]) -> list[ObservationData]:
        assert self._replay is not None
        later = {trace.trace_id for trace in self._replay.traces if trace.metadata.get(DURING_TEAR_DOWN)}
        return [one for one in unused if one.trace_id not in later]


@contextmanager
def opened(item: pytest.Item, captured: Captured) -> Iterator[TestCassette]:
    """Answer the calls of *item* from its cassette, or write what *captured* has to it, if the test passes."""
    cassette = TestCassette(item, captured)
    if cassette.mode == "none" and not cassette.path.exists():
        reason = "CI is set" if item.config.getoption("fluxloop_record") is None else "of --fluxloop-record=none"
        pytest.fail(
            f"cassette not found: {shown(cassette.path)}; none is recorded because {reason}. "
            f"Record it and commit it: pytest --fluxloop-record=once '{item.nodeid}'",
            pytrace=False,
        )
    try:
        cassette.__enter__()
    except (FluxLoopError, OSError) as error:
        pytest.fail(f"the cassette {shown(cassette.path)} cannot be used: {error}", pytrace=False)
    item.stash[_OPEN] = cassette
    try:
        yield cassette
    finally:
        failure = None if cassette.passed else RuntimeError("the test did not pass")
        before = len(cassette.replay.misses) if cassette.replay is not None else 0
        try:
            cassette.__exit__(type(failure), failure, None)
        except FluxLoopError as error:
            if cassette.passed or before == 0:  # else the test has failed because of it already
                pytest.fail(str(error), pytrace=False)
        except OSError as error:
            pytest.fail(f"the cassette {shown(cassette.path)} cannot be written: {error.strerror}", pytrace=False)


def check(item: pytest.Item) -> None:
    """Fail *item* at its end if it did not do what its cassette has."""
    if (cassette := item.stash.get(_OPEN, None)) is not None:
        if cassette.replay is None and recording.is_replaced(item):
            pytest.fail(f"the cassette {shown(cassette.path)} cannot be written: {recording.REPLACED}", pytrace=False)
        cassette.check()


def note_of(item: pytest.Item, failure: str) -> str | None:
    """
    Return what a report adds about the cassette of *item*; None if there is nothing to add.

    Args:
        item: The test.
        failure: What the report has already.
    """
    cassette = item.stash.get(_OPEN, None)
    if cassette is None:
        return None
    if cassette.replay is None:
        return f"{shown(cassette.path)} was not written, because the test did not pass"
    misses = [str(miss) for miss in cassette.replay.misses]
    new = [miss for miss in misses if miss.partition("\n")[0] not in failure]
    return "\n".join(
        [*new[:MOST_SHOWN], f"To record {shown(cassette.path)} again: pytest --fluxloop-record=rewrite '{item.nodeid}'"]
    )


def forget(item: pytest.Item) -> None:
    """Free the memory of the cassette of *item*."""
    if _OPEN in item.stash:
        del item.stash[_OPEN]


def shown(path: Path) -> str:
    """Return *path* relative to the working directory, if it is inside it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
