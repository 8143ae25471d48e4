"""
Everything a user can name is there, explains itself, and is in the docs: names, settings, commands and options.
"""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from types import ModuleType

import pytest
from typer.main import get_command

import fluxloop
from fluxloop.cli.app import app
from fluxloop.settings import schema

ROOT = Path(__file__).parent.parent
DOCS = "\n".join(page.read_text() for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))])
MODULES = ["fluxloop", "fluxloop.bridge", "fluxloop.errors", "fluxloop.models", "fluxloop.storage", "fluxloop.testing"]

SEEDS = [
    *("FluxLoopClient", "agent", "configure", "get_current_context", "get_current_trace", "instrument", "load_env"),
    *("prompt", "tool", "trace"),
]
"""What the introduction of the SDK names, as far as the core goes."""


def public(module: ModuleType) -> dict[str, object]:
    """The public names of *module*: those it lists, or those it defines."""
    if hasattr(module, "__all__"):
        return {name: getattr(module, name) for name in module.__all__}
    return {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    }


PUBLIC = [
    pytest.param(f"{module}.{name}", value, id=f"{module}.{name}")
    for module in MODULES
    for name, value in public(importlib.import_module(module)).items()
]


def test_the_public_face_is_sorted_and_complete():
    """
    The names stand in order, once each, and every one of them can be had; the seeds' names are among them.
    """
    assert fluxloop.__all__ == sorted({*fluxloop.__all__})
    assert {*fluxloop.__all__} <= {*dir(fluxloop)}
    assert {*SEEDS} <= {*fluxloop.__all__}


def test_an_unknown_name_is_refused_by_name():
    """
    Loading names late does not change what a misspelt one gives.
    """
    with pytest.raises(AttributeError, match="agnet"):
        fluxloop.agnet  # noqa: B018 - looking it up is the act


@pytest.mark.parametrize(("name", "value"), PUBLIC)
def test_a_public_name_explains_itself(name, value):
    """
    Everything public that can hold a docstring has one of its own.
    """
    if inspect.isroutine(value) or inspect.isclass(value) or inspect.ismodule(value):
        assert (value.__doc__ or "").strip()


def test_every_public_name_is_in_the_docs():
    """
    A reader of the docs meets every public name, as code.
    """
    missing = [parameter.id for parameter in PUBLIC if not mentioned(str(parameter.id).rpartition(".")[2])]

    assert missing == [], f"{len(missing)} of {len(PUBLIC)} names are not in the docs"


def test_the_table_of_settings_in_the_docs_is_the_one_the_settings_print():
    """
    No setting is missing from the docs, and what they say about it is what holds.
    """
    assert schema.markdown_table() in (ROOT / "docs/configuration.md").read_text()


def test_every_command_and_option_is_in_the_docs():
    """
    Each `fluxloop` command is shown in the docs, and each of its options.
    """
    missing = []
    for name, command in get_command(app).commands.items():
        options = [option for parameter in command.params for option in parameter.opts if option.startswith("--")]
        missing += [] if f"fluxloop {name}" in DOCS else [f"fluxloop {name}"]
        missing += [f"fluxloop {name} {option}" for option in options if not re.search(rf"{option}\b", DOCS)]

    assert missing == []


def mentioned(name: str) -> bool:
    """Whether *name* stands in the docs as code: in backticks, after a dot, or imported."""
    return bool(re.search(rf"(`@?|\.|\bimport [^\n]*\b){name}\b", DOCS))
