"""
Print the C functions that run in a call of a workload, by instructions: `python -m benchmarks.profile small`.

Needs valgrind. The counts are the differences between a long and a short run, per call.
"""

from __future__ import annotations

import argparse
import re
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from . import registry
from .instructions import LONG, SHORT, run
from .registry import WAYS, Case

SHOWN = 25
"""The functions that are printed."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the functions of one variant of a workload."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description="Print what a call executes.")
    parser.add_argument("workload")
    parser.add_argument("way", nargs="?", default="ours", choices=WAYS)
    options = parser.parse_args(arguments)
    case = registry.found(options.workload)
    if not isinstance(case, Case):
        parser.error(f"{options.workload} is not measured by calls")
    unit = min(case.calls, 200)
    short, long = (_functions(case.name, options.way, length * unit) for length in (SHORT, LONG))
    calls = (LONG - SHORT) * unit
    per_call = {name: (count - short[name]) / calls for name, count in long.items()}
    print(f"{sum(per_call.values()):10,.0f}  {case.name}, {options.way}: instructions per call")
    for name, count in Counter(per_call).most_common(SHOWN):
        print(f"{count:10,.0f}  {name}")


def _functions(workload: str, way: str, calls: int) -> Counter[str]:
    """Return the instructions of each function of a process that makes *calls* calls."""
    found: Counter[str] = Counter()
    with TemporaryDirectory() as folder:
        out = Path(folder, "out")
        run(workload, way, calls, out)
        command = ["callgrind_annotate", "--threshold=99.9", "--inclusive=no", "--auto=no", str(out)]
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for count, function in _LINE.findall(listed):
        place, _, library = function.partition(" [")
        name = place.rpartition(":")[2]
        if name.startswith("0x"):  # a function without a symbol
            name += f" [{library.rpartition('/')[2]}"
        found[name] += int(count.replace(",", ""))
    return found


_LINE = re.compile(r"^\s*([\d,]+) \(\s*[\d.]+%\)\s+(?!PROGRAM TOTALS)(\S+(?: \[\S+\])?)", re.MULTILINE)
"""A line of callgrind_annotate: the count, its share, the file and function, and the library."""


if __name__ == "__main__":
    main()
