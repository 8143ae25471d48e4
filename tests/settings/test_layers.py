"""Settings come from five layers, are checked in each, and change all at once or not at all."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from surroundings import Keep, alone, pyproject

from fluxloop.errors import ConfigError
from fluxloop.settings import dotenv
from fluxloop.settings.layers import Configuration, describe
from fluxloop.settings.schema import TABLE, Given, Settings

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path) -> Iterator[None]:
    with alone(tmp_path):
        yield


# The layers


def test_without_any_setting_the_defaults_hold(tmp_path: Path) -> None:
    """Files under ./traces, everything recorded, nothing that needs a network."""
    settings = Configuration().settings()

    assert (settings.storage, settings.base_path) == ("file", tmp_path / "traces")
    assert (settings.enabled, settings.sample_rate, settings.redact, settings.debug) == (True, 1.0, True, False)


def test_configure_returns_the_settings_in_force(tmp_path: Path) -> None:
    """What was set is returned, resolved, and is what every reader gets from then on."""
    layers = Configuration()

    settings = layers.configure(storage="file", base_path="./runs")

    assert settings.base_path == tmp_path / "runs"
    assert layers.settings() is settings


def test_each_configure_takes_effect_at_once_and_keeps_what_was_set_before() -> None:
    """The first settings used do not freeze the later ones."""
    layers = Configuration()
    layers.settings()

    layers.configure(debug=True, sample_rate=0.5)
    settings = layers.configure(sample_rate=0.25)

    assert (settings.debug, settings.sample_rate) == (True, 0.25)


def test_each_layer_beats_the_ones_below_it(tmp_path: Path) -> None:
    """Call, environment, .env, pyproject.toml, default: each one added takes over from those before."""
    file, table = tmp_path / ".env", tmp_path / "pyproject.toml"
    seen = []

    def look(layers: Configuration) -> None:
        seen.append((layers.settings().service_name, layers.source("service_name")))

    look(Configuration())
    pyproject("[tool.fluxloop]\nservice_name = 'project'\n")
    look(Configuration())
    file.write_text("FLUXLOOP_SERVICE_NAME=file\n")
    dotenv.load_env()
    look(Configuration())
    os.environ["FLUXLOOP_SERVICE_NAME"] = "environment"
    look(Configuration())
    called = Configuration()
    called.configure(service_name="call")
    look(called)

    assert seen == [
        (None, "default"),
        ("project", f"[tool.fluxloop] in {table}"),
        ("file", f"FLUXLOOP_SERVICE_NAME in {file}"),
        ("environment", "FLUXLOOP_SERVICE_NAME"),
        ("call", "configure()"),
    ]


def test_the_environment_sets_everything_text_can_say(tmp_path: Path) -> None:
    """Storage, folder and switches, as people write them in a shell."""
    os.environ |= {
        "FLUXLOOP_STORAGE": " file, MEMORY ",
        "FLUXLOOP_BASE_PATH": "./tt",
        "FLUXLOOP_ENABLED": "1",
        "FLUXLOOP_REDACT_KEYS": "iban, patient ,",
        "FLUXLOOP_REDACT_PATTERNS": "\\d{3,4}\nAB+",
        "FLUXLOOP_MAX_DEPTH": "5",
    }

    settings = Configuration().settings()

    assert (settings.storage, settings.base_path) == (("file", "memory"), tmp_path / "tt")
    assert (settings.enabled, settings.max_depth) == (True, 5)
    assert (settings.redact_keys, settings.redact_patterns) == (("iban", "patient"), ("\\d{3,4}", "AB+"))


def test_an_empty_variable_says_nothing() -> None:
    """`FLUXLOOP_SAMPLE_RATE=` in a shell script or a compose file leaves the next layer in charge."""
    os.environ |= {"FLUXLOOP_SAMPLE_RATE": "", "FLUXLOOP_DEBUG": "  "}
    layers = Configuration()

    assert layers.settings() == Configuration(isolated=True).settings()
    assert layers.problems() == []


def test_two_set_ups_share_the_environment_and_nothing_else(tmp_path: Path) -> None:
    """What one set-up is told leaves the other as it was."""
    os.environ["FLUXLOOP_ENABLED"] = "off"
    one, other = Configuration(), Configuration(source="FluxLoopClient()")

    one.configure(base_path="one")
    other.configure(base_path="other", debug=True)

    assert (one.settings().base_path, one.settings().debug) == (tmp_path / "one", False)
    assert (other.settings().base_path, other.settings().enabled) == (tmp_path / "other", False)
    assert other.source("debug") == "FluxLoopClient()"


def test_isolated_settings_know_no_layer_between_call_and_default(tmp_path: Path) -> None:
    """What surrounds a test run cannot change its outcome."""
    pyproject("[tool.fluxloop]\nsample_rate = 0.5\nnonsense = 1\n")
    (tmp_path / ".env").write_text("not a line\nFLUXLOOP_DEBUG=1\n")
    dotenv.load_env()
    os.environ["FLUXLOOP_ENABLED"] = "no"
    layers = Configuration(isolated=True)

    settings = layers.configure(max_depth=3)

    assert (settings.enabled, settings.debug, settings.sample_rate, settings.max_depth) == (True, False, 1.0, 3)
    assert layers.problems() == []


def test_reset_forgets_the_calls_and_looks_afresh() -> None:
    """After it the other layers hold, as they are now."""
    layers = Configuration()
    layers.configure(sample_rate=0.5)
    pyproject("[tool.fluxloop]\nsample_rate = 0.75\n")

    layers.reset()

    assert layers.settings().sample_rate == 0.75


@pytest.mark.parametrize(
    ("variables", "values", "folder"),
    [({}, {}, "traces"), ({}, {"base_path": "runs"}, "runs"), ({"FLUXLOOP_BASE_PATH": "shell"}, {}, "shell")],
)
def test_changing_the_working_folder_moves_no_traces(
    variables: dict[str, str], values: dict[str, str], folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative folder is resolved when it is first met; a later `configure` of something else leaves it there."""
    os.environ |= variables
    (tmp_path / "elsewhere").mkdir()
    layers = Configuration()
    layers.configure(**values)

    monkeypatch.chdir("elsewhere")
    settings = layers.configure(debug=True)

    assert settings.base_path == tmp_path / folder


