"""
The distribution: four typed packages, an import without side effects, and tested version ranges.

The slow tests build the distribution and install it with its dependencies only.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email import message_from_bytes
from importlib.metadata import version
from pathlib import Path

import offline
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import fluxloop

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PACKAGES = ["fluxloop", "fluxloop_custom", "fluxloop_langchain", "fluxloop_langgraph", "fluxloop_pytest"]

HEAVY = {
    *("agents", "anthropic", "asyncio", "chatkit", "httpx", "hypothesis", "langchain", "langchain_core", "langgraph"),
    *("numpy", "openai", "pandas", "pydantic", "pytest", "rich", "typer"),
}
"""Modules that `import fluxloop` must not load; all of them are installed for the tests."""

OBSERVE_IMPORT = """
import json, os, sys

events = []
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND

def audit(event, args):
    if event == "open" and not (args[2] or 0) & WRITES:
        return
    if event.startswith(("open", "os.mkdir", "os.putenv", "os.fork", "socket.", "subprocess.", "_thread.start")):
        events.append(f"{event} {args!r}")

sys.addaudithook(audit)
import fluxloop
print(json.dumps({"events": events, "modules": sorted(sys.modules), "files": os.listdir()}))
"""
"""A program that imports FluxLoop and prints the side effects of the import."""

RECORD = """
import fluxloop

@fluxloop.tool
def search(query: str) -> list[str]:
    return [query]

@fluxloop.agent
def answer(prompt: str) -> str:
    return search(prompt)[0].upper()

assert answer("hi") == "HI"
[trace] = fluxloop.read_traces("traces")
print([(observation.type.name, observation.name) for observation in trace.observations])
"""
"""A program that records a trace and reads it back."""


def test_importing_has_no_side_effects(tmp_path):
    """
    `import fluxloop` writes no file, starts no thread, opens no socket, sets no variable and loads no heavy module.
    """
    effects = json.loads(python("-B", "-c", OBSERVE_IMPORT))

    assert effects["events"] == []
    assert effects["files"] == []
    assert HEAVY & {*effects["modules"]} == set()


def test_the_version_is_the_installed_version():
    """
    `fluxloop.__version__`, the version that pip shows and the version in pyproject.toml are equal.
    """
    assert fluxloop.__version__ == version("fluxloop") == PROJECT["version"]


def test_the_changelog_has_a_section_for_this_version():
    """
    The version in pyproject.toml has a section in the changelog.
    """
    assert f"\n## {PROJECT['version']} " in (ROOT / "CHANGELOG.md").read_text()


def test_the_lower_bounds_are_the_oldest_tested_versions():
    """
    Each lower bound in pyproject.toml equals the version pinned in constraints-oldest.txt, so each is tested.
    """
    pins = dict(re.findall(r"^([\w-]+)==([\w.]+)", (ROOT / "constraints-oldest.txt").read_text(), re.MULTILINE))
    extras = PROJECT["optional-dependencies"]
    frameworks = [Requirement(line) for extra in extras if extra != "dev" for line in extras[extra]]
    stated = {canonicalize_name(each.name): lowest(each) for each in frameworks if each.name != "fluxloop"}

    assert {name: Version(pins[name]) for name in stated} == stated


def test_the_extra_all_includes_every_other_extra():
    """
    `fluxloop[all]` includes every other extra for users but `ray`, which is large; the development has that, too.
    """
    extras = PROJECT["optional-dependencies"]
    [everything] = [Requirement(line) for line in extras["all"]]

    assert everything.extras == {*extras} - {"all", "dev", "dev-clickhouse", "ray"}
    assert "fluxloop[all,ray]" in extras["dev"]


@pytest.mark.parametrize("path", ["constraints.txt", "constraints-oldest.txt"])
def test_constraints_pin_versions_and_nothing_else(path):
    """
    A constraints file contains no index or URL, so it works with any package index.
    """
    lines = [line for line in (ROOT / path).read_text().splitlines() if not line.startswith("#")]

    assert [line for line in lines if not re.fullmatch(r"[\w-]+==[\w.]+( ; .+)?", line)] == []


@pytest.fixture(scope="module")
def distribution(tmp_path_factory):
    """The folder with the source archive and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("distribution")
    python("-m", "hatchling", "build", "-t", "sdist", "-d", folder, cwd=ROOT)
    [archive] = folder.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    python("-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=folder / archive.name.removesuffix(".tar.gz"))
    return folder


@pytest.mark.slow
def test_the_wheel_contains_the_four_typed_packages_and_nothing_else(distribution):
    """
    The wheel contains the four packages, each with `py.typed`, and requires Python 3.11.
    """
    [path] = distribution.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
        [info] = {name.partition("/")[0] for name in names if ".dist-info" in name}
        metadata = message_from_bytes(wheel.read(f"{info}/METADATA"))
        commands = wheel.read(f"{info}/entry_points.txt").decode()

    assert {name.partition("/")[0] for name in names} == {*PACKAGES, info}
    assert {f"{package}/py.typed" for package in PACKAGES} <= {*names}
    assert f"{info}/licenses/LICENSE" in names
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert "fluxloop = fluxloop.cli:main" in commands


@pytest.mark.slow
@pytest.mark.parametrize("versions", ["newest", "oldest"])
def test_the_wheel_works_with_only_its_dependencies(distribution, tmp_path, versions):
    """
    With only its dependencies installed, in their newest or oldest versions, FluxLoop records and reads traces.
    """
    if versions == "oldest" and sys.version_info >= (3, 13):
        pytest.skip("the oldest versions have no wheels for this Python")
    asked = [Requirement(line) for line in PROJECT["dependencies"]]
    pins = [f"{each.name}=={lowest(each)}" for each in asked] if versions == "oldest" else []
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("\n".join(pins) or (ROOT / "constraints.txt").read_text())
    [wheel] = distribution.glob("*.whl")
    python("-m", "venv", tmp_path / "venv")
    there = tmp_path / "venv/bin/python"
    python("-m", "pip", "install", "--quiet", "-c", constraints, wheel, python=there, env=os.environ)

    assert python("-c", RECORD, python=there) == "[('AGENT', 'answer'), ('TOOL', 'search')]\n"
    without = subprocess.run([there.parent / "fluxloop", "view"], capture_output=True, text=True)
    assert without.returncode != 0
    assert "pip install 'fluxloop[cli]'" in without.stderr


def python(*args: object, python: object = sys.executable, cwd: Path | None = None, env: object = None) -> str:
    """Run an interpreter, without a network unless *env* is given, and return its output."""
    done = subprocess.run(
        [str(arg) for arg in (python, *args)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=env or offline.environment(),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def lowest(requirement: Requirement) -> Version:
    """Return the lower bound of *requirement*."""
    [bound] = [each.version for each in requirement.specifier if each.operator == ">="]
    return Version(bound)
