"""`load_env` sets the variables of a file, and never removes a variable that the shell has set."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from isolation import isolated_settings

from fluxloop.errors import ConfigError
from fluxloop.settings import dotenv
from fluxloop.settings.dotenv import in_ci, load_env
from fluxloop.settings.layers import Configuration


@pytest.fixture(autouse=True)
def _isolated(tmp_path: Path) -> Iterator[None]:
    with isolated_settings(tmp_path):
        yield


def write(text: str, path: str = ".env") -> Path:
    file = Path(path).absolute()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def test_a_file_in_the_working_directory_takes_effect_immediately() -> None:
    """`load_env` returns True, and settings that were resolved before are resolved again."""
    layers = Configuration()
    layers.settings()
    write("# FluxLoop\nexport FLUXLOOP_DEBUG=yes\nFLUXLOOP_SERVICE_NAME='a b'  # quoted\nOTHER=1\n")

    found = load_env()

    assert found is True
    assert (layers.settings().debug, layers.settings().service_name, os.environ["OTHER"]) == (True, "a b", "1")


def test_the_path_may_name_a_file_or_its_folder(tmp_path: Path) -> None:
    """The path names the file itself or the folder that contains `.env`; a missing file gives False."""
    write("A_FILE=1\n", "settings.env")
    write("A_FOLDER=1\n", "folder/.env")
    (tmp_path / "empty").mkdir()

    found = [load_env(path) for path in ("settings.env", Path("folder"), "no", "empty", tmp_path / "no" / "way")]

    assert found == [True, True, False, False, False]
    assert (os.environ["A_FILE"], os.environ["A_FOLDER"]) == ("1", "1")


def test_parent_folders_are_searched_and_virtual_environments_named_env_are_skipped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The nearest file named `.env` in a parent folder is loaded; a folder of that name is ignored."""
    write("FROM_ABOVE=1\n")
    Path("src/.env/bin").mkdir(parents=True)
    Path("src/deep").mkdir()
    monkeypatch.chdir("src/deep")

    assert load_env() is True
    assert os.environ["FROM_ABOVE"] == "1"


def test_loading_keeps_the_values_of_earlier_configure_calls() -> None:
    """Values from an earlier `configure` stay; FluxLoop 0.1 discarded them."""
    layers = Configuration()
    layers.configure(sample_rate=0.5)
    write("FLUXLOOP_SAMPLE_RATE=0.1\nFLUXLOOP_DEBUG=1\n")

    load_env()

    assert (layers.settings().sample_rate, layers.settings().debug) == (0.5, True)


def test_variables_of_the_shell_win_unless_override_is_given() -> None:
    """A variable of the shell keeps its value, unless `override=True` is given."""
    os.environ["FLUXLOOP_SESSION_ID"] = "shell"
    layers = Configuration()
    file = write("FLUXLOOP_SESSION_ID=file\n")

    load_env()
    kept = (layers.settings().session_id, layers.source("session_id"))
    load_env(override=True)
    overridden = (layers.settings().session_id, layers.source("session_id"))

    assert kept == ("shell", "FLUXLOOP_SESSION_ID")
    assert overridden == ("file", f"FLUXLOOP_SESSION_ID in {file}")


def test_loading_a_file_again_keeps_its_values_and_sources() -> None:
    """After a second load, the source of a variable is still the file, not the shell."""
    file = write("FLUXLOOP_SESSION_ID=file\n")
    load_env()
    load_env()
    layers = Configuration()

    assert layers.settings().session_id == "file"
    assert layers.source("session_id") == f"FLUXLOOP_SESSION_ID in {file}"


@pytest.mark.parametrize("override", [False, True])
def test_an_empty_value_never_replaces_a_variable_of_the_shell(override: bool) -> None:
    """A generated `.env` with an empty `OPENAI_API_KEY=` does not replace the real key."""
    os.environ["OPENAI_API_KEY"] = "sk-real"
    write("OPENAI_API_KEY=\nEMPTY=\n")

    load_env(override=override)

    assert (os.environ["OPENAI_API_KEY"], os.environ["EMPTY"]) == ("sk-real", "")


@pytest.mark.parametrize(("change", "value"), [("later", "later"), ("", None), (None, None)])
def test_a_later_change_of_the_environment_wins(change: str | None, value: str | None) -> None:
    """A variable that is set, emptied or deleted after loading no longer has the file's value."""
    write("FLUXLOOP_SERVICE_NAME=file\n")
    load_env()
    layers = Configuration()
    layers.settings()

    if change is None:
        del os.environ["FLUXLOOP_SERVICE_NAME"]
    else:
        os.environ["FLUXLOOP_SERVICE_NAME"] = change
    layers.configure()

    assert layers.settings().service_name == value


