"""
Golden outlines without pytest's fixtures: in files, and as values of other snapshot libraries.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import offline
import pytest

import fluxloop
from fluxloop.testing import OutlineFile, capture

EXPECTED = "AGENT agent -> '<id>'\n"


@fluxloop.agent
def agent(text: str) -> str:
    return text


@pytest.fixture
def trace():
    with capture() as captured:
        agent(str(uuid4()))
    return captured.trace


def test_a_file_is_written_on_request_and_compared(tmp_path: Path, trace, monkeypatch) -> None:
    """Ids do not matter; the difference is the ``repr``, which test runners show."""
    file = OutlineFile(tmp_path / "golden/one.txt")
    assert trace != file
    assert repr(file).splitlines() == [
        f"golden outline not found: {file.path}; FLUXLOOP_UPDATE=1 writes it",
        "AGENT agent -> '<id>'",
    ]

    monkeypatch.setenv("FLUXLOOP_UPDATE", "1")
    assert trace == OutlineFile(file.path)
    assert file.path.read_text() == EXPECTED
    monkeypatch.delenv("FLUXLOOP_UPDATE")
    assert trace == file
    file.require_equal(trace)
    assert repr(file) == f"OutlineFile({str(file.path)!r})"
    assert file != "a text"

    file.path.write_text("AGENT other -> '<id>'\n")
    with pytest.raises(AssertionError, match=r"rewrites it\n--- expected\n[^`]*\n-AGENT other[^`]*\n\+AGENT agent"):
        file.require_equal(trace)


def test_inputs_are_compared_on_request(tmp_path: Path, trace) -> None:
    """As with the fixture of the plugin."""
    assert trace == OutlineFile(tmp_path / "a.txt", inputs=True, outputs=False, update=True)
    assert (tmp_path / "a.txt").read_text() == "AGENT agent({'text': '<id>'})\n"


SNAPSHOTS = """
import os
import uuid

import pytest
import fluxloop
from fluxloop.testing import normalized, outline
from inline_snapshot import snapshot as inline

@fluxloop.agent
def agent(text):
    return f"{text} {uuid.uuid4()}"

@pytest.fixture
def found(fluxloop_traces, request):
    agent("x" if "same" in request.node.name else os.environ["TEXT"])
    return outline(fluxloop_traces.trace, normalize=normalized)

def test_syrupy_same(found, snapshot):
    assert found == snapshot

def test_syrupy_changed(found, snapshot):
    assert found == snapshot

def test_inline_same(found):
    assert found == inline()

def test_inline_changed(found):
    assert found == inline()
"""


@pytest.mark.slow  # two processes with the plugins
def test_syrupy_and_inline_snapshot_compare_outlines(tmp_path: Path) -> None:
    """The text of an outline is an ordinary value for them: written by their options, compared, and shown."""
    pytest.importorskip("syrupy")
    pytest.importorskip("inline_snapshot")
    (tmp_path / "test_it.py").write_text(SNAPSHOTS)

    def run(text: str, *options: str) -> str:
        command = [sys.executable, "-m", "pytest", "-q", "-pno:langsmith_plugin", "-pno:xdist", *options]
        # With the variables of an xdist worker, inline-snapshot changes no file.
        environment = {name: value for name, value in offline.environment(TEXT=text).items() if "XDIST" not in name}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        return done.stdout

    run("x", "--snapshot-update", "--inline-snapshot=create")
    assert "AGENT agent -> 'x <id>'" in (tmp_path / "test_it.py").read_text()
    assert "AGENT agent -> 'x <id>'" in (tmp_path / "__snapshots__/test_it.ambr").read_text()

    changed = run("y", "--inline-snapshot=disable")
    assert "2 failed, 2 passed" in changed
    assert all(f"FAILED test_it.py::test_{name}_changed" in changed for name in ("syrupy", "inline"))
