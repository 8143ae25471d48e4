"""
Imports point down: the floors of the packages, as a table, and every module's imports against it.

Each module has a floor. An import may point to a lower floor, or stay on its own within one package;
adapters enter the core through its doors only. Imports inside functions count, and those that only the
type checker sees. ``fluxloop/__init__.py`` is the public face, which may import anything.

`python tests/test_floors.py` prints the drawing: each floor with its rooms, and the rooms they import.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import fluxloop

ROOT = Path(__file__).parent.parent

FLOORS = {
    0: "encoding enums errors forks interruptions llm models redaction report trace_html trajectory",
    1: "settings storage",
    2: "tracing",
    3: "answering bridge client context decorators outlines reading recording scoring testing",
    4: "__main__ cli collector experiments export pytest_plugin replay viewer",
    5: "/fluxloop_custom /fluxloop_langchain /fluxloop_langgraph /fluxloop_pytest",
    6: "/benchmarks /examples",
}
"""Modules of `fluxloop`, and other top-level packages (``/``); what is inside one of them shares its floor."""

DOORS = {
    "fluxloop",
    "fluxloop.bridge",
    "fluxloop.errors",
    "fluxloop.llm.token_counts",
    "fluxloop.models",
    "fluxloop.pytest_plugin",
    "fluxloop.storage",
}
"""Where an adapter may enter the core."""

PARTNERS = {("fluxloop_langgraph", "fluxloop_langchain")}
"""Pairs of packages on one floor; the first may import the second."""

LIBRARIES = {
    "anyio": "collector",
    "clickhouse_connect": "collector",
    "deepeval": "experiments",
    "dotenv": "cli settings",
    "httpx": "experiments reading storage",
    "hyperscan": "reading redaction",
    "jinja2": "experiments",
    "jsonschema": "experiments",
    "markupsafe": "experiments",
    "msgspec": "reading",
    "orjson": "*",
    "packaging": "cli",
    "pydantic": "cli experiments models reading replay",
    "pydantic_evals": "experiments",
    "pydantic_core": "models",
    "psycopg": "collector",
    "pytest": "pytest_plugin",
    "rapidfuzz": "experiments",
    "ray": "experiments",
    "referencing": "experiments",
    "rich": "cli",
    "ruamel": "cli experiments",
    "starlette": "collector",
    "typer": "cli",
    "urllib3": "collector",
    "uvicorn": "collector",
}
"""Everything the core takes from outside, and the modules that take it (``*`` for any)."""


class Import(NamedTuple):
    """One import statement's target: ``module``, and ``name`` where it was ``from module import name``."""

    module: str
    name: str | None
    line: int


def test_every_import_points_down():
    """
    No module of the project imports from a floor above its own.
    """
    wrong = [complaint for path in modules(ROOT) for complaint in complaints(path, ROOT)]

    assert not wrong, "\n" + "\n".join(wrong)


def test_the_core_takes_from_outside_only_what_its_table_says():
    """
    The core's modules import the standard library, and each outside library where the table allows it.
    """
    wrong = [complaint for path in modules(ROOT) for complaint in strangers(path, ROOT)]

    assert not wrong, "\n" + "\n".join(wrong)


def test_no_module_is_in_a_cycle():
    """
    No module imports itself by way of others, not inside functions and not for types alone either.
    """
    needs = {
        name_of(path, ROOT): {target_of(i, ROOT) for i in imports(path, ROOT)}
        for path in modules(ROOT)
        if path != ROOT / "fluxloop/__init__.py"
    }
    while ends := {name for name in needs if not inside(needs, name)}:
        needs = {name: needed for name, needed in needs.items() if name not in ends}

    assert not needs, f"these import each other: {sorted(needs)}"


def inside(needs: dict[str, set[str]], name: str) -> bool:
    """Whether *name* imports one of the modules in *needs*, and one of them imports it."""
    others = needs.keys() - {name}
    return bool(needs[name] & others) and any(name in needs[other] for other in others)


# How the checks answer to modules that break the rules, so that a silent check is noticed.


