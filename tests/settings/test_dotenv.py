"""`load_env` brings a file's variables in, and never takes away what the shell said."""

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
from surroundings import alone

from fluxloop.errors import ConfigError
from fluxloop.settings import dotenv
from fluxloop.settings.dotenv import load_env
from fluxloop.settings.layers import Configuration


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path) -> Iterator[None]:
    with alone(tmp_path):
        yield


def write(text: str, path: str = ".env") -> Path:
    file = Path(path).absolute()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def test_a_file_in_the_working_folder_takes_effect_at_once() -> None:
    """True is returned, and settings already in force are resolved again."""
    layers = Configuration()
    layers.settings()
    write("# ours\nexport FLUXLOOP_DEBUG=yes\nFLUXLOOP_SERVICE_NAME='a b'  # quoted\nOTHER=1\n")

    found = load_env()

    assert found is True
    assert (layers.settings().debug, layers.settings().service_name, os.environ["OTHER"]) == (True, "a b", "1")


def test_a_file_a_folder_or_nothing(tmp_path: Path) -> None:
    """A path is the file itself or the folder that holds `.env`; a missing one is False."""
    write("A_FILE=1\n", "settings.env")
    write("A_FOLDER=1\n", "folder/.env")
    (tmp_path / "empty").mkdir()

    found = [load_env(path) for path in ("settings.env", Path("folder"), "no", "empty", tmp_path / "no" / "way")]

    assert found == [True, True, False, False, False]
    assert (os.environ["A_FILE"], os.environ["A_FOLDER"]) == ("1", "1")


def test_the_search_goes_upward_and_past_virtual_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    """The nearest file called `.env` is taken; a folder of that name is passed by."""
    write("FROM_ABOVE=1\n")
    Path("src/.env/bin").mkdir(parents=True)
    Path("src/deep").mkdir()
    monkeypatch.chdir("src/deep")

    assert load_env() is True
    assert os.environ["FROM_ABOVE"] == "1"


def test_earlier_calls_are_kept() -> None:
    """Upstream rebuilt everything from the environment and lost what `configure` had set."""
    layers = Configuration()
    layers.configure(sample_rate=0.5)
    write("FLUXLOOP_SAMPLE_RATE=0.1\nFLUXLOOP_DEBUG=1\n")

    load_env()

    assert (layers.settings().sample_rate, layers.settings().debug) == (0.5, True)


def test_the_shell_wins_unless_told_otherwise() -> None:
    """A stray `.env` does not beat what was set on purpose; `override=True` is such a purpose."""
    os.environ["FLUXLOOP_SESSION_ID"] = "shell"
    layers = Configuration()
    file = write("FLUXLOOP_SESSION_ID=file\n")

    load_env()
    gentle = (layers.settings().session_id, layers.source("session_id"))
    load_env(override=True)
    forced = (layers.settings().session_id, layers.source("session_id"))

    assert gentle == ("shell", "FLUXLOOP_SESSION_ID")
    assert forced == ("file", f"FLUXLOOP_SESSION_ID in {file}")


def test_loading_again_changes_nothing() -> None:
    """What the first load brought in is still the file's, and not taken for the shell's."""
    file = write("FLUXLOOP_SESSION_ID=file\n")
    load_env()
    load_env()
    layers = Configuration()

    assert layers.settings().session_id == "file"
    assert layers.source("session_id") == f"FLUXLOOP_SESSION_ID in {file}"


@pytest.mark.parametrize("override", [False, True])
def test_an_empty_value_never_erases_what_the_shell_knows(override: bool) -> None:
    """A generated `.env` with an empty `OPENAI_API_KEY=` leaves the real key alone."""
    os.environ["OPENAI_API_KEY"] = "sk-real"
    write("OPENAI_API_KEY=\nEMPTY=\n")

    load_env(override=override)

    assert (os.environ["OPENAI_API_KEY"], os.environ["EMPTY"]) == ("sk-real", "")


@pytest.mark.parametrize(("change", "value"), [("later", "later"), ("", None), (None, None)])
def test_a_later_change_of_the_environment_wins(change: str | None, value: str | None) -> None:
    """Set, emptied or deleted after loading: the file's value is no longer what the environment says."""
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


