"""
What recording costs, beside a hand-written floor in the same run.

`python -m benchmarks` measures and prints a table; `docs/benchmarks.md` says what is measured and how to read it.
"""
