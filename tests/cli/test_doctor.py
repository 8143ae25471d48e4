"""
``fluxloop doctor``: settings and their sources, problems and their remedies, as text and as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import offline
import pytest
from cli.commands import completed, runner
from reading_aids import died, head, observation, running, trace_line, written

import fluxloop
from fluxloop.settings.schema import TABLE
from fluxloop.storage import HTTPStorage, Record


@pytest.fixture
def fluxloop_(monkeypatch, capsys):
    return runner(monkeypatch, capsys)


@pytest.fixture
def diagnosis(fluxloop_):
    """A function that returns the decoded output of ``fluxloop doctor --json``."""
    return lambda: json.loads(fluxloop_("doctor", "--json").out)


def test_json_is_one_object_and_nothing_else(monkeypatch):
    """
    In a real process, and with problems, stdout is one JSON object.
    """
    done = completed("doctor", "--json", FLUXLOOP_SAMPLE_RATE="7")
    found = json.loads(done.out)

    assert (done.code, found["ok"]) == (1, False)
    assert [one["problem"] for one in found["problems"]] == [
        "sample_rate must lie between 0 and 1, got 7 (from FLUXLOOP_SAMPLE_RATE)"
    ]
    assert done.err == ""


def test_an_empty_folder_has_no_problems(fluxloop_, tmp_path):
    """
    Without problems the exit code is 0; the diagnosis has created no folder.
    """
    done = fluxloop_("doctor")

    assert (done.code, done.err) == (0, "")
    assert done.out.endswith("✓ no problems\n")
    assert list(tmp_path.iterdir()) == []


def test_every_setting_is_reported_with_its_source(diagnosis, monkeypatch, tmp_path):
    """
    The source of each setting is the default, a variable or pyproject.toml.
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
        "meaning": "whether anything is recorded",
    }


def test_a_problem_comes_with_its_remedy(fluxloop_, monkeypatch, tmp_path):
    """
    The folder is a file: the output names the problem and how to choose another folder.
    """
    (tmp_path / "taken").touch()
    monkeypatch.setenv("FLUXLOOP_BASE_PATH", "taken")
    done = fluxloop_("doctor")

    assert done.code == 1
    assert f"cannot write to {tmp_path / 'taken'}" in done.out
    assert 'fluxloop.configure(base_path="...") or FLUXLOOP_BASE_PATH' in done.out


def test_a_folder_that_is_not_used_is_not_a_problem(diagnosis, monkeypatch, tmp_path):
    """
    A configuration that records into memory needs no writable folder.
    """
    (tmp_path / "traces").touch()
    monkeypatch.setenv("FLUXLOOP_STORAGE", "memory")
    found = diagnosis()

    assert (found["ok"], found["files"]["is_writable"]) == (True, False)


