"""
``fluxloop trace``: run a program as ``python`` does, with every adapter switched on and the program as a trace's root.
"""

from __future__ import annotations

import builtins
import importlib.util
import io
import os
import pkgutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType, TracebackType
from typing import Annotated, Any

import typer

import fluxloop

from ..interruptions import OUR_FOLDERS

CONTEXT = {"allow_interspersed_args": False}
"""Everything after the script belongs to the program."""

EPILOG = """
[bold]Examples[/]

  fluxloop trace agent.py                        run agent.py, and record it
  fluxloop trace agent.py --city Rome            with arguments of its own
  fluxloop trace -m my_agent.main --city Rome    a module, as python -m runs it
  fluxloop trace --session chat-7 agent.py       as part of a conversation
  fluxloop trace --only openai agent.py          starts faster: the other frameworks are not imported
  fluxloop trace --path /tmp/traces agent.py     another folder for the records

[bold]Exit codes[/]: those of the program.
"""


def trace(
    target: Annotated[str, typer.Argument(metavar="SCRIPT", help="The Python file or folder; with -m the module.")],
    arguments: Annotated[list[str] | None, typer.Argument(metavar="[ARGS]...", help="The program's arguments.")] = None,
    module: Annotated[bool, typer.Option("--module", "-m", help="Run a module, as python -m does.")] = False,
    path: Annotated[
        Path | None, typer.Option(help="Folder for the records.", show_default="the configured base_path")
    ] = None,
    session: Annotated[str | None, typer.Option(metavar="ID", help="The session of the trace.")] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="ADAPTER", help="Switch on this adapter alone; may be repeated.")
    ] = None,
) -> None:
    """
    Run a program unchanged, and record its model calls, agent runs and tools.

    Records with every adapter whose framework is installed, see fluxloop.install. The program is the root of the trace.
    """
    find = find_module if module else find_script
    try:
        program = find(target)
    except (ImportError, OSError) as error:
        what = f"can't open file {target!r}: {error.strerror}" if isinstance(error, OSError) else str(error)
        sys.stderr.write(f"fluxloop trace: {what}\n")
        raise SystemExit(2 if isinstance(error, OSError) else 1) from None
    if path is not None:
        fluxloop.configure(base_path=path)
    sys.argv = [program.argv0, *(arguments or [])]
    sys.modules["__main__"] = program.main
    fluxloop.install(*(only or []))
    raise SystemExit(run(program, session))


class ProgramInterrupt(SystemExit):
    """Ctrl-C ended the program; the process is to end by the same signal."""


@dataclass(frozen=True, slots=True)
class Program:
    """A program that is about to run."""

    name: str
    argv0: str
    main: ModuleType
    code: Callable[[], CodeType]


def find_script(path: str) -> Program:
    """
    Return the program in the file *path*, and put its folder at the start of ``sys.path``.

    A folder, or a ZIP archive, with ``__main__.py`` is a program, too.

    Raises:
        OSError: If it cannot be read.
        ImportError: If the folder has no ``__main__.py``.
    """
    whole = os.path.abspath(path)
    finder = pkgutil.get_importer(whole)
    if finder is not None:
        return _find_main(path, whole, finder)
    with io.open_code(whole) as file:
        source = file.read()
    _import_from(os.path.dirname(os.path.realpath(path)))
    main = _main_module(whole, SourceFileLoader("__main__", whole), None)
    return Program(Path(path).stem, path, main, lambda: compile(source, whole, "exec", dont_inherit=True))


def _find_main(path: str, whole: str, finder: Any) -> Program:
    """Return the program in a folder or an archive, and put that at the start of ``sys.path``."""
    spec = finder.find_spec("__main__")
    if spec is None:
        raise ImportError(f"can't find '__main__' module in {path!r}")
    _import_from(whole)
    main = _main_module(spec.origin, spec.loader, spec)
    return Program(Path(path).stem, path, main, lambda: spec.loader.get_code("__main__"))