@pytest.mark.parametrize(
    ("path", "source", "arrow"),
    [
        ("fluxloop/report.py", "from .settings import schema", "fluxloop.report (0) -> fluxloop.settings (1)"),
        ("fluxloop/report.py", "def f():\n    from . import client", "fluxloop.report (0) -> fluxloop.client (3)"),
        (
            "fluxloop/enums.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .tracing import x",
            "fluxloop.enums (0) -> fluxloop.tracing (2)",
        ),
        ("fluxloop/storage/file.py", "from ..context import x", "fluxloop.storage.file (1) -> fluxloop.context (3)"),
        ("fluxloop/tracing/calls.py", "import fluxloop", "fluxloop.tracing.calls (2) -> fluxloop (3)"),
        ("fluxloop/bridge.py", "import fluxloop_custom", "fluxloop.bridge (3) -> fluxloop_custom (5)"),
        (
            "fluxloop_langchain/x.py",
            "import fluxloop_langgraph.y",
            "fluxloop_langchain.x (5) -> fluxloop_langgraph.y (5)",
        ),
        ("fluxloop_custom/x.py", "from fluxloop.tracing.calls import begin", "by a door"),
        ("fluxloop_custom/x.py", "from fluxloop.bridge import _secret", "by a door"),
        ("fluxloop_custom/x.py", "from fluxloop import tracing", "by a door"),
        ("fluxloop/novelty.py", "", "fluxloop.novelty: give it a floor"),
    ],
)
def test_an_import_that_points_up_is_named(tmp_path, path, source, arrow):
    """
    A module that reaches up, sideways or past the doors is named, with the line that does it.
    """
    module = write(tmp_path, path, source)

    assert [complaint for complaint in complaints(module, tmp_path) if arrow in complaint]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("fluxloop/tracing/recorder.py", "from ..settings import schema\nfrom .node import x\nimport os"),
        ("fluxloop/__init__.py", "from .cli import main"),
        ("fluxloop/cli/view.py", "import fluxloop\nfrom ..reading import read_traces"),
        ("fluxloop_langgraph/graph.py", "from fluxloop_langchain.handler import Handler\nimport fluxloop"),
    ],
)
def test_an_import_that_points_down_is_let_through(tmp_path, path, source):
    """
    Downward, within a floor of one package, and from the public face: all allowed.
    """
    module = write(tmp_path, path, source)

    assert complaints(module, tmp_path) == []


def test_a_library_in_the_wrong_place_is_named(tmp_path):
    """
    A library the table does not know, or does not give to this module, is named.
    """
    module = write(
        tmp_path, "fluxloop/report.py", "import json\nimport requests\nfrom orjson import dumps\nimport rich.text"
    )

    assert strangers(module, tmp_path) == [
        "fluxloop.report takes 'requests' from outside, fluxloop/report.py:2",
        "fluxloop.report takes 'rich' from outside, fluxloop/report.py:4",
    ]


def modules(root: Path) -> list[Path]:
    """Every Python file of the packages, the examples and the benchmarks under *root*."""
    others = [name[1:] for names in FLOORS.values() for name in names.split() if name.startswith("/")]
    return [path for folder in ["fluxloop", *others] for path in sorted((root / folder).rglob("*.py"))]


def complaints(path: Path, root: Path) -> list[str]:
    """What is wrong with the imports of the module at *path*, each as a line for a person."""
    name = name_of(path, root)
    floor = floor_of(name)
    if floor is None:
        return [f"{name}: give it a floor, in FLOORS of tests/test_floors.py"]
    if name == "fluxloop":
        return []
    wrong = []
    for found in imports(path, root):
        target = target_of(found, root)
        above = floor_of(target)
        where = f"{path.relative_to(root)}:{found.line}"
        if above is None:
            continue
        if above > floor or (above == floor and not neighbours(name, target)):
            wrong.append(f"{name} ({floor}) -> {target} ({above}), {where}")
        elif floor == 5 and top(target) == "fluxloop" and not through_a_door(found):
            wrong.append(f"{name} enters {target} ({found.name or found.module}): an adapter comes by a door, {where}")
    return wrong