def test_the_contents_of_the_files_are_counted_and_noted(diagnosis, tmp_path):
    """
    Records, damaged lines, running and crashed observations are counted, and are not problems.
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
        {"path": str(folder / "observations_20260117.jsonl"), "line": 3, "reason": "torn, or not JSON"}
    ]
    assert files["crashed_traces"] == ["t2"]
    assert found["ok"]
    assert any("fluxloop view --trace t2" in note for note in found["notes"])


def test_calls_that_threads_have_lost_are_noted(fluxloop_, tmp_path):
    """
    Also after the program that lost them has ended; a note is not a problem.
    """
    program = (
        "import threading, fluxloop\n"
        "@fluxloop.tool\ndef search(): ...\n"
        "@fluxloop.agent\ndef agent():\n"
        "    thread = threading.Thread(target=search)\n    thread.start()\n    thread.join()\n"
        "agent()\n"
    )
    environment = offline.environment(PYTHONPATH=str(Path(fluxloop.__file__).parent.parent))
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, check=True, timeout=60)

    done = fluxloop_("doctor")

    assert done.code == 0, done.out
    assert "calls of search were not recorded, last at 2" in " ".join(done.out.split())
    assert [*json.loads(fluxloop_("doctor", "--json").out)["files"]["untraced"]] == ["search"]


def test_the_text_has_the_same_counts(fluxloop_, tmp_path):
    """
    The text has the counts, the crashed run and the damage.
    """
    folder = written(tmp_path / "traces", observation("a"))
    died(folder, head("lost", trace="t2"))
    out = fluxloop_("doctor").out

    assert "1 in 1 file, 0.0 MB" in out
    assert "1 observation open when the process died: fluxloop view --trace t2" in " ".join(out.split())


def test_a_file_that_cannot_be_read_is_a_problem(diagnosis, tmp_path, monkeypatch):
    """
    A file for which `read_traces` raises is reported with a remedy.
    """
    written(tmp_path / "traces", observation("a"))
    monkeypatch.setattr("fluxloop.reading.source._opened", _refuse)
    found = diagnosis()

    assert [one["remedy"] for one in found["problems"]] == ["make the file readable, or move it away"]


def _refuse(path: Path) -> None:
    raise PermissionError(13, "Permission denied")


def test_a_path_that_is_not_a_file_is_a_problem(diagnosis, tmp_path):
    """
    A FIFO with the name of a record file is reported, and does not block the command.
    """
    folder = written(tmp_path / "traces", observation("a"))
    os.mkfifo(folder / "traces_20260117.jsonl")
    found = diagnosis()

    assert ["not a regular file" in one["problem"] for one in found["problems"]] == [True]
    assert found["files"]["records"] == 1


def test_disabled_tracing_and_an_unloaded_env_file_are_noted(diagnosis, monkeypatch, tmp_path):
    """
    Both explain why records may be missing.
    """
    monkeypatch.setenv("FLUXLOOP_ENABLED", "false")
    (tmp_path / ".env").write_text("FLUXLOOP_DEBUG=1\n")
    notes = " ".join(diagnosis()["notes"])

    assert "tracing is off" in notes
    assert "applies to programs that call fluxloop.load_env()" in notes


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
    The ranges are those of the package's extras; a framework that is not installed is not a problem.
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
        "pip install 'openai-agents>=0.3.2,<1', or a FluxLoop that supports it: pip install --upgrade fluxloop"
    ]


def _version(package: str) -> str:
    if package not in VERSIONS:
        raise metadata.PackageNotFoundError(package)
    return VERSIONS[package]


def test_a_checkout_that_is_not_installed_is_diagnosed(diagnosis, monkeypatch):
    """
    Without the package's metadata no ranges are known; everything else is reported.
    """
    monkeypatch.setattr(metadata, "requires", _not_installed)

    assert diagnosis()["frameworks"] == []


def _not_installed(package: str) -> None:
    raise metadata.PackageNotFoundError(package)


def test_the_real_ranges_name_every_framework(diagnosis):
    """
    The metadata of the installed package lists every framework that has an adapter.
    """
    assert sorted(one["name"] for one in diagnosis()["frameworks"]) == [
        *("anthropic", "google-genai", "langchain-core", "langgraph", "openai", "openai-agents", "openai-chatkit"),
    ]
    assert Path("traces").exists() is False


def test_the_key_of_the_collector_is_masked_and_what_waits_is_noted(fluxloop_, monkeypatch, tmp_path):
    """
    As text and as JSON; the files of the spool are counted.
    """
    monkeypatch.setenv("FLUXLOOP_STORAGE", "http")
    monkeypatch.setenv("FLUXLOOP_API_KEY", "sk-hush-hush")
    monkeypatch.setenv("FLUXLOOP_BASE_PATH", str(tmp_path / "t"))
    storage = HTTPStorage("http://localhost:1", spool=tmp_path / "t" / ".spool", use_collector=False)
    storage.write([Record("observation", "20260117", b"{}\n")])
    storage.close()

    text, data = fluxloop_("doctor"), fluxloop_("doctor", "--json")

    assert "1 file in the spool, to be sent to a collector: fluxloop upload" in text.out
    assert "hush" not in text.out + data.out
    assert {one["name"]: one["value"] for one in json.loads(data.out)["settings"]}["api_key"] == "***"