def find_module(name: str) -> Program:
    """
    Return the program in the module *name*, or in ``__main__`` of the package *name*.

    Raises:
        ImportError: If there is none.
    """
    _import_from(os.getcwd())
    spec = importlib.util.find_spec(name)
    if spec is not None and spec.submodule_search_locations is not None:
        spec = importlib.util.find_spec(f"{name}.__main__")
    loader: Any = spec.loader if spec is not None else None
    if spec is None or not hasattr(loader, "get_code"):
        raise ImportError(f"No module named {name}")
    main = _main_module(spec.origin or name, loader, spec)
    found = spec.name
    return Program(name, spec.origin or name, main, lambda: loader.get_code(found))


def _import_from(folder: str) -> None:
    """Replace the first entry of ``sys.path``, that of the ``fluxloop`` command, as ``python`` sets it."""
    if not sys.flags.safe_path:
        sys.path[0] = folder


def _main_module(file: str, loader: Any, spec: Any) -> ModuleType:
    main = ModuleType("__main__")
    package = spec.parent if spec is not None else None
    found = {"__file__": file, "__loader__": loader, "__spec__": spec, "__package__": package}
    vars(main).update(found, __builtins__=builtins, __cached__=getattr(spec, "cached", None))
    if sys.version_info < (3, 14):  # the interpreter's own module has it even where nothing is annotated
        vars(main)["__annotations__"] = {}
    return main


class ProgramExit(Exception):
    """The program exits with a code other than 0."""

    def __init__(self, end: SystemExit) -> None:
        super().__init__(f"exit code {end.code}" if isinstance(end.code, int) else str(end.code))
        self.end = end


def run(program: Program, session: str | None) -> Any:
    """
    Run *program* as the root of a trace, and return its exit code.

    An exception that it does not catch goes to `sys.excepthook`, as in ``python``, without FluxLoop's frames.
    """
    trace_id: list[str] = []

    def body(arguments: list[str]) -> None:
        context = fluxloop.get_current_context()
        if context is not None and context.is_enabled():
            trace_id.append(context.trace_id)
        try:
            exec(program.code(), vars(program.main))
        except SystemExit as end:
            if end.code not in (None, 0):
                raise ProgramExit(end) from None

    root = fluxloop.instrument(program.name, session_id=session, observation_type="agent")
    try:
        root(body)(sys.argv[1:])
    except ProgramExit as failed:
        return failed.end.code
    except BaseException as exc:
        shown = _without_our_frames(exc.__traceback__)
        sys.excepthook(type(exc), exc.with_traceback(shown), shown)
        if isinstance(exc, KeyboardInterrupt):
            raise ProgramInterrupt(130) from None
        return 1
    finally:
        _print_trace(trace_id)
    return 0


def _without_our_frames(traceback: TracebackType | None) -> TracebackType | None:
    while traceback is not None and traceback.tb_frame.f_code.co_filename.startswith(OUR_FOLDERS):
        traceback = traceback.tb_next
    return traceback


def _print_trace(trace_id: list[str]) -> None:
    """Print where the trace is and how to view it, on stderr, where it is not part of the program's output."""
    settings, counts = fluxloop.get_config(), fluxloop.report()
    if not trace_id:
        text = "nothing was recorded, as tracing is off or sampling left the trace out"
    elif counts.failed and not counts.written:
        text = f"nothing was recorded, as none of {counts.failed:,} records could be stored in {settings.base_path}"
    elif settings.storage == "file":
        text = f"trace recorded in {settings.base_path}: fluxloop view {settings.base_path} --trace {trace_id[0]}"
    else:
        text = f"trace {trace_id[0]} recorded in storage {settings.storage!r:.100}"
    if counts.failed and counts.written:
        text += f" ({counts.failed:,} of {counts.failed + counts.written:,} records could not be stored)"
    if sys.stderr is not None:
        sys.stderr.write(f"fluxloop: {text}\n")
