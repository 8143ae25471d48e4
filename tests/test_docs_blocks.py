"""`docs_blocks` runs pages and reports failures with line number and diff."""

from __future__ import annotations

import re
import textwrap

import pytest
from docs_blocks import blocks, run, unlike


@pytest.fixture
def failures_of(tmp_path):
    """Write a page, run it, and return its failures."""

    def failures_of(text: str) -> list[str]:
        page = tmp_path / "page.md"
        page.write_text(textwrap.dedent(text))
        return list(run(page))

    return failures_of


def test_a_page_runs_in_order_and_in_one_namespace(failures_of):
    """
    A block can use names that earlier blocks defined, and its output is compared with the output block after it.
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

    assert failures_of(page) == []


def test_output_that_differs_is_shown_as_a_diff(failures_of):
    """
    The diff marks only the line that differs.
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

    [failure] = failures_of(page)
    assert failure.startswith("page.md:3: unexpected output")
    assert failure.endswith(" one\n-three\n+two")


def test_an_error_is_reported_at_the_line_of_the_page(failures_of):
    """
    The traceback contains the name of the page and the line number.
    """
    page = """
    # A title

    ```python
    x = 1
    x / 0
    ```
    """

    [failure] = failures_of(page)
    assert re.search(r'page\.md", line 6, in <module>\n +x / 0\n', failure)


def test_a_block_marked_raises_must_raise(failures_of):
    """
    The last line of the error counts as output; a block that does not raise is a failure.
    """
    raises = """
    ```python raises
    raise ValueError("no such colour")
    ```
    ```text output
    ValueError: no such …
    ```
    """

    assert failures_of(raises) == []
    assert failures_of("```python raises\n1 + 1\n```\n") == ["page.md:2: did not raise\n"]


def test_a_block_marked_no_run_is_skipped(failures_of):
    """
    The block is not executed.
    """
    assert failures_of("```python no-run\nraise SystemError  # needs an API key\n```\n") == []


@pytest.mark.parametrize(("language", "text"), [("json", '{"a": NaN'), ("toml", "a = = 1")])
def test_data_that_does_not_parse_is_a_failure(failures_of, language, text):
    """
    JSON and TOML blocks must parse.
    """
    [failure] = failures_of(f"```{language}\n{text}\n```\n")
    assert failure.startswith(f"page.md:2: invalid {language}")


def test_a_command_that_fails_is_a_failure(failures_of):
    """
    The `fluxloop` lines of a shell block run, and must succeed.
    """
    page = """
    ```bash
    cd somewhere-else
    $ fluxloop no-such-command
    ```
    """

    [failure] = failures_of(page)
    assert "'fluxloop no-such-command' ended with" in failure


@pytest.mark.parametrize(
    ("expected", "printed"),
    [
        ("TOOL search 12 ms", "TOOL search 3.75 ms"),
        ("AGENT a   1.2s\n  TOOL b 300 ms", "AGENT a 17s\n  TOOL b   3 ms"),
        ("id …, and done", "id 0b8f-77, and done"),
        ("one\ntwo\n", "one  \ntwo\n\n"),
    ],
)
def test_durations_spaces_and_ellipses_match(expected, printed):
    """
    Durations, spaces inside a line, text in place of `…`, and trailing whitespace may differ.
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
def test_names_indentation_and_numbers_must_be_equal(expected, printed):
    """
    Names, indentation, numbers without a unit of time, and missing lines may not differ.
    """
    assert unlike(expected, printed) != ""


def test_blocks_in_lists_are_unindented_and_outputs_belong_to_the_block_before():
    """
    A block in a list is unindented, and an output block belongs only to the block directly before it.
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
