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
from prepared_python import WITH_FRAMEWORKS

import fluxloop

FOLDER = Path(__file__).parent.parent / "examples"
EXAMPLES = sorted(path for path in FOLDER.glob("*.py") if path.name != "demo.py")
FRAMEWORKS = {"agents", "chatkit", "langchain", "langchain_core", "langgraph"}


def frameworks(example: Path) -> set[str]:
    """Return the agent frameworks that *example* imports."""
    nodes = list(ast.walk(ast.parse(example.read_text())))
    modules = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    modules += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    return {module.partition(".")[0] for module in modules} & FRAMEWORKS


NOT_REPLAYED = {
    "replay_a_failure.py": "it has a replay of its own, of a run that fails",
    "services_one_collector.py": "its calls run in other processes, which a replay does not reach",
}

each_example = pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)

# A Python that loads a framework takes seconds; the recording for a replay prints the same, in a copy of one that has.
STARTED = [
    pytest.param(path, marks=pytest.mark.slow if frameworks(path) and path.name not in NOT_REPLAYED else [])
    for path in EXAMPLES
]


@pytest.mark.parametrize("example", STARTED, ids=lambda example: example.name)
def test_an_example_prints_its_expected_output(example):
    """
    Without a network, the example prints the output listed at its end, and no trace of the program that ran before it.
    """
    for framework in sorted(frameworks(example)):
        if importlib.util.find_spec(framework) is None:
            pytest.skip(f"needs {framework}")
    fluxloop.configure(base_path="traces")
    fluxloop.agent(name="AnotherProgram")(len)("hello")
    fluxloop.shutdown()
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


def test_the_demo_of_the_collector_lists_the_runs_of_both_agents(tmp_path):
    """
    ``make demo-serve``, but stopped at once: two runs are listed, and the address to ask is printed.
    """
    command = [sys.executable, FOLDER / "support" / "demo_serve.py", "--stop"]
    environment = offline.environment(PYTHONPATH=str(FOLDER.parent))
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("DocsAgent") == 2
    assert "/api/v1/totals?by=name" in done.stdout
    assert [*tmp_path.iterdir()] == []


def test_the_first_example_prints_its_own_trace_in_a_folder_that_has_others(tmp_path):
    """
    As after ``make demo``, whose trace has no token counts.
    """
    example = FOLDER / "01_hello_trace.py"
    fluxloop.configure(base_path=tmp_path / "traces")
    with fluxloop.instrument("another"):
        pass
    done = subprocess.run(
        [sys.executable, example], capture_output=True, text=True, cwd=tmp_path, env=offline.environment()
    )

    assert done.stderr == ""
    assert unlike(expected_output(example), done.stdout) == ""


def expected_output(example: Path) -> str:
    """Return the expected output of *example*."""
    stated = example.read_text().rpartition("\n# prints:\n")[2]
    return "\n".join(line.removeprefix("#").removeprefix(" ") for line in stated.splitlines())


@each_example
def test_a_replay_of_an_example_has_the_outline_of_its_recording(example, tmp_path):
    """
    The example runs twice, the second time answered from the records of the first; it prints the same.
    """
    if example.name in NOT_REPLAYED:
        pytest.skip(NOT_REPLAYED[example.name])
    for framework in sorted(frameworks(example)):
        if importlib.util.find_spec(framework) is None:
            pytest.skip(f"needs {framework}")
    for mode in ("record", "replay"):
        folder = tmp_path / mode
        folder.mkdir()
        done = WITH_FRAMEWORKS.run("example_replay", example, mode, environment=offline.environment(), folder=folder)

        assert done.code == 0, done.err
        assert done.err == ""
        assert unlike(expected_output(example), done.out) == ""
