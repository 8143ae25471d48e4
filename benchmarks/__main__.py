"""
Run workloads and print a table: `python -m benchmarks [workload ...]`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from . import aims, instructions, peers, registry
from .measuring import compared
from .registry import Case
from .results import Row
from .table import LEGEND, as_dict, machine, table


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the given workloads; return 1 if one has a fault. A missed target is shown, but is not a failure."""
    for name in [name for name in os.environ if name.startswith("FLUXLOOP_")]:
        del os.environ[name]  # the benchmarks measure the default settings
    known = list(registry.modules_of_workloads())
    parser = _parser(known)
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.workload if name not in known]:
        parser.error(f"unknown workload {unknown[0]!r}; the workloads are {', '.join(known)}")
    wanted = options.workload or (aims.workloads() if options.aims else known)
    about = machine()
    print(", ".join(f"{name} {value}" for name, value in about.items()), "", sep="\n")
    rows = list(_measured(wanted, options.quick))
    print(table(rows), LEGEND, sep="\n\n")
    counts = list(_counted(wanted)) if options.instructions else []
    if counts:
        print("\nInstructions per call, without the kernel:", "", table(counts), sep="\n")
    if options.aims:
        shown = aims.table(rows, counts)
        print("\nAims, as ratios in this run; bold where missed:", "", shown, sep="\n")
        if not (options.workload or options.quick or any(row.faults for row in rows)):
            aims.write(shown, about)
    others = list(peers.measured(options.peers, is_quick=options.quick)) if options.peers is not None else []
    if others:
        print(
            "\nCPU time that one traced call adds, per library, with a server that cannot be reached:",
            "",
            table(others, "library"),
            sep="\n",
        )
    if options.json:
        tables = {"rows": rows, "instructions": counts, "peers": others}
        results = {"machine": about, **{name: [*map(as_dict, each)] for name, each in tables.items()}}
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    return 1 if any(row.faults for row in rows) else 0


def _parser(known: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure the cost of recording.")
    parser.add_argument("workload", nargs="*", help=f"one or more of {', '.join(known)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="run a few rounds of each, to check that it works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results to FILE")
    parser.add_argument("--instructions", action="store_true", help="also count instructions (needs valgrind)")
    parser.add_argument(
        "--aims",
        action="store_true",
        help="print what was reached of the aims, and after a full run without faults write it to docs/benchmarks.md",
    )
    parser.add_argument(
        "--peers",
        nargs="*",
        metavar="PYTHON",
        help="also measure other tracing libraries, installed for this interpreter or for the given ones",
    )
    return parser


def _measured(names: Sequence[str], is_quick: bool) -> Iterator[Row]:
    for name in names:
        _show(name)
        try:
            workload = registry.found(name)
        except ModuleNotFoundError as exc:
            yield Row(name, note=f"skipped: {exc.name} is not installed")
            continue
        yield compared(workload, is_quick=is_quick) if isinstance(workload, Case) else workload(is_quick)


def _counted(names: Sequence[str]) -> Iterator[Row]:
    if not instructions.is_available():
        print("\nvalgrind is not installed, so instructions are not counted")
        return
    for case in [registry.CASES[name] for name in names if name in registry.CASES]:
        _show(f"{case.name}, counting instructions")
        yield instructions.counted(case)


def _show(name: str) -> None:
    """Show on a terminal which workload is running; the table is printed to standard output."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{name} ...", end="\r", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
