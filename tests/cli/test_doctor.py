"""
``fluxloop doctor``: what is set and from where, what is wrong and what to do, as text and as JSON.
"""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path

import pytest
from cli.commands import completed, runner
from reading_aids import died, head, observation, running, trace_line, written

from fluxloop.settings.schema import TABLE


@pytest.fixture
def fluxloop_(monkeypatch, capsys):
    return runner(monkeypatch, capsys)


@pytest.fixture
def diagnosis(fluxloop_):
    """What returns the decoded output of ``fluxloop doctor --json``."""
    return lambda: json.loads(fluxloop_("doctor", "--json").out)


def test_json_is_one_object_and_nothing_else(monkeypatch):
    """
    Also with problems, and in a real process, stdout is pure JSON.
    """
    done = completed("doctor", "--json", FLUXLOOP_SAMPLE_RATE="7")
    found = json.loads(done.out)

    assert (done.code, found["ok"]) == (1, False)
    assert [one["problem"] for one in found["problems"]] == [
        "sample_rate must lie between 0 and 1, got 7 (from FLUXLOOP_SAMPLE_RATE)"
    ]
    assert done.err == ""


def test_all_is_well_in_an_empty_folder(fluxloop_, tmp_path):
    """
    No problems means exit code 0; looking has made no folder.
    """
    done = fluxloop_("doctor")

    assert (done.code, done.err) == (0, "")
    assert done.out.endswith("✓ no problems\n")
    assert list(tmp_path.iterdir()) == []


def test_every_setting_is_told_with_its_source(diagnosis, monkeypatch, tmp_path):
    """
    Default, environment and pyproject.toml are told apart, for each setting there is.
    """
    monkeypatch.setenv("FLUXLOOP_DEBUG", "yes")
    (tmp_path / "pyproject.toml").write_text("[tool.fluxloop]\nsample_rate = 0.5\n")
    settings = {one["name"]: one for one in diagnosis()["settings"]}

    assert [*settings] == [*TABLE]
    assert (settings["debug"]["value"], settings["debug"]["source"]) == ("true", "FLUXLOOP_DEBUG")
    assert settings["sample_rate"]["source"].endswith("pyproject.toml")
    assert settings["enabled"] == {
        "name": "enabled",
        "value": "true",
        "source": "default",
        "env": "FLUXLOOP_ENABLED",
        "meaning": "record at all",
    }


def test_a_problem_comes_with_its_remedy(fluxloop_, monkeypatch, tmp_path):
    """
    A folder that is a file: what is wrong, and how to choose another.
    """
    (tmp_path / "taken").touch()
    monkeypatch.setenv("FLUXLOOP_BASE_PATH", "taken")
    done = fluxloop_("doctor")

    assert done.code == 1
    assert f"cannot write to {tmp_path / 'taken'}" in done.out
    assert 'fluxloop.configure(base_path="…") or FLUXLOOP_BASE_PATH' in done.out


def test_a_folder_that_is_not_used_is_no_problem(diagnosis, monkeypatch, tmp_path):
    """
    Whoever records into memory need not have a folder to write to.
    """
    (tmp_path / "traces").touch()
    monkeypatch.setenv("FLUXLOOP_STORAGE", "memory")
    found = diagnosis()

    assert (found["ok"], found["files"]["is_writable"]) == (True, False)


def test_what_is_in_the_files_is_counted_and_noted(diagnosis, tmp_path):
    """
    Records, damaged lines, what runs and what crashed; none of it is a problem of the set-up.
    """
    folder = written(tmp_path / "traces", observation("a"), observation("b", seq=1), trace_line())
    with (folder / "observations_20260117.jsonl").open("ab") as file:
        file.write(b'{"id":"torn\n')
    died(folder, head("lost", trace="t2"), head("lost2", "lost", trace="t2"))
    with running(folder, head("now", trace="t3")):
        found = diagnosis()
    files = found["files"]

    assert (files["records"], files["files"], files["damaged"], files["running"], files["crashed"]) == (3, 2, 1, 1, 2)
    assert files["damage"] == [
        {"path": str(folder / "observations_20260117.jsonl"), "line": 3, "reason": "torn, or no JSON"}
    ]
    assert files["crashed_traces"] == ["t2"]
    assert found["ok"]
    assert any("fluxloop view --trace t2" in note for note in found["notes"])