def test_an_invalid_variable_makes_the_value_of_the_file_win() -> None:
    """If the shell's value is invalid, the file's value is used, although the variable keeps the shell's value."""
    os.environ["FLUXLOOP_MAX_DEPTH"] = "deep"
    file = write("FLUXLOOP_MAX_DEPTH=9\n")
    load_env()
    layers = Configuration()

    assert layers.settings().max_depth == 9
    assert layers.source("max_depth") == f"FLUXLOOP_MAX_DEPTH in {file}"


def test_an_invalid_value_in_the_file_logs_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """The warning names the file, and the default is used."""
    file = write("FLUXLOOP_MAX_DEPTH=abc\n")
    load_env()

    assert Configuration().settings().max_depth == 100
    assert caplog.messages == [
        f"max_depth must be a whole number from 1 to 200, got 'abc' (from FLUXLOOP_MAX_DEPTH in {file})"
    ]


def test_the_last_of_two_lines_wins_and_values_may_reference_variables() -> None:
    """As in a shell, the last line wins, and `${NAME}` is replaced by the variable's value, the shell's value first."""
    os.environ["HOST"] = "shell"
    write("TWICE=1\nTWICE=2\nHOST=file\nURL=http://${HOST}/\n")

    load_env()

    assert (os.environ["TWICE"], os.environ["URL"]) == ("2", "http://shell/")


def test_invalid_lines_are_skipped_and_reported_by_number(caplog: pytest.LogCaptureFixture) -> None:
    """The warning and `fluxloop doctor` name the file and the line, but not the text, which can contain a secret."""
    file = write("GOOD=1\n\n\nsk-secret thing\nNO_VALUE\nALSO_GOOD=2\n'A=B'=sk-secret\n")

    found = load_env()

    problems = Configuration().problems()
    assert problems[:2] == [f"{file}, line {n}: skipped, since it is not of the form NAME=value" for n in (4, 5)]
    assert problems[2].startswith(f"{file}: skipped 'A=B', which cannot be set (")
    assert caplog.record_tuples == [("fluxloop", logging.WARNING, line) for line in problems]
    assert (found, os.environ["GOOD"], os.environ["ALSO_GOOD"]) == (True, "1", "2")


def test_a_corrected_file_has_no_problems() -> None:
    """Loading a file again replaces the problems that were reported for it."""
    write("broken line\n")
    load_env()
    write("FINE=1\n")
    load_env()

    assert Configuration().problems() == []


@pytest.mark.parametrize("content", [b"KEY=\xff\n", "KEY=1\n".encode("utf-16")])
def test_a_file_that_is_not_utf8_raises_an_error(tmp_path: Path, content: bytes) -> None:
    """`load_env` raises an error with the path, the reason and the remedy, and sets no variable."""
    (tmp_path / ".env").write_bytes(content)

    with pytest.raises(ConfigError, match=r"could not read .*\.env: it must be UTF-8 text, got .*; save it as UTF-8"):
        load_env()

    assert "KEY" not in os.environ


def test_a_file_that_cannot_be_opened_raises_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the path and the reason given by the operating system."""
    file = write("KEY=1\n")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(dotenv, "open", refuse, raising=False)

    with pytest.raises(ConfigError, match=f"could not read {file}: Permission denied"):
        load_env()


def test_a_file_with_windows_line_endings_is_read() -> None:
    """A byte order mark and CRLF line endings do not become part of names or values."""
    Path(".env").write_bytes(b"\xef\xbb\xbfFLUXLOOP_DEBUG=on\r\nbroken line\r\nFLUXLOOP_SERVICE_NAME=x\r\n")

    load_env()

    assert (Configuration().settings().debug, Configuration().settings().service_name) == (True, "x")
    assert "line 2" in Configuration().problems()[0]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_named_pipe_is_read_like_a_file() -> None:
    """Password managers provide `.env` as a named pipe, so that no secret is written to disk."""
    os.mkfifo(".env")
    writer = threading.Thread(target=lambda: Path(".env").write_text("PIPED=1\n"))
    writer.start()

    load_env()
    writer.join()

    assert os.environ["PIPED"] == "1"


@examples(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])), st.booleans())
def test_no_content_of_the_file_stops_a_program(text: str, override: bool) -> None:
    """For any text, `load_env` returns, and without `override` no variable that was set changes."""
    with patch.dict(os.environ):
        Path(".env").write_text(text, encoding="utf-8")
        before = dict(os.environ)

        assert load_env(override=override) is True
        assert override or before.items() <= os.environ.items()
        assert Configuration().settings() is not None


@pytest.mark.parametrize(
    ("value", "expected"),
    [("true", True), ("1", True), ("woodpecker", True), ("", False), ("0", False), ("False", False)],
)
def test_the_variable_ci_counts_unless_it_is_empty_or_false(monkeypatch, value, expected):
    """One rule for the commands and the plugin; services set it to ``true``, ``1`` or their name."""
    monkeypatch.setenv("CI", value)
    assert in_ci() is expected

    monkeypatch.delenv("CI")
    assert not in_ci()
