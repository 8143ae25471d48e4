"""
Sources of values that differ from run to run: each is made repeatable, and can be changed at one line of a program.

Only a process that looks for such lines installs the probes; see `fluxloop.replay.probing`. A probe replaces functions
of the standard library. A call belongs to the innermost line of the program's own code, also if a library makes it.
"""

from __future__ import annotations

import asyncio
import builtins
import functools
import getpass
import os
import random
import secrets
import socket
import sys
import sysconfig
import threading
import time
import types
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from . import numpy_probes
from .entries import Entries

START = datetime(2030, 5, 6, 7, 8, 9)
"""The time at which a repeatable clock starts; each reading adds a millisecond."""
LATER = timedelta(days=398, hours=5, minutes=7, seconds=13)
"""What is added to a changed reading of the clock: another year, month, weekday, hour, minute and second."""
SEED = 20300506
"""The seed of repeatable random numbers."""


_DRAWS = (
    *("random", "randint", "randrange", "choice", "choices", "sample", "uniform", "gauss", "getrandbits", "shuffle"),
    *("betavariate", "expovariate", "normalvariate", "triangular", "randbytes"),
)
"""The functions of the module ``random``."""


@dataclass(frozen=True, slots=True)
class Site:
    """A line of the program that reads a source."""

    kind: str
    file: str
    line: int
    call: str
    """The function that is called, with the variable for environment variables."""


