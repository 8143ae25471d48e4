"""
Every public name, setting, command and option exists, has a docstring, and is documented.
"""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from types import ModuleType

import pytest

import fluxloop
from fluxloop.cli.app import COMMANDS, loaded
from fluxloop.settings import schema

ROOT = Path(__file__).parent.parent
DOCS = "\n".join(page.read_text() for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))])
MODULES = [
    "fluxloop",
    "fluxloop.bridge",
    "fluxloop.errors",
    "fluxloop.experiments",
    "fluxloop.models",
    "fluxloop.storage",
    "fluxloop.testing",
]

GUIDE_NAMES = [
    *("FluxLoopClient", "agent", "configure", "get_current_context", "get_current_trace", "instrument", "load_env"),
    *("prompt", "tool", "trace"),
]
"""The names of the core that the introduction of the SDK uses."""


def public(module: ModuleType) -> dict[str, object]:
    """Return the public names of *module*: its `__all__`, or the names that it defines."""
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


def test_the_public_names_are_sorted_and_complete():
    """
    `__all__` is sorted and has no duplicates, every name exists, and the names of the guides are included.
    """
    assert fluxloop.__all__ == sorted({*fluxloop.__all__})
    assert {*fluxloop.__all__} <= {*dir(fluxloop)}
    assert {*GUIDE_NAMES} <= {*fluxloop.__all__}


def test_an_unknown_name_raises_an_error_that_names_it():
    """
    Lazy loading of names does not change the error for an unknown name.
    """
    with pytest.raises(AttributeError, match="agnet"):
        fluxloop.agnet  # noqa: B018 - the access is tested


@pytest.mark.parametrize(("name", "value"), PUBLIC)
def test_a_public_name_has_a_docstring(name, value):
    """
    Every public function, class and module has a docstring.
    """
    if inspect.isroutine(value) or inspect.isclass(value) or inspect.ismodule(value):
        assert (value.__doc__ or "").strip()


def test_every_public_name_is_in_the_docs():
    """
    Every public name occurs in the docs, marked as code.
    """
    missing = [parameter.id for parameter in PUBLIC if not mentioned(str(parameter.id).rpartition(".")[2])]

    assert missing == [], f"{len(missing)} of {len(PUBLIC)} names are not in the docs"


def test_the_docs_contain_the_current_table_of_settings():
    """
    The docs contain the current table of settings.
    """
    assert schema.markdown_table() in (ROOT / "docs/configuration.md").read_text()


def test_every_command_and_option_is_in_the_docs():
    """
    The docs mention each `fluxloop` command and each of its options.
    """
    missing = []
    commands = {name: loaded(name) for name in COMMANDS}
    groups = {name: commands.pop(name) for name, command in list(commands.items()) if hasattr(command, "commands")}
    for group, command in groups.items():
        commands |= {f"{group} {name}": each for name, each in command.commands.items()}
    for name, command in commands.items():
        options = [option for parameter in command.params for option in parameter.opts if option.startswith("--")]
        missing += [] if f"fluxloop {name}" in DOCS else [f"fluxloop {name}"]
        missing += [f"fluxloop {name} {option}" for option in options if not re.search(rf"{option}\b", DOCS)]

    assert missing == []


def mentioned(name: str) -> bool:
    """Whether *name* occurs in the docs as code: in backticks, after a dot, or in an import."""
    return bool(re.search(rf"(`@?|\.|\bimport [^\n]*\b){name}\b", DOCS))
