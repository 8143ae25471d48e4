"""
The page about pytest: its examples are one test file, which passes as it is.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "pytest.md"


def test_the_examples_of_the_page_pass(pytester: pytest.Pytester) -> None:
    """All blocks together are a test file; the outline is written first."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    pytester.makepyfile("\n\n".join(blocks))

    pytester.runpytest_inprocess("--fluxloop-update").assert_outcomes(passed=4)
    result = pytester.runpytest_inprocess()

    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["FluxLoop: 4 tests recorded 8 traces, 8 model calls, 800 tokens, $0.000*"])
