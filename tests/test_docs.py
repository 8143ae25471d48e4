"""
The code blocks of the documentation run and print the output that the page shows, and all links are valid.

`docs_blocks` describes how a page marks its blocks.
"""

from __future__ import annotations

import re
from pathlib import Path

import offline
import pytest
from docs_blocks import blocks, prose
from prepared_python import WITH_FRAMEWORKS

from fluxloop.enums import ObservationType, Status

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))

_LINK = re.compile(r"\]\((?!https?:|mailto:)(?P<path>[^)#\s]*)(?:#(?P<anchor>[^)\s]+))?\)")

TERMS = ["observation", "observation type", "trace", "context", "storage", "adapter", "session"]
"""Terms that the glossary defines, besides types and statuses."""


@each_page
def test_the_code_of_a_page_runs_and_prints_the_output_shown(page):
    """
    A reader who runs the code blocks of a page in order gets the output that the page shows.
    """
    done = WITH_FRAMEWORKS.run("docs_blocks", page, environment=offline.environment())

    assert done.code == 0, done.err


@each_page
def test_a_block_that_is_not_run_gives_the_reason(page):
    """
    A block that is not run has a comment with the reason.
    """
    silent = [block.line for block in blocks(page.read_text()) if "no-run" in block.marks and "#" not in block.code]

    assert silent == []


@each_page
def test_the_links_of_a_page_are_valid(page):
    """
    Each link to a page or a heading has an existing target.
    """
    broken = [
        f"{target.relative_to(ROOT)}#{anchor}"
        for target, anchor in links(page)
        if not target.exists() or (anchor and anchor not in anchors(target))
    ]

    assert broken == []


def test_every_page_can_be_reached_from_the_readme():
    """
    The links of the README, followed recursively, reach every page.
    """
    seen, pending = set(), [README]
    while pending:
        page = pending.pop()
        if page not in seen and page.suffix == ".md" and page.exists():
            seen.add(page)
            pending += [target for target, _ in links(page)]

    assert set(PAGES) - seen == set()


def test_the_glossary_defines_the_terms():
    """
    The glossary contains the basic terms, each observation type and each status.
    """
    glossary = (ROOT / "docs/glossary.md").read_text()
    terms = [*TERMS, *(type.name for type in ObservationType), *(status.value for status in Status)]

    assert [term for term in terms if not re.search(rf"\b{term}\b", glossary)] == []


def links(page: Path) -> list[tuple[Path, str]]:
    """Return the targets in the project that *page* links to: a file, and a heading or an empty text."""
    text = re.sub(r"`[^`\n]*`", "", prose(page.read_text()))
    return [
        ((page.parent / match["path"]).resolve() if match["path"] else page, match["anchor"] or "")
        for match in _LINK.finditer(text)
    ]


def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings of *page*, as GitHub creates them."""
    headings = re.findall(r"^#+ +(.*?) *$", prose(page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