@dataclass
class Probes:
    """
    The installed probes.

    Args:
        is_repeatable: Whether sources give the same values in each run; False only notes where they are read.
        changed: The place whose values are changed.
    """

    is_repeatable: bool = True
    changed: Site | None = None
    sites: dict[Site, None] = field(default_factory=dict)
    _readings: int = 0
    _ids: int = 0
    _other: random.Random = field(default_factory=lambda: random.Random(SEED + 1))

    def at(self, kind: str, call: str) -> bool | None:
        """Note the place of a reading; return whether it is changed, or None if the value is the real one."""
        place = _innermost()
        if place is None:
            return False if self.is_repeatable else None
        site = Site(kind, *place, call)
        self.sites.setdefault(site)
        return site == self.changed if self.is_repeatable else None

    def install(self) -> None:
        """Replace the functions; they stay replaced in this process."""
        if self.is_repeatable:
            random.seed(SEED)
        self._clock()
        self._random()
        self._ids_and_secrets()
        self._environment()
        self._directories()
        self._tasks()

    def _replace(
        self, owner: Any, name: str, kind: str, change: Callable[..., Any], *, is_direct: bool = False
    ) -> None:
        """
        Replace a function by one that calls *change* with the original, whether it is changed, and the arguments.

        With *is_direct*, calls that a library makes get the real value.
        """
        original = getattr(owner, name, None)
        if original is None:
            return
        call = f"{getattr(owner, '__name__', type(owner).__name__)}.{name}"

        def probed(*args: Any, **kwargs: Any) -> Any:
            if is_direct and not is_program(sys._getframe(1).f_code.co_filename):
                return original(*args, **kwargs)
            is_changed = self.at(kind, call)
            if is_changed is None:
                return original(*args, **kwargs)
            return change(original, is_changed, *args, **kwargs)

        setattr(owner, name, probed)

    def now(self, *, is_changed: bool) -> datetime:
        """Return the next reading of the repeatable clock."""
        self._readings += 1
        return START + timedelta(milliseconds=self._readings) + (LATER if is_changed else timedelta())

    def _clock(self) -> None:
        def seconds(original: Any, is_changed: bool) -> float:
            return self.now(is_changed=is_changed).timestamp()

        def local(original: Any, is_changed: bool, *given: Any) -> Any:
            return original(*given) if given else original(self.now(is_changed=is_changed).timestamp())

        def formatted(original: Any, is_changed: bool, layout: str, *given: Any) -> str:
            return str(original(layout, *(given or (_localtime(self.now(is_changed=is_changed).timestamp()),))))

        self._replace(time, "time", "clock", seconds)
        self._replace(time, "time_ns", "clock", lambda original, is_changed: int(seconds(original, is_changed) * 1e9))
        for name in ("perf_counter", "monotonic", "process_time", "thread_time"):  # event loops need the real ones
            self._replace(time, name, "clock", seconds, is_direct=True)
            self._replace(
                time,
                f"{name}_ns",
                "clock",
                lambda original, is_changed: int(seconds(original, is_changed) * 1e9),
                is_direct=True,
            )
        for name in ("localtime", "gmtime", "ctime"):
            self._replace(time, name, "clock", local)
        self._replace(time, "strftime", "clock", formatted)
        _import_for_programs("datetime", _datetime_module(self))

    def _random(self) -> None:
        def drawn(name: str) -> Callable[..., Any]:
            def draw(original: Any, is_changed: bool, *args: Any, **kwargs: Any) -> Any:
                value = original(*args, **kwargs)  # also if it is not used: later numbers stay the same
                return getattr(self._other, name)(*args, **kwargs) if is_changed else value

            return draw

        for name in _DRAWS:
            self._replace(random, name, "random numbers", drawn(name))
        numpy_probes.watch(self._replace, SEED, is_repeatable=self.is_repeatable)
        self._random_objects()

    def _random_objects(self) -> None:
        """Probe objects of random numbers that the program makes without a seed, and those of the system."""
        seed = random.Random.seed

        def seeded(generator: Any, a: Any = None, version: int = 2) -> None:
            is_changed = self.at("random numbers", "random.Random") if a is None else None
            seed(generator, a if is_changed is None else SEED + is_changed, version)

        random.Random.seed = seeded  # type: ignore[method-assign, assignment]

    def _ids_and_secrets(self) -> None:
        def number(is_changed: bool) -> int:
            self._ids += 1
            return self._ids + (10**30 if is_changed else 0)

        def identifier(original: Any, is_changed: bool, *args: Any, **kwargs: Any) -> uuid.UUID:
            spread = random.Random(number(is_changed)).getrandbits(128)
            return uuid.UUID(int=spread, version=4)

        def token(make: Callable[[bytes], Any]) -> Callable[..., Any]:
            def made(original: Any, is_changed: bool, nbytes: int | None = None) -> Any:
                return make(random.Random(number(is_changed)).randbytes(nbytes or 32))

            return made

        def drawn(name: str) -> Callable[..., Any]:
            return lambda original, is_changed, *args: getattr(random.Random(number(is_changed)), name)(*args)

        def raw(original: Any, is_changed: bool, size: int) -> bytes:
            return random.Random(number(is_changed)).randbytes(size)

        self._replace(random, "_urandom", "random numbers", raw)  # of SystemRandom, and of numpy's generators
        self._replace(os, "urandom", "ids", raw)
        for name in ("uuid1", "uuid4", "uuid6", "uuid7"):
            self._replace(uuid, name, "ids", identifier)
        self._replace(secrets, "token_hex", "ids", token(bytes.hex))
        self._replace(secrets, "token_bytes", "ids", token(bytes))
        self._replace(secrets, "token_urlsafe", "ids", token(bytes.hex))
        self._replace(secrets, "choice", "ids", drawn("choice"))
        self._replace(secrets, "randbelow", "ids", drawn("randrange"))
        self._replace(os, "getpid", "ids", lambda original, is_changed: 54321 if is_changed else 12345)

    def _environment(self) -> None:
        def other(original: Any, is_changed: bool, *args: Any, **kwargs: Any) -> Any:
            return _other_text(original(*args, **kwargs)) if is_changed else original(*args, **kwargs)

        for owner, name in ((socket, "gethostname"), (getpass, "getuser"), (os, "getcwd")):
            self._replace(owner, name, "environment", other)
        kind: Any = type(os.environ)
        read = kind.__getitem__

        def variable(environ: Any, key: Any) -> Any:
            value = read(environ, key)
            return _other_text(value) if self.at("environment", f"os.environ[{key!r}]") else value

        kind.__getitem__ = variable

    def _directories(self) -> None:
        def listed(original: Any, is_changed: bool, *args: Any) -> list[Any]:
            return sorted(original(*args), reverse=is_changed)

        def scanned(original: Any, is_changed: bool, *args: Any) -> Entries:
            with original(*args) as entries:
                return Entries(sorted(entries, key=lambda entry: entry.name, reverse=is_changed))

        self._replace(os, "listdir", "directory order", listed)
        self._replace(os, "scandir", "directory order", scanned)

    def _tasks(self) -> None:
        def started(original: Any, is_changed: bool, *args: Any, **kwargs: Any) -> Any:
            return original(*args, **kwargs)

        for name in ("gather", "create_task", "ensure_future", "as_completed", "wait"):
            self._replace(asyncio, name, "concurrency", started)
        self._replace(asyncio.TaskGroup, "create_task", "concurrency", started)
        for owner, name in ((threading.Thread, "start"), (ThreadPoolExecutor, "submit")):
            self._replace(owner, name, "concurrency", started)


