"""
``fluxloop cassette``: list, show, check and prune cassettes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from ..errors import FluxLoopError
from ..reading import read_traces
from ..reading.json_text import encode
from ..replay import cassettes
from ..replay.cassettes import FOLDER
from ..replay.recording import ANSWERED
from ..testing import outline
from .formatting import console, counted, note, print_json
from .groups import command_group

EPILOG = """
[bold]Examples[/]

  fluxloop cassette list tests                           the cassettes in a folder
  fluxloop cassette show tests/cassettes/weather.jsonl   what one has, as a tree
  fluxloop cassette check tests/cassettes                would they replay? is anything cut, masked or stale?
  fluxloop cassette check tests/cassettes --run          does today's code still make the recorded calls?
  fluxloop cassette prune tests/cassettes/weather.jsonl --keep weather-1

[bold]Exit codes[/]: 0 done, 1 a check found something, 2 not readable.
"""

app = command_group("List, show, check and prune cassettes: trace files that answer the calls of tests.", EPILOG)

PathOption = Annotated[Path, typer.Argument(metavar="PATH", help="A cassette, or a folder with cassettes.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, one cassette per line.")]


def _files(path: Path) -> list[Path]:
    """Return the cassettes that *path* names; for a file of tests, those of its tests."""
    if path.suffix == ".py":
        return _files_of_tests(path)
    if path.is_dir():
        found = sorted(path.rglob("*.jsonl"))
        if not found:
            note(f"{path}: no cassettes, which are .jsonl files. Record one with: pytest --fluxloop-record=once")
        return found
    if path.exists():
        return [path]
    return _stop(f"expected a cassette or a folder, but {path} does not exist")


def _files_of_tests(path: Path) -> list[Path]:
    folder = path.parent / FOLDER / path.stem
    if folder.is_dir():
        return _files(folder)
    return _stop(f"expected a cassette (a .jsonl file) or a folder, got {path}, whose tests have none in {folder}")


def _stop(message: str) -> list[Path]:
    sys.stderr.write(f"fluxloop cassette: {message}\n")
    raise typer.Exit(2)


def _safely(path: Path, read: Callable[[Path], object]) -> object:
    try:
        return read(path)
    except (FluxLoopError, OSError) as error:
        return _stop(f"{path}: {error}")


def _print(text: str) -> None:
    console().print(text, markup=False, highlight=False, soft_wrap=True)


@app.command("list", epilog=EPILOG)
def list_(path: PathOption = Path(), as_json: JsonOption = False) -> None:
    """List cassettes: how many traces and answers each has, and its size."""
    for file in _files(path):
        traces = _safely(file, lambda each: list(read_traces(each)))
        assert isinstance(traces, list)
        answers = sum(one.type in ANSWERED for trace in traces for one in trace.observations)
        if as_json:
            print_json(
                encode({"path": str(file), "traces": len(traces), "answers": answers, "bytes": file.stat().st_size})
            )
        else:
            _print(
                f"{file}  {counted(len(traces), 'trace')}, {counted(answers, 'answer')}, {file.stat().st_size:,} bytes"
            )


@app.command(epilog=EPILOG)
def show(path: PathOption) -> None:
    """Show the traces of cassettes as trees."""
    for file in _files(path):
        traces = _safely(file, lambda each: list(read_traces(each)))
        assert isinstance(traces, list)
        for trace in traces:
            _print(f"{trace.trace_id}\n{outline(trace, inputs=True)}")


@app.command(epilog=EPILOG)
def check(
    path: PathOption,
    run: Annotated[bool, typer.Option("--run", help="Run the recorded entry points with today's code too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check whether cassettes would replay: nothing cut, masked, unfinished, stale or empty."""
    is_fine = True
    for file in _files(path):
        problems = _safely(file, cassettes.problems_in)
        assert isinstance(problems, list)
        if run:
            divergences = _safely(file, cassettes.divergences_in)
            assert isinstance(divergences, list)
            problems += divergences
        is_fine = is_fine and not problems
        if as_json:
            print_json(encode({"path": str(file), "problems": problems}))
            continue
        _print(f"{file}: {'ok' if not problems else counted(len(problems), 'problem')}")
        for problem in problems:
            _print(f"  {problem}")
    raise typer.Exit(0 if is_fine else 1)


@app.command(epilog=EPILOG)
def prune(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A cassette.")],
    keep: Annotated[list[str], typer.Option(metavar="ID", help="Keep this trace; may be repeated.")],
) -> None:
    """Remove the traces from a cassette that are not named with --keep."""
    if not path.is_file():
        _stop(f"expected a cassette, but {path} is not a file")
    removed = _safely(path, lambda each: cassettes.prune(each, set(keep)))
    assert isinstance(removed, int)
    assert isinstance(removed, int)
    _print(f"{path}: {counted(removed, 'trace')} removed")
