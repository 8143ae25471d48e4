"""Settings in pyproject.toml apply to the whole project, and no content of that file stops a program."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from isolation import isolated_settings, pyproject

from fluxloop.settings.layers import Configuration


@pytest.fixture(autouse=True)
def _isolated(tmp_path: Path) -> Iterator[None]:
    with isolated_settings(tmp_path):
        yield


def test_pyproject_is_found_from_subfolders_and_its_paths_are_relative_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All programs of a project write to one folder, whichever directory they start in; keys may contain hyphens."""
    pyproject('[tool.fluxloop]\nbase-path = "runs"\nenabled = false\nredact_keys = ["iban"]\n')
    (tmp_path / "src" / "deep").mkdir(parents=True)
    monkeypatch.chdir("src/deep")

    settings = Configuration().settings()

    assert (settings.base_path, settings.enabled, settings.redact_keys) == (tmp_path / "runs", False, ("iban",))


def test_the_nearest_pyproject_ends_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The nearest file marks the project, with or without a FluxLoop table; files in parent folders are ignored."""
    pyproject("[tool.fluxloop]\nsample_rate = 0.5\n")
    (tmp_path / "inner").mkdir()
    pyproject("[project]\nname = 'inner'\n", tmp_path / "inner")
    monkeypatch.chdir("inner")

    assert Configuration().settings().sample_rate == 1.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[tool.fluxloop\n", "could not read .*pyproject.toml, its settings are left out: .*line 2"),
        ("[tool]\nfluxloop = 3\n", "tool.fluxloop must be a table, got 3"),
        ("[tool.fluxloop]\nsampel-rate = 0.5\n", "unknown setting 'sampel-rate' .*did you mean 'sample_rate'?"),
        ("[tool.fluxloop]\nredact_hook = 'x'\n", r"redact_hook can only be set in code \(from \[tool.fluxloop\] in"),
        ("[tool.fluxloop]\nbase_path = 7\n", r"base_path must be a path, got 7 \(from \[tool.fluxloop\] in"),
        ("[tool.fluxloop]\nstorage = {}\n", "storage must be 'file', 'memory' or 'http', .*an object of type dict"),
        ("[tool.fluxloop]\nsample_rate = nan\n", "sample_rate must lie between 0 and 1, got nan"),
        ("[tool.fluxloop]\ndebug = 1979-05-27\n", "debug must be true or false .*an object of type date"),
    ],
)
def test_an_invalid_pyproject_logs_a_warning(text: str, message: str, caplog: pytest.LogCaptureFixture) -> None:
    """The program continues with the defaults, and the log names the file, the key and the valid values."""
    pyproject("# fluxloop\n" + text)

    assert Configuration().settings() == Configuration(isolated=True).settings()
    assert len(caplog.messages) == 1
    assert re.search(message, caplog.messages[0])


@pytest.mark.parametrize("text", ["tool = 'fluxloop'\n", "[project]\nname = 'fluxloop'\n", "torn = [\n"])
def test_a_pyproject_without_a_fluxloop_table_is_ignored(text: str) -> None:
    """No setting changes and nothing is logged, even if the file is not valid TOML."""
    pyproject(text)
    layers = Configuration()

    assert layers.settings() == Configuration(isolated=True).settings()
    assert layers.problems() == []


def test_an_undecodable_pyproject_is_reported_as_a_problem(tmp_path: Path) -> None:
    """A file that is not UTF-8 is listed among the problems."""
    (tmp_path / "pyproject.toml").write_bytes(b"[tool.fluxloop]\nproject_name = '\xff'\n")
    layers = Configuration()

    assert layers.settings().project_name is None
    assert "pyproject.toml" in layers.problems()[0]