_localtime = time.localtime
_real_import = builtins.__import__


def _other_text(value: Any) -> Any:
    """Return another value of the same kind: a number for a number."""
    if not isinstance(value, str):
        return value
    return str(int(value) + 1) if value.isdecimal() else f"{value}-other"


def _datetime_module(probes: Probes) -> types.ModuleType:
    """Return the module ``datetime`` with a clock that is probed; its instances are the real ones."""
    import datetime as real

    class _Kind(type):
        def __instancecheck__(cls, instance: Any) -> bool:
            return isinstance(instance, cls.__mro__[1])

        def __subclasscheck__(cls, subclass: type) -> bool:
            return issubclass(subclass, cls.__mro__[1])

    def schema(cls: Any, source: Any, handler: Any) -> Any:
        return handler(cls.__mro__[1])

    def current(call: str, tz: Any = None) -> datetime:
        is_changed = probes.at("clock", call)
        if is_changed is None:
            return datetime.now(tz)
        now = probes.now(is_changed=is_changed)
        return now.replace(tzinfo=real.UTC).astimezone(tz) if tz is not None else now

    moment = {
        "now": classmethod(lambda cls, tz=None: current("datetime.now", tz)),
        "utcnow": classmethod(lambda cls: current("datetime.utcnow")),
        "today": classmethod(lambda cls: current("datetime.today")),
        "__new__": lambda cls, *args, **kwargs: datetime(*args, **kwargs),
        "__get_pydantic_core_schema__": classmethod(schema),
    }
    day = {
        "today": classmethod(lambda cls: current("date.today").date()),
        "__new__": lambda cls, *args, **kwargs: date(*args, **kwargs),
        "__get_pydantic_core_schema__": classmethod(schema),
    }
    module = types.ModuleType("datetime")
    module.__dict__.update(vars(real))
    module.datetime = _Kind("datetime", (datetime,), moment)  # type: ignore[attr-defined]
    module.date = _Kind("date", (date,), day)  # type: ignore[attr-defined]
    return module


def _import_for_programs(name: str, module: types.ModuleType) -> None:
    """Let the program's own code import *module* as *name*; libraries get the real module."""

    def importing(wanted: str, globals: Any = None, *args: Any, **kwargs: Any) -> Any:
        if wanted == name and is_program((globals or {}).get("__file__")):
            return module
        return _real_import(wanted, globals, *args, **kwargs)

    builtins.__import__ = importing  # type: ignore[assignment]


def _libraries() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    folders = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    root = Path(__file__).parents[2]
    folders |= {str(root / package) for package in ("fluxloop", "fluxloop_custom", "fluxloop_langchain")}
    folders.add(str(root / "fluxloop_langgraph"))
    return tuple(f"{os.path.realpath(folder)}{os.sep}" for folder in folders)


_LIBRARIES = _libraries()


@functools.cache
def is_program(file: str | None) -> bool:
    """Whether *file* is the program's own code: not of Python, an installed package, or FluxLoop."""
    return file is not None and not file.startswith("<") and not os.path.realpath(file).startswith(_LIBRARIES)


def _innermost() -> tuple[str, int] | None:
    """Return file and line of the innermost frame of the program's own code."""
    frame: Any = sys._getframe(2)
    while frame is not None:
        if is_program(frame.f_code.co_filename):
            return frame.f_code.co_filename, frame.f_lineno
        frame = frame.f_back
    return None
