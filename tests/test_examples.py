"""
Every example runs offline, as a user would start it, and prints the outline it ends with.

An example opens with a docstring that says what it shows. The comment lines after its last ``# prints:``
are what it prints, compared as in `docs_blocks.unlike`.
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
def test_an_example_prints_the_outline_it_ends_with(example):
    """
    Started in an empty folder, without a network, it prints what its last lines say.
    """
    for framework in sorted(frameworks(example)):
        if importlib.util.find_spec(framework) is None:
            pytest.skip(f"needs {framework}")
    done = subprocess.run([sys.executable, example], capture_output=True, text=True, env=offline.environment())

    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert unlike(outline(example), done.stdout) == ""


@each_example
def test_an_example_is_short_and_says_what_it_shows(example):
    """
    It opens with a docstring, ends with an outline, and has under 40 lines between.
    """
    program = example.read_text().rpartition("\n# prints:\n")[0]

    assert ast.get_docstring(ast.parse(program))
    assert outline(example).strip()
    assert program.count("\n") < 40


def test_the_examples_are_numbered_in_the_order_to_read_them():
    """
    The core's examples count from 01 without a gap; a framework's begin with its name.
    """
    numbers = [path.name[:2] for path in EXAMPLES if path.name[0].isdigit()]

    assert numbers == [f"{n:02}" for n in range(1, len(numbers) + 1)] != []


def frameworks(example: Path) -> set[str]:
    """The agent frameworks *example* imports."""
    nodes = list(ast.walk(ast.parse(example.read_text())))
    modules = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    modules += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    return {module.partition(".")[0] for module in modules} & FRAMEWORKS


def outline(example: Path) -> str:
    """What *example* says it prints."""
    stated = example.read_text().rpartition("\n# prints:\n")[2]
    return "\n".join(line.removeprefix("#").removeprefix(" ") for line in stated.splitlines())
