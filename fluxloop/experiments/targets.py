"""
Find what an experiment runs: a function, method, callable object or framework object, by its name in the configuration.
"""

from __future__ import annotations

import functools
import importlib
import importlib.machinery
import inspect
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import ConfigError
from ..settings.value_types import did_you_mean
from .configuration.loading import SEED_EXAMPLE
from .configuration.models import Runner

MAX_LISTED = 20
"""Names of a module that an error message lists."""


@dataclass(frozen=True, slots=True)
class Target:
    """Something that can be called for each run."""

    name: str
    """``module:qualname``."""
    call: Callable[..., Any]
    new: Callable[[], Callable[..., Any]] | None = None
    """Creates a new instance, and returns what to call; None if all runs share one."""

    def for_run(self) -> Callable[..., Any]:
        """Return what one run calls."""
        return self.call if self.new is None else self.new()

    @property
    def is_async(self) -> bool:
        """Whether a call returns at once, with something to await or iterate; other targets need a thread."""
        func: Any = self.call
        while isinstance(func, functools.partial):
            func = func.func
        if not inspect.isroutine(func):
            func = inspect.getattr_static(type(func), "__call__", func)
        return inspect.iscoroutinefunction(func) or inspect.isasyncgenfunction(func)


def find_target(runner: Runner, place: str = "runner.target") -> Target:
    """
    Import and return what *runner* names.

    Args:
        runner: ``target`` as ``module:function``, ``module:Class.method``, ``module:instance`` or
            ``module:instance.method``; or ``module_path`` and ``function_name``.
        place: The file and line of the target, for messages.

    Raises:
        ConfigError: If it cannot be imported or called; the message says what there is instead.
    """
    name = runner.target or (f"{runner.module_path}:{runner.function_name}" if runner.module_path else "")
    if not name:
        raise ConfigError(f"{place}: runner.target is missing. Name a function:\n  {SEED_EXAMPLE}")
    module_name, path = split(name, place)
    module = import_module(module_name, place)
    found, owner = _symbol(module, path, name, place)
    if owner is None and isinstance(found, type):
        return _of_class(found, None, runner, name, place)
    if isinstance(owner, type) and _needs_instance(owner, path.rpartition(".")[2]):
        return _of_class(owner, path.rpartition(".")[2], runner, name, place)
    return Target(name, _callable(found, name, place))


def of_callable(function: Any) -> Target:
    """Return *function*, a callable or an object with ``invoke``, as a target."""
    module, qualname = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    name = f"{module}:{qualname}" if module and qualname else type(function).__qualname__
    return Target(name, _callable(function, name, "target"))


def split(name: str, place: str) -> tuple[str, str]:
    """Return the module and the path within it of *name*; ``module.function`` is understood too."""
    separator = ":" if ":" in name else "."
    module, _, path = name.partition(":") if separator == ":" else name.rpartition(".")
    if "/" in module or module.startswith("."):
        raise ConfigError(f"{place}: a target names a module, as in package.module:function, got {name!r}")
    if not module.strip() or not path.strip():
        raise ConfigError(f"{place}: a target has the form module:function, got {name!r}")
    return module.strip(), path.strip()


def import_module(name: str, place: str) -> Any:
    """
    Import the module *name*.

    Raises:
        ConfigError: If there is none, or if it fails; the message has the line at which it failed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as exc:
        if exc.name and f"{name}.".startswith(f"{exc.name}."):
            folder = sys.path[0] or str(Path.cwd())
            beside = sorted(path.stem for path in Path(folder).glob("*.py")) if Path(folder).is_dir() else []
            hint = did_you_mean(name, beside) or (f". It contains: {', '.join(beside[:MAX_LISTED])}" if beside else "")
            raise ConfigError(f"{place}: module {exc.name!r} not found in {folder}{hint}") from None
        raise ConfigError(f"{place}: importing {name!r} failed{_line_of(exc)}: {exc}{_names_taken(exc)}") from exc
    except (Exception, SystemExit) as exc:  # a script may call sys.exit when it is imported
        message = f"{place}: importing {name!r} failed{_line_of(exc)}: {type(exc).__name__}: {exc}{_names_taken(exc)}"
        raise ConfigError(message) from exc


def _names_taken(exc: BaseException) -> str:
    """Return a note of the files of the project that were imported in place of other modules, as ``queue.py`` is."""
    folder = Path(sys.path[0]).resolve()
    frames = {Path(frame.filename).resolve() for frame in traceback.extract_tb(exc.__traceback__)}
    loaded = {Path(file).resolve() for each in [*sys.modules.values()] if (file := getattr(each, "__file__", None))}
    own = [*folder.glob("*.py"), *folder.glob("*/__init__.py")]
    names = {path: path.parent.name if path.name == "__init__.py" else path.stem for path in own}
    taken = [path for path in sorted(names) if path in frames | loaded and _is_elsewhere(names[path])]
    files = ", ".join(str(path) for path in taken[:MAX_LISTED])
    if taken:
        return f". Note: {files} is imported in place of the installed module of that name; rename it"
    module = sys.modules.get(exc.name or "") if isinstance(exc, ImportError) else getattr(exc, "obj", None)
    return _shadowed(module) if isinstance(module, ModuleType) else ""


def _is_elsewhere(name: str) -> bool:
    """Return whether there is a module *name* besides the one in the first folder of the search path."""
    rest = [path for path in sys.path[1:] if path and Path(path).resolve() != Path(sys.path[0]).resolve()]
    return name in sys.stdlib_module_names or importlib.machinery.PathFinder.find_spec(name, rest) is not None


def _line_of(exc: BaseException) -> str:
    """Return `` at FILE, line N`` for the innermost line of the user's code in *exc*."""
    if isinstance(exc, SyntaxError) and exc.filename:
        return f" at {exc.filename}, line {exc.lineno}"
    frames = [frame for frame in traceback.extract_tb(exc.__traceback__) if "importlib" not in frame.filename]
    inner = [frame for frame in frames if Path(frame.filename).resolve() != Path(__file__).resolve()]
    return f" at {inner[-1].filename}, line {inner[-1].lineno}" if inner else ""


