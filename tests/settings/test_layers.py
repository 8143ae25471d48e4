"""Settings come from five layers, are validated in each, and change all at once or not at all."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from isolation import MinimalStorage, isolated_settings, pyproject

from fluxloop.errors import ConfigError
from fluxloop.settings import dotenv
from fluxloop.settings.layers import Configuration, describe
from fluxloop.settings.schema import TABLE, RawValue, Settings

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def _isolated(tmp_path: Path) -> Iterator[None]:
    with isolated_settings(tmp_path):
        yield


# The layers


def test_the_defaults_apply_without_any_setting(tmp_path: Path) -> None:
    """By default everything is recorded into files under ./traces, without a network."""
    settings = Configuration().settings()

    assert (settings.storage, settings.base_path) == ("file", tmp_path / "traces")
    assert (settings.enabled, settings.sample_rate, settings.redact, settings.debug) == (True, 1.0, True, False)


def test_configure_returns_the_current_settings(tmp_path: Path) -> None:
    """`configure` returns the resolved settings, and later reads return the same object."""
    layers = Configuration()

    settings = layers.configure(storage="file", base_path="./runs")

    assert settings.base_path == tmp_path / "runs"
    assert layers.settings() is settings


def test_each_configure_takes_effect_immediately_and_keeps_earlier_values() -> None:
    """Settings that are already in use can still be changed."""
    layers = Configuration()
    layers.settings()

    layers.configure(debug=True, sample_rate=0.5)
    settings = layers.configure(sample_rate=0.25)

    assert (settings.debug, settings.sample_rate) == (True, 0.25)


def test_each_layer_overrides_the_layers_below_it(tmp_path: Path) -> None:
    """The order is call, environment, .env, pyproject.toml, default."""
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


def test_environment_variables_set_every_type_of_value(tmp_path: Path) -> None:
    """Environment variables set lists, paths, booleans, numbers and patterns."""
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


def test_the_collector_is_configured_by_the_variables_of_fluxloop_0_1() -> None:
    """The names stay valid, with a batch size for the number of records that are sent at once."""
    os.environ |= {
        "FLUXLOOP_STORAGE": "http",
        "FLUXLOOP_COLLECTOR_URL": "https://traces.example.com/team/",
        "FLUXLOOP_API_KEY": " sk-1 ",
        "FLUXLOOP_USE_COLLECTOR": "off",
        "FLUXLOOP_FLUSH_INTERVAL": "5.0",
        "FLUXLOOP_TIMEOUT": "3",
        "FLUXLOOP_BATCH_SIZE": "7",
    }

    settings = Configuration().settings()

    assert (settings.storage, settings.collector_url) == ("http", "https://traces.example.com/team")
    assert (settings.api_key, settings.use_collector) == ("sk-1", False)
    assert (settings.flush_interval, settings.timeout, settings.buffer_size) == (5.0, 3.0, 7)
    os.environ["FLUXLOOP_BUFFER_SIZE"] = "8"
    assert Configuration().settings().buffer_size == 8


def test_the_offline_folder_of_fluxloop_0_1_is_the_folder_for_files(tmp_path: Path) -> None:
    """Its name stays valid; `FLUXLOOP_BASE_PATH` takes precedence."""
    os.environ["FLUXLOOP_OFFLINE_DIR"] = str(tmp_path / "artifacts")
    layers = Configuration()

    assert (layers.settings().base_path, layers.problems()) == (tmp_path / "artifacts", [])
    assert layers.source("base_path") == "FLUXLOOP_OFFLINE_DIR"
    os.environ["FLUXLOOP_BASE_PATH"] = str(tmp_path / "traces")
    assert Configuration().settings().base_path == tmp_path / "traces"


def test_a_setting_of_fluxloop_0_1_that_was_replaced_logs_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    """One line for each, which does not call it unknown; the other settings apply. In code, it is an error."""
    os.environ |= {"FLUXLOOP_MAX_QUEUE_SIZE": "500", "FLUXLOOP_OFFLINE_ENABLED": "true", "FLUXLOOP_TIMEOUT": "3"}

    assert Configuration().settings().timeout == 3.0
    queue, offline = sorted(caplog.messages)
    assert queue.startswith("max_queue_size is a setting of FluxLoop 0.1 (from FLUXLOOP_MAX_QUEUE_SIZE): remove it, ")
    assert offline.startswith("offline_enabled is a setting of FluxLoop 0.1 (from FLUXLOOP_OFFLINE_ENABLED): remove it")
    with pytest.raises(ValueError, match=r"offline_store_dir is a setting of FluxLoop 0.1 .*: use base_path"):
        Configuration().configure(offline_store_dir="x")


@pytest.mark.parametrize("value", ["abc", "0", "-1"])
def test_an_invalid_batch_size_is_a_warning_and_the_default_applies(
    value: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The program goes on; the message names the variable."""
    os.environ["FLUXLOOP_BATCH_SIZE"] = value

    assert Configuration().settings().buffer_size == 100
    assert "buffer_size must be a whole number from 1 up" in caplog.text
    assert "(from FLUXLOOP_BATCH_SIZE)" in caplog.text


