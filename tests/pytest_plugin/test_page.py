"""
The pages about pytest: the examples of each are one test file, which passes as it is.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def examples(page: str, mark: str = "") -> list[str]:
    return re.findall(rf"```python{mark}\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)


def test_the_examples_of_the_page_pass(pytester: pytest.Pytester) -> None:
    """All blocks together are a test file; the outline and the cassette are written first."""
    pytester.makepyfile(test_agent="\n\n".join(examples("pytest.md")))

    pytester.runpytest_inprocess("--fluxloop-update").assert_outcomes(passed=7)
    result = pytester.runpytest_inprocess("--fluxloop-record=none")

    result.assert_outcomes(passed=7)
    result.stdout.fnmatch_lines(["FluxLoop: 6 tests recorded 10 traces, 10 model calls, 1,000 tokens, $0.000*"])


def test_the_examples_of_moving_pass_after_it(pytester: pytest.Pytester) -> None:
    """With a cassette that is recorded and replayed; what was before is valid code."""
    pytester.makepyfile("\n\n".join(examples("moving-tests.md")))

    pytester.runpytest_inprocess().assert_outcomes(passed=4)
    pytester.runpytest_inprocess("--fluxloop-record=none", "--fluxloop-block-network").assert_outcomes(passed=4)

    before = examples("moving-tests.md", " no-run")
    assert len(before) == 4
    for code in before:
        ast.parse(code)
