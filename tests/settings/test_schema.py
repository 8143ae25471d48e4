"""The table of settings is complete, never shows secrets, and equals the table in the docs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fluxloop.errors import ConfigError
from fluxloop.settings.schema import TABLE, RawValue, Row, Settings, markdown_table, options_source
from fluxloop.settings.value_types import STORAGE

ROOT = Path(__file__).parent.parent.parent


def test_a_secret_is_never_printed() -> None:
    """The value of a setting whose name marks it as secret is masked in reports and in error messages."""
    secret = Row("collector_key", None, STORAGE, "", "", only_in_code=False)

    with pytest.raises(ConfigError) as caught:
        secret.read(RawValue("sk-123", "FLUXLOOP_COLLECTOR_KEY"))

    assert "sk-123" not in str(caught.value)
    assert secret.shown("sk-123") == "***"


def test_every_setting_has_a_description_and_a_valid_default() -> None:
    """Each row has a description, and its default is a valid value."""
    assert all(row.meaning and row.value_type.accepted for row in TABLE.values())
    defaults = {row.name: row.read(RawValue(row.default, "default")) for row in TABLE.values()}
    assert replace(Settings(**defaults), base_path=Path("traces")) == Settings()


def test_the_docs_contain_the_table_of_all_settings() -> None:
    """docs/configuration.md contains the output of `fluxloop.settings.schema.markdown_table()`."""
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")

    assert markdown_table() in page


def test_the_keyword_arguments_of_configure_are_the_settings() -> None:
    """The fields of `SettingOptions`, with which editors complete `configure`, are generated from the table."""
    source = (ROOT / "fluxloop" / "settings" / "options.py").read_text(encoding="utf-8")

    assert source.endswith(f'"""\n\n{options_source()}')
