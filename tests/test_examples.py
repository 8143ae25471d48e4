"""
Every example runs offline, as a user would start it, and prints the output listed at its end.

An example starts with a docstring that describes it. The comment lines after its last ``# prints:`` are its
expected output, compared by `docs_blocks.unlike`.
"""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import offline
import pytest
from docs_blocks import unlike

FOLDER = Path(__file__).parent.parent / "examples"
EXAMPLES = sorted(path for path in FOLDER.glob("*.py") if path.name != "demo.py")
FRAMEWORKS = {"agents", "chatkit", "langchain", "langchain_core", "langgraph"}

each_example = pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)


@each_example
def test_an_example_prints_its_expected_output(example):
    """
    In an empty folder and without a network, the example prints the output listed at its end.
    """
    for framework in sorted(frameworks(example)):
        if importlib.util.find_spec(framework) is None:
            pytest.skip(f"needs {framework}")
    done = subprocess.run([sys.executable, example], capture_output=True, text=True, env=offline.environment())

    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert unlike(expected_output(example), done.stdout) == ""


@each_example
def test_an_example_is_short_and_has_a_docstring(example):
    """
    An example has a docstring, fewer than 40 lines of code, and its expected output.
    """
    program = example.read_text().rpartition("\n# prints:\n")[0]

    assert ast.get_docstring(ast.parse(program))
    assert expected_output(example).strip()
    assert program.count("\n") < 40


def test_the_examples_of_the_core_are_numbered_without_gaps():
    """
    The examples of the core are numbered from 01 without a gap; names of other examples start with the framework.
    """
    numbers = [path.name[:2] for path in EXAMPLES if path.name[0].isdigit()]

    assert numbers == [f"{n:02}" for n in range(1, len(numbers) + 1)] != []


def frameworks(example: Path) -> set[str]:
    """Return the agent frameworks that *example* imports."""
    nodes = list(ast.walk(ast.parse(example.read_text())))
    modules = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    modules += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    return {module.partition(".")[0] for module in modules} & FRAMEWORKS


def expected_output(example: Path) -> str:
    """Return the expected output of *example*."""
    stated = example.read_text().rpartition("\n# prints:\n")[2]
    return "\n".join(line.removeprefix("#").removeprefix(" ") for line in stated.splitlines())