def _symbol(module: Any, path: str, name: str, place: str) -> tuple[Any, Any]:
    """Return the object at *path* in *module*, and the object that has it (None for the module)."""
    owner, found = None, module
    for part in path.split("."):
        owner = None if found is module else found
        try:
            found = getattr(found, part)
        except AttributeError:
            what = f"module {module.__name__!r}" if owner is None else f"{getattr(owner, '__name__', owner)!r}"
            holder = module if owner is None else owner
            names = _public_names(holder)
            listed = f" It has: {', '.join(names[:MAX_LISTED])}" if names else " It has no functions or classes."
            hint = did_you_mean(part, names) or "."
            if owner is None:
                hint = f"{_shadowed(module)}{hint}"
            raise ConfigError(f"{place}: {what} has no {part!r}{hint}{listed}") from None
    return found, owner


def _shadowed(module: ModuleType) -> str:
    """Return a note if *module* is not the project's file of that name, such as ``queue.py``."""
    own, loaded = Path(sys.path[0], f"{module.__name__}.py"), getattr(module, "__file__", None)
    if not own.is_file() or (loaded is not None and Path(loaded).resolve() == own.resolve()):
        return ""
    return f" (it is {loaded or 'built in'}; rename {own}, whose name is taken)"


def _public_names(holder: Any) -> list[str]:
    own = getattr(holder, "__name__", None)
    names = (
        [
            name
            for name, value in vars(holder).items()
            if not name.startswith("_") and callable(value) and getattr(value, "__module__", own) in (own, None)
        ]
        if hasattr(holder, "__dict__")
        else []
    )
    return sorted(names)


def _needs_instance(cls: type, method: str) -> bool:
    return not isinstance(inspect.getattr_static(cls, method), staticmethod | classmethod)


def _of_class(cls: type, method: str | None, runner: Runner, name: str, place: str) -> Target:
    """Return the target for a method of an instance, or for a callable instance, of *cls*."""

    def create() -> Callable[..., Any]:
        instance = make()
        return _callable(instance if method is None else getattr(instance, method), name, place)

    make: Callable[[], Any] = cls
    if runner.factory is not None:
        module, path = split(runner.factory, f"{place}: runner.factory")
        factory, _ = _symbol(import_module(module, place), path, runner.factory, place)
        make = lambda: factory(**runner.factory_kwargs)  # noqa: E731
    elif needed := _required(cls):
        raise ConfigError(
            f"{place}: {name} needs an instance of {cls.__name__}, which takes {', '.join(needed)}. "
            'Name a function that creates it: runner.factory: "module:function"'
        )
    try:
        first = create()
    except ConfigError:
        raise
    except (Exception, SystemExit) as exc:
        raise ConfigError(
            f"{place}: creating {cls.__name__} failed{_line_of(exc)}: {type(exc).__name__}: {exc}"
        ) from exc
    return Target(name, first, create if runner.instance_per_run else None)


def _required(func: Callable[..., Any]) -> list[str]:
    """Return the parameters of *func* without a default."""
    try:
        parameters = inspect.signature(func).parameters.values()
    except (TypeError, ValueError):
        return []
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [each.name for each in parameters if each.default is each.empty and each.kind not in variadic]


def _callable(found: Any, name: str, place: str) -> Callable[..., Any]:
    """Return *found* if it is callable, or its method ``ainvoke`` or ``invoke``, which objects of LangChain have."""
    for method in ("ainvoke", "invoke"):
        run: Callable[..., Any] | None = None
        with suppress(Exception):  # an attribute may be computed
            run = getattr(found, method, None)
        if not inspect.isroutine(found) and callable(run):
            return run
    if not callable(found):
        raise ConfigError(f"{place}: {name} is not a function, but of type {type(found).__name__}")
    function: Callable[..., Any] = found
    return function