def strangers(path: Path, root: Path) -> list[str]:
    """The libraries from outside which the core's module at *path* imports and should not."""
    name = name_of(path, root)
    if top(name) != "fluxloop":
        return []
    known = {*sys.stdlib_module_names, "fluxloop"}
    if name == "fluxloop":  # the public face
        known.add("fluxloop_custom")
    known |= {library for library, users in LIBRARIES.items() if {"*", *name.split(".")[1:]} & {*users.split()}}
    return [
        f"{name} takes {top(found.module)!r} from outside, {path.relative_to(root)}:{found.line}"
        for found in imports(path, root)
        if top(found.module) not in known
    ]


def imports(path: Path, root: Path) -> Iterator[Import]:
    """Each import of the module at *path*, wherever it is, relative ones made absolute."""
    name = name_of(path, root)
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    pending: list[ast.AST] = [ast.parse(path.read_text())]
    while pending:
        node = pending.pop(0)
        match node:
            case ast.Import():
                yield from (Import(alias.name, None, node.lineno) for alias in node.names)
            case ast.ImportFrom():
                above = package[: len(package) - node.level + 1] if node.level else []
                module = ".".join([*above, *filter(None, [node.module])])
                yield from (Import(module, alias.name, node.lineno) for alias in node.names)
            case _:
                pending += ast.iter_child_nodes(node)


def target_of(found: Import, root: Path) -> str:
    """The module *found* loads: ``from . import recorder`` loads the recorder where that is a module."""
    inner = f"{found.module}.{found.name}"
    path = root / inner.replace(".", "/")
    is_module = path.with_suffix(".py").exists() or path.is_dir()
    return inner if is_module or (found.module == "fluxloop" and floor_of(inner) is not None) else found.module


def name_of(path: Path, root: Path) -> str:
    """The dotted name of the module at *path*."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def floor_of(module: str) -> int | None:
    """The floor of *module*, None for what is not ours; the public face stands as high as the highest it shows."""
    if module == "fluxloop":
        return 3
    for floor, names in FLOORS.items():
        for name in names.split():
            whole = name[1:] if name.startswith("/") else f"fluxloop.{name}"
            if module == whole or module.startswith(f"{whole}."):
                return floor
    return None


def top(module: str) -> str:
    return module.partition(".")[0]


def neighbours(module: str, target: str) -> bool:
    """Whether both are of one package, or partners; the public face is not a neighbour of its own modules."""
    return (top(module) == top(target) and target != "fluxloop") or (top(module), top(target)) in PARTNERS


def through_a_door(found: Import) -> bool:
    if found.module == "fluxloop" and found.name:
        return found.name in fluxloop.__all__ or f"fluxloop.{found.name}" in DOORS
    return found.module in DOORS and not (found.name or "").startswith("_")


def write(root: Path, path: str, source: str) -> Path:
    module = root / path
    module.parent.mkdir(parents=True, exist_ok=True)
    module.write_text(source)
    return module


def drawing() -> str:
    """The floors from the top down, with the rooms of each and what they import, a line per room."""
    below: dict[str, set[str]] = {}
    for path in modules(ROOT):
        name = name_of(path, ROOT)
        below.setdefault(room_of(name), set()).update(room_of(target_of(found, ROOT)) for found in imports(path, ROOT))
    lines = []
    for floor in sorted(FLOORS, reverse=True):
        for room in sorted(room for room in below if floor_of(room) == floor and room != "fluxloop"):
            targets = sorted(target for target in below[room] if floor_of(target) is not None and target != room)
            lines.append(
                f"{floor}  {room.removeprefix('fluxloop.'):20} -> {', '.join(targets).replace('fluxloop.', '')}"
            )
    return "\n".join(lines)


def room_of(module: str) -> str:
    """The package or top-level module of `fluxloop`, or the other top-level package, that holds *module*."""
    parts = module.split(".")
    return ".".join(parts[: 2 if parts[0] == "fluxloop" else 1])


if __name__ == "__main__":
    print(drawing())  # noqa: T201