def test_a_removed_working_folder_is_survived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings still resolve when the current folder is gone; the folder stays relative."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir("gone")
    (tmp_path / "gone").rmdir()

    settings = Configuration().settings()

    assert settings.base_path == Path("traces")


# What the surroundings say and is wrong


def test_a_wrong_variable_is_a_warning_and_the_next_layer_decides(caplog: pytest.LogCaptureFixture) -> None:
    """One line in the log, however many set-ups meet the problem; doctor can ask for it again."""
    pyproject("[tool.fluxloop]\nsample_rate = 0.25\n")
    os.environ["FLUXLOOP_SAMPLE_RATE"] = "1.5"
    layers = Configuration()

    settings = [layers.settings(), layers.configure(debug=True), Configuration().settings()]

    said = "sample_rate must lie between 0 and 1, got 1.5 (from FLUXLOOP_SAMPLE_RATE)"
    assert [one.sample_rate for one in settings] == [0.25, 0.25, 0.25]
    assert caplog.record_tuples == [("fluxloop", logging.WARNING, said)]
    assert layers.problems() == [said]


def test_an_unknown_variable_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """A typing error in a variable's name is said, with what was probably meant, and never its value."""
    os.environ |= {"FLUXLOOP_SAMPEL_RATE": "sk-secret", "FLUXLOOP_REDACT_HOOK": "mine"}

    Configuration().settings()

    assert sorted(caplog.messages) == [
        "redact_hook can only be set in code (from FLUXLOOP_REDACT_HOOK)",
        "there is no setting 'sampel_rate' (from FLUXLOOP_SAMPEL_RATE), did you mean 'sample_rate'?",
    ]


def test_a_problem_that_was_mended_is_gone() -> None:
    """`problems` tells what is wrong now, not what once was."""
    os.environ["FLUXLOOP_DEBUG"] = "perhaps"
    layers = Configuration()
    before = len(layers.problems())

    os.environ["FLUXLOOP_DEBUG"] = "yes"
    layers.configure()

    assert (before, layers.problems(), layers.settings().debug) == (1, [], True)


variables = st.dictionaries(
    st.sampled_from([row.env for row in TABLE.values() if row.env] + ["FLUXLOOP_", "FLUXLOOP_É", "FLUXLOOP_STORAG"]),
    st.one_of(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
        st.sampled_from(
            ["nan", "-1", "9" * 5000, "1e999", "file,file", ",", "(?P<", "[[a]", "~", "~x/y", "\udcff", "ⅷ"]
        ),
    ),
)


@examples(deadline=None)
@given(variables)
def test_no_environment_stops_a_program(values: dict[str, str]) -> None:
    """Whatever the variables hold, settings come out that could as well have been given in code."""
    with patch.dict(os.environ, values):
        settings = Configuration().settings()

    assert (
        Settings(**{row.name: row.read(Given(getattr(settings, row.name), "")) for row in TABLE.values()}) == settings
    )


anything = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.lists(st.text()), st.builds(Keep),
    st.sampled_from([Decimal(1), Keep, len, Path("x"), {}, object()]),
)  # fmt: skip


@examples(deadline=None)
@given(st.dictionaries(st.sampled_from([*TABLE, "nonsense"]), anything, min_size=1))
def test_configure_changes_all_it_was_given_or_nothing(values: dict[str, Any]) -> None:
    """Either every value is in force and comes from the call, or the very same settings still are."""
    layers = Configuration(isolated=True)
    before = layers.configure(max_depth=7)

    try:
        after = layers.configure(**values)
    except ConfigError:
        assert layers.settings() is before
    else:
        assert {layers.source(name) for name in values} == {"configure()"}
        assert layers.settings() is after


# What people read


def test_describe_gives_every_setting_with_its_source() -> None:
    """What `fluxloop doctor` prints: readable values, where each is from, and how to change it."""
    os.environ["FLUXLOOP_DEBUG"] = "on"
    layers = Configuration()
    layers.configure(storage=[Keep(), "file"], redact_hook=len)
    described = {one.name: one for one in describe(layers)}

    assert list(described) == list(TABLE)
    assert (described["debug"].value, described["debug"].source) == ("true", "FLUXLOOP_DEBUG")
    assert (described["storage"].value, described["storage"].source) == ("Keep, file", "configure()")
    assert (described["redact_hook"].value, described["redact_hook"].env) == ("len", None)
    assert (described["max_leaf_bytes"].value, described["max_leaf_bytes"].source) == ("65536 bytes", "default")
    assert (described["session_id"].value, described["session_id"].env) == ("none", "FLUXLOOP_SESSION_ID")


def test_asking_for_the_source_of_no_setting_is_an_error() -> None:
    """A typing error is answered as everywhere else."""
    with pytest.raises(ConfigError, match="did you mean 'debug'"):
        Configuration().source("debg")