def test_an_empty_variable_counts_as_not_set() -> None:
    """With `FLUXLOOP_SAMPLE_RATE=` in a shell script or a compose file, the next layer is used."""
    os.environ |= {"FLUXLOOP_SAMPLE_RATE": "", "FLUXLOOP_DEBUG": "  "}
    layers = Configuration()

    assert layers.settings() == Configuration(isolated=True).settings()
    assert layers.problems() == []


def test_two_configurations_share_the_environment_and_nothing_else(tmp_path: Path) -> None:
    """A call of `configure` on one configuration does not affect another one."""
    os.environ["FLUXLOOP_ENABLED"] = "off"
    one, other = Configuration(), Configuration(source="FluxLoopClient()")

    one.configure(base_path="one")
    other.configure(base_path="other", debug=True)

    assert (one.settings().base_path, one.settings().debug) == (tmp_path / "one", False)
    assert (other.settings().base_path, other.settings().enabled) == (tmp_path / "other", False)
    assert other.source("debug") == "FluxLoopClient()"


def test_isolated_settings_use_only_calls_and_defaults(tmp_path: Path) -> None:
    """Environment variables, .env and pyproject.toml do not affect isolated settings."""
    pyproject("[tool.fluxloop]\nsample_rate = 0.5\nnonsense = 1\n")
    (tmp_path / ".env").write_text("not a line\nFLUXLOOP_DEBUG=1\n")
    dotenv.load_env()
    os.environ["FLUXLOOP_ENABLED"] = "no"
    layers = Configuration(isolated=True)

    settings = layers.configure(max_depth=3)

    assert (settings.enabled, settings.debug, settings.sample_rate, settings.max_depth) == (True, False, 1.0, 3)
    assert layers.problems() == []


def test_reset_discards_the_calls_and_reads_the_layers_again() -> None:
    """After `reset`, the other layers are read again."""
    layers = Configuration()
    layers.configure(sample_rate=0.5)
    pyproject("[tool.fluxloop]\nsample_rate = 0.75\n")

    layers.reset()

    assert layers.settings().sample_rate == 0.75


