"""Pages run as programs, and one that is wrong is found out: at its own line, with what differs."""

from __future__ import annotations

import re
import textwrap

import pytest
from docs_blocks import blocks, run, unlike


@pytest.fixture
def wrong(tmp_path):
    """Write a page, run it, and return what is wrong with it."""

    def wrong(text: str) -> list[str]:
        page = tmp_path / "page.md"
        page.write_text(textwrap.dedent(text))
        return list(run(page))

    return wrong


def test_a_page_runs_in_order_and_in_one_namespace(wrong):
    """
    A block sees what the blocks above it defined, and its output is compared with the one below.
    """
    page = """
    ```python
    x = 20
    ```
    and then
    ```python
    print(x + 1)
    ```

    ```text output
    21
    ```
    """

    assert wrong(page) == []


def test_output_that_differs_is_shown_as_a_diff(wrong):
    """
    Of several lines only the one that differs is marked.
    """
    page = """
    ```python
    print("one")
    print("two")
    ```
    ```text output
    one
    three
    ```
    """

    [complaint] = wrong(page)
    assert complaint.startswith("page.md:3: prints something else")
    assert complaint.endswith(" one\n-three\n+two")


def test_an_error_is_reported_at_the_line_of_the_page(wrong):
    """
    The traceback names the page and the line in it.
    """
    page = """
    # A title

    ```python
    x = 1
    x / 0
    ```
    """

    [complaint] = wrong(page)
    assert re.search(r'page\.md", line 6, in <module>\n +x / 0\n', complaint)


def test_a_block_marked_raises_has_to_raise(wrong):
    """
    The error's last line counts as printed; a block that ends well is a complaint.
    """
    raises = """
    ```python raises
    raise ValueError("no such colour")
    ```
    ```text output
    ValueError: no such …
    ```
    """

    assert wrong(raises) == []
    assert wrong("```python raises\n1 + 1\n```\n") == ["page.md:2: was to raise, and did not\n"]


def test_a_block_marked_no_run_is_left_out(wrong):
    """
    Nothing of it is executed.
    """
    assert wrong("```python no-run\nraise SystemError  # for want of a key\n```\n") == []


@pytest.mark.parametrize(("language", "text"), [("json", '{"a": NaN'), ("toml", "a = = 1")])
def test_data_that_does_not_parse_is_a_complaint(wrong, language, text):
    """
    JSON and TOML blocks are what they claim to be.
    """
    [complaint] = wrong(f"```{language}\n{text}\n```\n")
    assert complaint.startswith(f"page.md:2: is no {language}")


def test_a_command_that_fails_is_a_complaint(wrong):
    """
    Of a shell block the `fluxloop` lines run, and have to end well.
    """
    page = """
    ```bash
    cd somewhere-else
    $ fluxloop no-such-command
    ```
    """

    [complaint] = wrong(page)
    assert "'fluxloop no-such-command' ended with" in complaint


@pytest.mark.parametrize(
    ("expected", "printed"),
    [
        ("TOOL search 12 ms", "TOOL search 3.75 ms"),
        ("AGENT a   1.2s\n  TOOL b 300 ms", "AGENT a 17s\n  TOOL b   3 ms"),
        ("id …, and done", "id 0b8f-77, and done"),
        ("one\ntwo\n", "one  \ntwo\n\n"),
    ],
)
def test_what_may_vary_is_alike(expected, printed):
    """
    Durations, runs of spaces inside a line, whatever `…` stands for, and what cannot be seen.
    """
    assert unlike(expected, printed) == ""


@pytest.mark.parametrize(
    ("expected", "printed"),
    [
        ("TOOL search 12 ms", "TOOL find 12 ms"),
        ("  indented", "indented"),
        ("12 steps", "13 steps"),
        ("one\n…", "one"),
        ("a.c", "abc"),
    ],
)
def test_what_may_not_vary_is_not_alike(expected, printed):
    """
    Names, indentation, numbers that are no durations, missing lines.
    """
    assert unlike(expected, printed) != ""


def test_blocks_know_their_place():
    """
    A block in a list is unindented, and an output block belongs to the block right above it only.
    """
    page = "1. first\n   ```python no-run\n   x = 1\n   ```\n\nprose\n\n```text output\nlost\n```\n"

    first, second = blocks(page)
    assert (first.language, first.marks, first.code, first.line, first.output) == (
        "python",
        {"no-run"},
        "x = 1\n",
        3,
        None,
    )
    assert second.code == "lost\n"
