"""
``fluxloop init``: create the files of a project, of an agent or of tests, which run as they are.
"""

from __future__ import annotations

import keyword
import re
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from ..errors import ConfigError
from .formatting import console
from .groups import command_group
from .templates import AGENTS, project_files, pytest_file
from .usage_errors import reported

EPILOG = """
[bold]Examples[/]

  fluxloop init project                 here; existing files are kept
  fluxloop init project shop            in the folder shop
  fluxloop init agent planner           planner.py, without a framework
  fluxloop init agent planner -t langgraph
  fluxloop init pytest                  tests/test_agent.py, whose tests pass

[bold]Exit codes[/]: 0 done, 2 a file could not be written.
"""

RESERVED = sys.stdlib_module_names | {"fluxloop", "langchain", "langgraph", "openai", "agents"}
"""Names of modules that a file of the project would take the place of."""

app = command_group("Create the files of a project, of an agent, or of tests.", EPILOG)

Template = Literal["simple", "langchain", "langgraph"]
"""The names of `AGENTS`."""


@app.command(epilog=EPILOG)
def project(
    path: Annotated[Path, typer.Argument(help="The folder; created if there is none.")] = Path(),
    *,
    name: Annotated[str | None, typer.Option("--name", "-n", help="The name; by default that of the folder.")] = None,
    example: Annotated[
        bool, typer.Option("--with-example/--no-example", help="Add an agent that runs offline.")
    ] = True,
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace existing files.")] = False,
) -> None:
    """
    Create configs/, .env and an example agent. The project runs and passes as it is.
    """
    chosen = name or path.resolve().name or "project"
    with reported():
        written = [
            _write(path / file, text, force) for file, text in project_files(chosen, with_example=example).items()
        ]
        (path / "recordings").mkdir(exist_ok=True)
    _print(written)
    inside = "" if path == Path() else f"cd {path} && "
    console().print(f"next: {inside}fluxloop run experiment", style="dim", soft_wrap=True, markup=False)


@app.command(epilog=EPILOG)
def agent(
    name: Annotated[str, typer.Argument(help="The name of the module and of its function.")],
    *,
    path: Annotated[Path, typer.Option("--path", "-p", help="The folder for the file.")] = Path(),
    template: Annotated[Template, typer.Option("--template", "-t", help="The framework it uses.")] = "simple",
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace an existing file.")] = False,
) -> None:
    """
    Create a recorded agent in a file of its own.
    """
    module = re.sub(r"\W", "_", name).strip("_").lower()
    with reported():
        if not module or module[0].isdecimal():
            raise ConfigError(f"a module cannot be named {name!r}. Use letters, digits and _")
        if module in RESERVED or keyword.iskeyword(module):
            raise ConfigError(
                f"the name {module!r} is taken by Python or FluxLoop. Use another one, such as my_{module}"
            )
        target = path / f"{module}.py"
        if target.exists() and not force:
            raise ConfigError(f"{target} exists. Use --force to replace it")
        written = [_write(target, AGENTS[template].replace("NAME", module), force)]
    _print(written)
    console().print(f'next: set runner.target to "{module}:{module}"', style="dim", soft_wrap=True, markup=False)


@app.command("pytest", epilog=EPILOG)
def for_pytest(
    path: Annotated[Path, typer.Argument(help="The folder of the project.")] = Path(),
    *,
    tests_dir: Annotated[str, typer.Option("--tests-dir", help="The folder for the file, in the project.")] = "tests",
    filename: Annotated[str, typer.Option("--filename", help="The name of the file.")] = "test_agent.py",
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace an existing file.")] = False,
) -> None:
    """
    Create a file of tests for pytest, which pass as they are.

    In a project with a configuration, one of them runs its experiment.
    """
    with reported():
        if not path.is_dir():
            raise ConfigError(f"folder not found: {path}. Create it, or name another one")
        if not re.fullmatch(r"test_\w+\.py|\w+_test\.py", filename):
            raise ConfigError(f"pytest does not collect {filename!r}. Use a name like test_agent.py")
        target = path / tests_dir / filename
        if not target.resolve().is_relative_to(path.resolve()):
            raise ConfigError(f"{tests_dir} is outside of the project {path.resolve()}")
        if target.exists() and not force:
            raise ConfigError(f"{target} exists. Use --force to replace it")
        written = [_write(target, pytest_file(_root_from(target, path)), force)]
    _print(written)
    console().print(f"next: pytest {target}", style="dim", soft_wrap=True, markup=False)


@app.command("pytest-template", hidden=True)
def for_pytest_template(
    path: Annotated[Path, typer.Argument()] = Path(),
    *,
    tests_dir: Annotated[str, typer.Option("--tests-dir")] = "tests",
    filename: Annotated[str, typer.Option("--filename")] = "test_fluxloop_smoke.py",
    force: Annotated[bool, typer.Option("--force")] = False,
) -> None:
    """Create a file of tests, under the name that the published packages have for the command."""
    for_pytest(path, tests_dir=tests_dir, filename=filename, force=force)


def _root_from(target: Path, root: Path) -> str | None:
    """Return an expression in *target* for the folder *root*; None if that has no configuration."""
    from ..experiments.configuration.loading import find

    try:
        find(root)
    except ConfigError:
        return None
    depth = len(target.resolve().relative_to(root.resolve()).parents) - 1
    return f"Path(__file__).parents[{depth}]"


def _write(path: Path, text: str, force: bool) -> tuple[Path, bool]:
    """Write a file unless it exists; return whether it was written."""
    if path.exists() and not force:
        return path, False
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path, True


def _print(written: list[tuple[Path, bool]]) -> None:
    output = console()
    for path, is_new in written:
        text = f"created  {path}" if is_new else f"kept     {path} (it exists; --force replaces it)"
        output.print(text, markup=False, soft_wrap=True, style="" if is_new else "dim")
