"""
Benchmarks: the cost of recording, compared with a minimal recorder written by hand.

`python -m benchmarks` prints a table; `docs/benchmarks.md` explains the workloads and the columns.
"""
