"""A trace in a notebook: its tree as HTML that is safe whatever was recorded."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import fluxloop
from fluxloop import Trace
from fluxloop.testing import capture
from fluxloop.trace_html import MAX_OBSERVATIONS, MAX_TEXT

HOSTILE = "</pre><script>alert(1)</script><img src=x onerror=alert(1)>"


class Tags(HTMLParser):
    """Collects the elements and the text, and checks that the elements are closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def recorded(*, inside: int = 1) -> Trace:
    @fluxloop.tool(name=HOSTILE)
    def tool(value: str) -> str:
        return value

    @fluxloop.agent
    def agent(question: str) -> str:
        for _ in range(inside):
            tool(HOSTILE)
        return "x" * 10_000

    with capture() as captured:
        agent("hi")
    return captured.traces()[0]


def test_the_tree_is_html_without_scripts() -> None:
    """Every recorded text is escaped, and every element is closed."""
    page = Tags(recorded()._repr_html_())

    assert page.open == []
    assert set(page.tags) <= {"div", "b", "span", "details", "summary", "i", "pre"}
    assert page.tags.count("details") == 2
    assert HOSTILE in page.text


def test_a_large_trace_is_cut() -> None:
    """A notebook gets a bounded number of elements and characters."""
    html = recorded(inside=MAX_OBSERVATIONS + 10)._repr_html_()

    assert html.count("<details") == MAX_OBSERVATIONS
    assert "11 more observations" in html
    assert "x" * (MAX_TEXT + 1) not in html


def test_an_open_trace_is_running() -> None:
    assert "running" in Trace(trace_id="t", name="n")._repr_html_()


def test_a_trace_prints_as_one_short_line() -> None:
    """A trace can have a million observations, which `repr` leaves out."""
    trace = recorded()

    assert repr(trace) == f"<Trace 'agent' {trace.trace_id}: success, {trace.duration_ms:,.1f} ms, 2 observations>"
    assert str(trace) == repr(trace)
    assert repr(Trace(trace_id="t", name="n")) == "<Trace 'n' t: running, 0 observations>"
