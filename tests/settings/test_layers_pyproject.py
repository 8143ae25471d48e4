"""Settings in pyproject.toml belong to the project, and nothing in that file stops a program."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from surroundings import alone, pyproject

from fluxloop.settings.layers import Configuration


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path) -> Iterator[None]:
    with alone(tmp_path):
        yield


def test_pyproject_is_found_from_below_and_its_paths_are_relative_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One project, one folder of traces, wherever in it the program is started; hyphens are fine."""
    pyproject('[tool.fluxloop]\nbase-path = "runs"\nenabled = false\nredact_keys = ["iban"]\n')
    (tmp_path / "src" / "deep").mkdir(parents=True)
    monkeypatch.chdir("src/deep")

    settings = Configuration().settings()

    assert (settings.base_path, settings.enabled, settings.redact_keys) == (tmp_path / "runs", False, ("iban",))


def test_the_nearest_pyproject_ends_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It marks the project, with or without our table: what lies above belongs to somebody else."""
    pyproject("[tool.fluxloop]\nsample_rate = 0.5\n")
    (tmp_path / "inner").mkdir()
    pyproject("[project]\nname = 'inner'\n", tmp_path / "inner")
    monkeypatch.chdir("inner")

    assert Configuration().settings().sample_rate == 1.0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tool.fluxloop\n", "could not read .*pyproject.toml, its settings are left out: .*line 2"),
        ("[tool]\nfluxloop = 3\n", "tool.fluxloop must be a table, got 3"),
        ("[tool.fluxloop]\nsampel-rate = 0.5\n", "there is no setting 'sampel-rate' .*did you mean 'sample_rate'?"),
        ("[tool.fluxloop]\nredact_hook = 'x'\n", r"redact_hook can only be set in code \(from \[tool.fluxloop\] in"),
        ("[tool.fluxloop]\nbase_path = 7\n", r"base_path must be a path, got 7 \(from \[tool.fluxloop\] in"),
        ("[tool.fluxloop]\nstorage = {}\n", "storage must be 'file' or 'memory', .*an object of type dict"),
        ("[tool.fluxloop]\nsample_rate = nan\n", "sample_rate must lie between 0 and 1, got nan"),
        ("[tool.fluxloop]\ndebug = 1979-05-27\n", "debug must be true or false .*an object of type date"),
    ],
)
def test_a_wrong_pyproject_is_a_warning(text: str, said: str, caplog: pytest.LogCaptureFixture) -> None:
    """The program runs on with the defaults, and the log names file, key and what is accepted."""
    pyproject("# fluxloop\n" + text)

    assert Configuration().settings() == Configuration(isolated=True).settings()
    assert len(caplog.messages) == 1
    assert re.search(said, caplog.messages[0])


@pytest.mark.parametrize("text", ["tool = 'fluxloop'\n", "[project]\nname = 'fluxloop'\n", "torn = [\n"])
def test_a_pyproject_without_our_table_is_none_of_our_business(text: str) -> None:
    """Nothing is set and nothing is said, not even about a file that other tools will stumble over."""
    pyproject(text)
    layers = Configuration()

    assert layers.settings() == Configuration(isolated=True).settings()
    assert layers.problems() == []


def test_an_undecodable_pyproject_is_a_warning(tmp_path: Path) -> None:
    """A file that is no text is named among the problems."""
    (tmp_path / "pyproject.toml").write_bytes(b"[tool.fluxloop]\nproject_name = '\xff'\n")
    layers = Configuration()

    assert layers.settings().project_name is None
    assert "pyproject.toml" in layers.problems()[0]
