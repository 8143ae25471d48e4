"""
Run the code blocks of a Markdown page in order, and compare their output with the page.

- ``python`` blocks run one after the other in one namespace, and the lines of ``bash`` blocks that start with
  ``fluxloop`` run as commands, all in one folder. ``json`` and ``toml`` blocks must parse.
- A ``text output`` block directly after such a block contains its expected output, see `unlike`.
- A block marked ``no-run`` is skipped; a comment in it gives the reason. A block marked ``raises`` must fail, and
  the last line of the traceback counts as output.

``python -m docs_blocks PAGE`` runs a page in the working directory.
"""

from __future__ import annotations

import contextlib
import difflib
import io
import json
import linecache
import os
import re
import subprocess
import sys
import tomllib
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

_FENCE = re.compile(
    r"^(?P<indent> *)(?P<ticks>`{3,})(?P<info>[^`\n]*)\n(?P<code>.*?)^(?P=indent)(?P=ticks) *$",
    re.MULTILINE | re.DOTALL,
)
_DURATION = r"\d+(?:[.,]\d+)*(?= ?(?:ns|us|µs|ms|s|min|h)\b)"
_VARIES = re.compile(rf"(?P<anything>…)|(?P<duration>{_DURATION})|(?P<spaces>(?<=\S) +)")


class Block(NamedTuple):
    """One fenced block: its language and marks, its code, the line where the code starts, and its expected output."""

    language: str
    marks: frozenset[str]
    code: str
    line: int
    output: str | None

    @property
    def runs(self) -> bool:
        return self.language in _RUNNERS and "no-run" not in self.marks


def blocks(page: str) -> list[Block]:
    """Return every fenced block of *page*, in order, with its output block."""
    found: list[Block] = []
    end = 0
    for match in _FENCE.finditer(page):
        language, *marks = match["info"].split() or [""]
        code = re.sub(rf"^{match['indent']}", "", match["code"], flags=re.MULTILINE)
        if "output" in marks and found and not page[end : match.start()].strip():
            found[-1] = found[-1]._replace(output=code)
        else:
            line = page.count("\n", 0, match.start("code")) + 1
            found.append(Block(language, frozenset(marks), code, line, None))
        end = match.end()
    return found


def prose(page: str) -> str:
    """Return *page* without its fenced blocks."""
    return _FENCE.sub("", page)


def unlike(expected: str, printed: str) -> str:
    """
    Return the difference between *printed* and *expected* as a diff, or an empty text if they match.

    In *expected*, ``…`` matches any text within a line, a duration (``12 ms``) any duration, and spaces inside a
    line any number of spaces. Trailing spaces, and empty lines at the end, are ignored.
    """
    wanted, got = _lines(expected), _lines(printed)
    if len(wanted) == len(got) and all(_pattern(w).fullmatch(g) for w, g in zip(wanted, got, strict=True)):
        return ""
    # A matching line is shown as expected, so that the diff contains only lines that differ.
    shown = [next((w for w in wanted if _pattern(w).fullmatch(g)), g) for g in got]
    return "\n".join(difflib.unified_diff(wanted, shown, "expected", "printed", lineterm=""))


def run(page: Path) -> Iterator[str]:
    """Run *page* in the working directory, and yield each failure."""
    module = ModuleType("page")
    sys.modules["page"] = module
    linecache.checkcache(str(page))
    for block in blocks(page.read_text(encoding="utf-8")):
        where = f"{page.name}:{block.line}"
        if not block.runs:
            continue
        printed, failure = _RUNNERS[block.language](block, page, module)
        if bool(failure) != ("raises" in block.marks):
            yield f"{where}: {failure or 'did not raise'}\n{printed}"
        elif block.output is not None and (difference := unlike(block.output, printed)):
            yield f"{where}: unexpected output\n{difference}"


def _python(block: Block, page: Path, module: ModuleType) -> tuple[str, str]:
    printed = io.StringIO()
    try:
        # Leading empty lines make the line numbers in a traceback equal those of the page.
        code = compile("\n" * (block.line - 1) + block.code, str(page), "exec", dont_inherit=True)
        with contextlib.redirect_stdout(printed):
            exec(code, module.__dict__)
    except Exception as exc:
        printed.write(traceback.format_exception_only(exc)[-1])
        return printed.getvalue(), traceback.format_exc()
    return printed.getvalue(), ""


def _bash(block: Block, *_: object) -> tuple[str, str]:
    """Run the lines that start with ``fluxloop``, with the command installed for this interpreter."""
    lines = block.code.replace("\\\n", " ").splitlines()
    commands = [line.removeprefix("$ ") for line in lines if line.removeprefix("$ ").startswith("fluxloop ")]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    done = [
        subprocess.run(command, shell=True, capture_output=True, text=True, env={**os.environ, "PATH": path})
        for command in commands
    ]
    failed = [f"{each.args!r} ended with {each.returncode}\n{each.stderr}" for each in done if each.returncode]
    return "".join(each.stdout for each in done), "\n".join(failed)


def _parse(block: Block, *_: object) -> tuple[str, str]:
    try:
        json.loads(block.code) if block.language == "json" else tomllib.loads(block.code)
    except ValueError as exc:
        return "", f"invalid {block.language}: {exc}"
    return "", ""


_RUNNERS = {"python": _python, "bash": _bash, "json": _parse, "toml": _parse}
"""The function that runs the blocks of a language; it returns their output and their failure, which can be empty."""


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().splitlines()]


def _pattern(line: str) -> re.Pattern[str]:
    """Return the regular expression for one line of expected output."""
    patterns = {"anything": ".*", "duration": r"\d+(?:[.,]\d+)*", "spaces": " +"}
    parts, end = [], 0
    for match in _VARIES.finditer(line):
        parts += [re.escape(line[end : match.start()]), patterns[match.lastgroup or ""]]
        end = match.end()
    return re.compile("".join([*parts, re.escape(line[end:])]))


if __name__ == "__main__":
    wrong = list(run(Path(sys.argv[1])))
    sys.exit("\n".join(wrong) if wrong else 0)