def test_the_text_tells_the_same(fluxloop_, tmp_path):
    """
    A person reads the counts, the crashed run and the damage too.
    """
    folder = written(tmp_path / "traces", observation("a"))
    died(folder, head("lost", trace="t2"))
    out = fluxloop_("doctor").out

    assert "1 in 1 file, 0.0 MB" in out
    assert "1 observation still open when the process died: fluxloop view --trace t2" in " ".join(out.split())


def test_a_file_that_cannot_be_read_is_a_problem(diagnosis, tmp_path):
    """
    What `read_traces` would stumble over, the doctor names.
    """
    folder = tmp_path / "traces"
    (folder / "observations_20260117.jsonl").mkdir(parents=True)
    found = diagnosis()

    assert [one["remedy"] for one in found["problems"]] == ["make the file readable, or move it away"]


def test_tracing_that_is_off_and_a_file_nobody_loads_are_noted(diagnosis, monkeypatch, tmp_path):
    """
    Two reasons why nothing is recorded as expected.
    """
    monkeypatch.setenv("FLUXLOOP_ENABLED", "false")
    (tmp_path / ".env").write_text("FLUXLOOP_DEBUG=1\n")
    notes = " ".join(diagnosis()["notes"])

    assert "tracing is off" in notes
    assert "counts in programs that call fluxloop.load_env()" in notes


REQUIREMENTS = [
    "pydantic<3,>=2.7",
    "rich>=13.7; extra == 'cli'",
    "langgraph<2,>=1.0; extra == 'langgraph'",
    "langgraph<2,>=1.0; extra == 'all'",
    "fluxloop[langchain]; extra == 'langgraph'",
    "openai-agents<1,>=0.3.2; extra == 'openai-agents'",
    "openai-chatkit<2,>=1.0; extra == 'chatkit'",
]
VERSIONS = {"langgraph": "1.2.22", "openai-agents": "2.0.0", "fluxloop": "0.2.0"}


def test_a_framework_outside_the_supported_range_is_a_problem(diagnosis, monkeypatch):
    """
    The ranges are those of the package's own extras; what is not installed is no problem.
    """
    monkeypatch.setattr(metadata, "requires", lambda package: REQUIREMENTS)
    monkeypatch.setattr(metadata, "version", _version)
    found = diagnosis()

    assert found["frameworks"] == [
        {"name": "langgraph", "supported": ">=1.0,<2", "version": "1.2.22", "is_supported": True},
        {"name": "openai-agents", "supported": ">=0.3.2,<1", "version": "2.0.0", "is_supported": False},
        {"name": "openai-chatkit", "supported": ">=1.0,<2", "version": None, "is_supported": True},
    ]
    assert [one["remedy"] for one in found["problems"]] == [
        "pip install 'openai-agents>=0.3.2,<1', or a FluxLoop that knows it: pip install --upgrade fluxloop"
    ]


def _version(package: str) -> str:
    if package not in VERSIONS:
        raise metadata.PackageNotFoundError(package)
    return VERSIONS[package]


def test_a_checkout_that_was_never_installed_is_examined_all_the_same(diagnosis, monkeypatch):
    """
    Without the package's metadata there are no ranges to compare with, and everything else is told.
    """
    monkeypatch.setattr(metadata, "requires", _not_installed)

    assert diagnosis()["frameworks"] == []


def _not_installed(package: str) -> None:
    raise metadata.PackageNotFoundError(package)


def test_the_real_ranges_name_every_framework(diagnosis):
    """
    The frameworks with an adapter are found in the metadata of the installed package.
    """
    assert [one["name"] for one in diagnosis()["frameworks"]] == [
        *("langchain-core", "langgraph", "openai-agents", "openai-chatkit"),
    ]
    assert Path("traces").exists() is False
