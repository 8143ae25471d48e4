"""
Pages in one file: reports that open from disk, need no network and print.

Every text is escaped by the template, or set as text by the page's script. The policy in the page lets only that script
run, by its hash: markup that were to slip through could not execute.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from ...reading.json_text import encode
from .. import shown

_FOLDER = Path(__file__).parent / "templates"

MARKS = {"data": "@@fluxloop-data@@", "passed": "@@fluxloop-passed@@", "failed": "@@fluxloop-failed@@"}
"""The places in a template where data goes that is too large for a template."""


def render(template: str, values: Mapping[str, Any], script: str = "") -> str:
    """
    Return the page of *template*.

    Args:
        template: The name of a file in the folder of templates.
        values: What the template shows.
        script: The name of the script of the page, if it has one.
    """
    code = (_FOLDER / script).read_text(encoding="utf-8") if script else ""
    digest = base64.b64encode(sha256(code.encode()).digest()).decode()
    from markupsafe import Markup

    own = {
        "style": Markup((_FOLDER / "style.css").read_text(encoding="utf-8")),
        "script": Markup(code),
        "script_hash": digest,
        "marks": MARKS,
    }
    return str(_environment().get_template(template).render({**values, **own}))


@cache
def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader

    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "milliseconds": shown.milliseconds,
        "dollars": shown.dollars,
        "percent": shown.percent,
        "signed": shown.signed,
    }
    return environment


def write_page(page: str, data: Mapping[str, BinaryIO], file: BinaryIO) -> None:
    """Write *page* with each of *data*, which is read from its start, in place of its mark; marks are in that order."""
    rest = page
    for name, content in data.items():
        before, _, rest = rest.partition(MARKS[name])
        file.write(before.encode("utf-8", "replace"))
        content.seek(0)
        while piece := content.read(1 << 16):
            file.write(piece)
    file.write(rest.encode("utf-8", "replace"))


def json_for_script(value: Any) -> bytes:
    """Return *value* as JSON that can stand inside a script element: it has no ``<``, ``>`` and ``&``."""
    try:
        text = orjson.dumps(value, default=str)
    except TypeError:
        text = encode(value).encode("utf-8", "replace")
    return text.replace(b"<", b"\\u003c").replace(b">", b"\\u003e").replace(b"&", b"\\u0026")
