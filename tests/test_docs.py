"""
The pages do what they say: their code runs and prints what stands below it, their links lead somewhere.

How a page marks its blocks is told in `docs_blocks`.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import offline
import pytest
from docs_blocks import blocks, prose

from fluxloop.enums import ObservationType, Status

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))

_LINK = re.compile(r"\]\((?!https?:|mailto:)(?P<path>[^)#\s]*)(?:#(?P<anchor>[^)\s]+))?\)")

WORDS = ["observation", "observation type", "trace", "context", "storage", "adapter", "session"]
"""Words of ours that the glossary explains, beside the types and statuses."""


@each_page
def test_the_code_of_a_page_runs_and_prints_what_the_page_shows(page):
    """
    Whoever copies a page's code, block after block, sees what the page shows.
    """
    done = subprocess.run(
        [sys.executable, "-m", "docs_blocks", page], capture_output=True, text=True, env=offline.environment()
    )

    assert done.returncode == 0, done.stderr


@each_page
def test_a_block_that_is_left_out_says_why(page):
    """
    Code that the tests cannot run gives its reader the reason, in a comment.
    """
    silent = [block.line for block in blocks(page.read_text()) if "no-run" in block.marks and "#" not in block.code]

    assert silent == []


@each_page
def test_the_links_of_a_page_lead_somewhere(page):
    """
    A link to another page, or to a heading, finds it.
    """
    broken = [
        f"{target.relative_to(ROOT)}#{anchor}"
        for target, anchor in links(page)
        if not target.exists() or (anchor and anchor not in anchors(target))
    ]

    assert broken == []


def test_every_page_can_be_reached_from_the_readme():
    """
    A reader who follows the links of the README comes by every page.
    """
    seen, pending = set(), [README]
    while pending:
        page = pending.pop()
        if page not in seen and page.suffix == ".md" and page.exists():
            seen.add(page)
            pending += [target for target, _ in links(page)]

    assert set(PAGES) - seen == set()


def test_the_glossary_explains_our_words():
    """
    Each word of ours, each observation type and each status stands in the glossary.
    """
    glossary = (ROOT / "docs/glossary.md").read_text()
    words = [*WORDS, *(kind.name for kind in ObservationType), *(status.value for status in Status)]

    assert [word for word in words if not re.search(rf"\b{word}\b", glossary)] == []


def links(page: Path) -> list[tuple[Path, str]]:
    """What *page* links to within the project: a file, and the heading in it (empty for the whole)."""
    text = re.sub(r"`[^`\n]*`", "", prose(page.read_text()))
    return [
        ((page.parent / match["path"]).resolve() if match["path"] else page, match["anchor"] or "")
        for match in _LINK.finditer(text)
    ]


def anchors(page: Path) -> set[str]:
    """The names of *page*'s headings, as GitHub makes them."""
    headings = re.findall(r"^#+ +(.*?) *$", prose(page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