@pytest.mark.parametrize(
    ("variables", "values", "folder"),
    [({}, {}, "traces"), ({}, {"base_path": "runs"}, "runs"), ({"FLUXLOOP_BASE_PATH": "shell"}, {}, "shell")],
)
def test_changing_the_working_directory_does_not_move_traces(
    variables: dict[str, str], values: dict[str, str], folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative folder is resolved when it is first read; a later `configure` of another setting keeps it."""
    os.environ |= variables
    (tmp_path / "elsewhere").mkdir()
    layers = Configuration()
    layers.configure(**values)

    monkeypatch.chdir("elsewhere")
    settings = layers.configure(debug=True)

    assert settings.base_path == tmp_path / folder


def test_settings_resolve_in_a_removed_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings still resolve if the working directory was removed; `base_path` then stays relative."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir("gone")
    (tmp_path / "gone").rmdir()

    settings = Configuration().settings()

    assert settings.base_path == Path("traces")


# Invalid values outside the code


def test_an_invalid_variable_logs_a_warning_and_the_next_layer_wins(caplog: pytest.LogCaptureFixture) -> None:
    """The problem is logged once, however many configurations read it, and `problems` lists it again."""
    pyproject("[tool.fluxloop]\nsample_rate = 0.25\n")
    os.environ["FLUXLOOP_SAMPLE_RATE"] = "1.5"
    layers = Configuration()

    settings = [layers.settings(), layers.configure(debug=True), Configuration().settings()]

    problem = "sample_rate must lie between 0 and 1, got 1.5 (from FLUXLOOP_SAMPLE_RATE)"
    assert [one.sample_rate for one in settings] == [0.25, 0.25, 0.25]
    assert caplog.record_tuples == [("fluxloop", logging.WARNING, problem)]
    assert layers.problems() == [problem]


def test_an_unknown_variable_logs_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """The warning for an unknown variable suggests the closest setting and does not show the value."""
    os.environ |= {"FLUXLOOP_SAMPEL_RATE": "sk-secret", "FLUXLOOP_REDACT_HOOK": "mine"}

    Configuration().settings()

    assert sorted(caplog.messages) == [
        "redact_hook can only be set in code (from FLUXLOOP_REDACT_HOOK)",
        "unknown setting 'sampel_rate' (from FLUXLOOP_SAMPEL_RATE), did you mean 'sample_rate'?",
    ]


def test_variables_of_other_parts_are_not_unknown_settings() -> None:
    """Every variable that the code or the docs name can be set without a warning."""
    root = Path(__file__).parents[2]
    texts = [path.read_text(encoding="utf-8") for path in (*root.glob("docs/*.md"), *root.glob("fluxloop/**/*.py"))]
    read = {name for text in texts for name in re.findall(r"FLUXLOOP_[A-Z_]*[A-Z]", text) if name not in FORMER}
    os.environ |= dict.fromkeys(read - {env for row in TABLE.values() for env in (row.env, row.former_env)}, "x")

    assert {"FLUXLOOP_LLM_API_KEY", "FLUXLOOP_UPDATE"} <= read
    assert Configuration().problems() == []


FORMER = {"FLUXLOOP_OFFLINE_ENABLED", "FLUXLOOP_MAX_QUEUE_SIZE", "FLUXLOOP_SAMPEL_RATE"}
"""Variables of version 0.1, and a mistake, in the docs."""


def test_a_corrected_problem_is_no_longer_listed() -> None:
    """`problems` lists current problems only."""
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
def test_no_environment_variable_stops_a_program(values: dict[str, str]) -> None:
    """For any values of the variables, the settings that result are valid."""
    with patch.dict(os.environ, values):
        settings = Configuration().settings()

    checked = {row.name: row.read(RawValue(getattr(settings, row.name), "")) for row in TABLE.values()}
    assert Settings(**checked) == settings


anything = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.lists(st.text()),
    st.builds(MinimalStorage), st.sampled_from([Decimal(1), MinimalStorage, len, Path("x"), {}, object()]),
)  # fmt: skip


@examples(deadline=None)
@given(st.dictionaries(st.sampled_from([*TABLE, "nonsense"]), anything, min_size=1))
def test_configure_changes_all_it_was_given_or_nothing(values: dict[str, Any]) -> None:
    """Either every given value is set, or the settings object is unchanged."""
    layers = Configuration(isolated=True)
    before = layers.configure(max_depth=7)

    try:
        after = layers.configure(**values)
    except ConfigError:
        assert layers.settings() is before
    else:
        assert {layers.source(name) for name in values} == {"configure()"}
        assert layers.settings() is after


# Reports


def test_describe_returns_every_setting_with_its_source() -> None:
    """`describe` returns what `fluxloop doctor` prints: the value, source and variable of each setting."""
    os.environ["FLUXLOOP_DEBUG"] = "on"
    layers = Configuration()
    layers.configure(storage=[MinimalStorage(), "file"], redact_hook=len)
    described = {one.name: one for one in describe(layers)}

    assert list(described) == list(TABLE)
    assert (described["debug"].value, described["debug"].source) == ("true", "FLUXLOOP_DEBUG")
    assert (described["storage"].value, described["storage"].source) == ("MinimalStorage, file", "configure()")
    assert (described["redact_hook"].value, described["redact_hook"].env) == ("len", None)
    assert (described["max_leaf_bytes"].value, described["max_leaf_bytes"].source) == ("65536 bytes", "default")
    assert (described["session_id"].value, described["session_id"].env) == ("none", "FLUXLOOP_SESSION_ID")


def test_the_source_of_an_unknown_setting_is_an_error() -> None:
    """The error for an unknown name suggests the closest setting."""
    with pytest.raises(ConfigError, match="did you mean 'debug'"):
        Configuration().source("debg")