def test_a_wrong_variable_leaves_the_file_in_charge() -> None:
    """The file is the next layer below the environment, even where the shell's value stayed in place."""
    os.environ["FLUXLOOP_MAX_DEPTH"] = "deep"
    file = write("FLUXLOOP_MAX_DEPTH=9\n")
    load_env()
    layers = Configuration()

    assert layers.settings().max_depth == 9
    assert layers.source("max_depth") == f"FLUXLOOP_MAX_DEPTH in {file}"


def test_a_wrong_value_in_the_file_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """It is named with its file, and the default holds."""
    file = write("FLUXLOOP_MAX_DEPTH=abc\n")
    load_env()

    assert Configuration().settings().max_depth == 100
    assert caplog.messages == [
        f"max_depth must be a whole number from 1 to 200, got 'abc' (from FLUXLOOP_MAX_DEPTH in {file})"
    ]


def test_the_last_of_two_lines_holds_and_others_can_be_quoted() -> None:
    """As in a shell; `${NAME}` stands for what the variable holds, the shell's value first."""
    os.environ["HOST"] = "shell"
    write("TWICE=1\nTWICE=2\nHOST=file\nURL=http://${HOST}/\n")

    load_env()

    assert (os.environ["TWICE"], os.environ["URL"]) == ("2", "http://shell/")


def test_lines_that_are_none_are_skipped_by_number(caplog: pytest.LogCaptureFixture) -> None:
    """The warning names file and line and, since lines hold secrets, not what is in it; doctor hears of it too."""
    file = write("GOOD=1\n\n\nsk-secret thing\nNO_VALUE\nALSO_GOOD=2\n'A=B'=sk-secret\n")

    found = load_env()

    said = Configuration().problems()
    assert said[:2] == [f"{file}, line {n}: skipped, since it is not of the form NAME=value" for n in (4, 5)]
    assert said[2].startswith(f"{file}: skipped 'A=B', which cannot be set (")
    assert caplog.record_tuples == [("fluxloop", logging.WARNING, line) for line in said]
    assert (found, os.environ["GOOD"], os.environ["ALSO_GOOD"]) == (True, "1", "2")


def test_a_mended_file_has_no_complaints() -> None:
    """Loading a file again replaces what was said about it."""
    write("broken line\n")
    load_env()
    write("FINE=1\n")
    load_env()

    assert Configuration().problems() == []


@pytest.mark.parametrize("content", [b"KEY=\xff\n", "KEY=1\n".encode("utf-16")])
def test_a_file_that_is_no_text_is_an_error(tmp_path: Path, content: bytes) -> None:
    """An explicit call fails at the edge, with the path, the reason and the remedy; nothing was set."""
    (tmp_path / ".env").write_bytes(content)

    with pytest.raises(ConfigError, match=r"could not read .*\.env: it must be UTF-8 text, got .*; save it as UTF-8"):
        load_env()

    assert "KEY" not in os.environ


def test_a_file_that_cannot_be_opened_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The path and the system's reason are named."""
    file = write("KEY=1\n")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(dotenv, "open", refuse, raising=False)

    with pytest.raises(ConfigError, match=f"could not read {file}: Permission denied"):
        load_env()


def test_a_file_from_windows_is_understood() -> None:
    """A byte order mark and CRLF line ends are no part of names and values."""
    Path(".env").write_bytes(b"\xef\xbb\xbfFLUXLOOP_DEBUG=on\r\nbroken line\r\nFLUXLOOP_SERVICE_NAME=x\r\n")

    load_env()

    assert (Configuration().settings().debug, Configuration().settings().service_name) == (True, "x")
    assert "line 2" in Configuration().problems()[0]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_named_pipe_is_read_like_a_file() -> None:
    """Password managers hand out `.env` that way, so that no secret touches the disk."""
    os.mkfifo(".env")
    writer = threading.Thread(target=lambda: Path(".env").write_text("PIPED=1\n"))
    writer.start()

    load_env()
    writer.join()

    assert os.environ["PIPED"] == "1"


@examples(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])), st.booleans())
def test_no_text_stops_a_program(text: str, override: bool) -> None:
    """Whatever the file holds, the call returns, and no variable that was set and not in the file changed."""
    with patch.dict(os.environ):
        Path(".env").write_text(text, encoding="utf-8")
        before = dict(os.environ)

        assert load_env(override=override) is True
        assert override or before.items() <= os.environ.items()
        assert Configuration().settings() is not None
