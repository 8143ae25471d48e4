"""
Files of a project that have the name of another module: FluxLoop never imports them in place of its own.
"""

from __future__ import annotations

import subprocess
import sys

import offline
import pytest
from experiments.projects import project, rows

NAMES = [
    "asyncio",
    "calendar",
    "copy",
    "email",
    "enum",
    "http",
    "httpx",
    "json",
    "logging",
    "operator",
    "orjson",
    "pydantic",
    "queue",
    "random",
    "secrets",
    "select",
    "statistics",
    "string",
    "token",
    "types",
    "typing",
    "yaml",
]


NEEDED_BY_PYTHON = {"operator", "types"}
"""Names of `NAMES` that ``python -m`` imports itself, before any module of FluxLoop."""


def command(folder, *arguments, option="-P"):
    """Run the command, as its script does: ``-P`` keeps the working directory out of the search path."""
    line = [sys.executable, *([option] if option else []), "-m", "fluxloop", *arguments]
    return subprocess.run(line, cwd=folder, env=offline.environment(), capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("engine", ["local", "processes"])
def test_files_of_the_project_do_not_take_the_place_of_modules(tmp_path, engine):
    """
    A project with such files runs, is parsed and is evaluated; its own target can import one of them.
    """
    project(tmp_path, "import cmd\ndef agent(input):\n    return cmd.answer", "base_inputs: [a, b]\nparallel_runs: 2")
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text(f"raise RuntimeError('{name} of the project')")
    (tmp_path / "cmd.py").write_text("answer = 42")

    for line in (("run", "experiment", "--engine", engine), ("evaluate", "experiment", "experiments")):
        done = command(tmp_path, *line)
        assert done.returncode == 0, done.stderr

    assert [row["output"] for row in rows(tmp_path)] == [42, 42]


@pytest.mark.parametrize("option", ["", "-B"])
def test_python_m_imports_no_files_of_the_working_directory(tmp_path, option):
    """
    ``python -m fluxloop`` starts with the working directory on the search path, and is the same command nevertheless.
    """
    project(tmp_path, "import cmd\ndef agent(input):\n    return cmd.answer", "base_inputs: [a]")
    for name in {*NAMES, "uuid", "platform", "subprocess", "rich"} - NEEDED_BY_PYTHON:
        (tmp_path / f"{name}.py").write_text(f"raise RuntimeError('{name} of the project')")
    (tmp_path / "cmd.py").write_text("answer = 42")

    for line in (("run", "experiment"), ("evaluate", "experiment", "experiments"), ("status",)):
        done = command(tmp_path, *line, option=option)
        assert done.returncode == 0, done.stderr

    assert rows(tmp_path)[0]["output"] == 42


def test_only_the_command_changes_the_search_path(tmp_path):
    """
    ``python -m`` with a module of the project that imports FluxLoop keeps the working directory.
    """
    (tmp_path / "own").mkdir()
    (tmp_path / "own/__init__.py").write_text("import fluxloop, sys, os\nassert sys.path[0] == os.getcwd()")
    (tmp_path / "own/__main__.py").write_text("import beside")
    (tmp_path / "beside.py").write_text("print('imported')")
    line = [sys.executable, "-m", "own", "-m", "fluxloop"]

    done = subprocess.run(line, cwd=tmp_path, env=offline.environment(), capture_output=True, text=True, timeout=60)

    assert done.stdout == "imported\n", done.stderr


def test_an_endpoint_is_called_with_the_installed_client(tmp_path):
    """
    What an experiment with an endpoint imports late does not come from the project either.
    """
    project(tmp_path, "", "runner: {http: {url: 'http://127.0.0.1:9/'}}\nbase_inputs: [a]")
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text(f"raise RuntimeError('{name} of the project')")

    assert command(tmp_path, "run", "experiment").returncode == 1

    assert rows(tmp_path)[0]["error"]["type"] == "EndpointError"


def test_an_import_that_fails_for_a_taken_name_says_so(tmp_path):
    """
    The note names the file to rename: the message of Python names only what the file does not have.
    """
    name = "wave"
    project(tmp_path, f"from {name} import unknown_name\ndef agent(input): pass", "base_inputs: [a]")
    (tmp_path / f"{name}.py").write_text("")

    done = command(tmp_path, "run", "experiment")

    assert done.returncode == 2
    assert "cannot import name 'unknown_name'" in done.stderr
    assert f"{tmp_path / name}.py is imported in place of the installed module of that name; rename it" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_whose_name_is_taken_is_named(tmp_path):
    """
    A module that was loaded before stays what it is, for the target too; the message says which file is not it.
    """
    project(tmp_path, "from queue import ask\ndef agent(input): pass", "base_inputs: [a]")
    (tmp_path / "queue.py").write_text("def ask(): pass")

    done = command(tmp_path, "run", "experiment")

    assert done.returncode == 2
    assert f"rename {tmp_path / 'queue.py'}, whose name is taken)" in done.stderr
