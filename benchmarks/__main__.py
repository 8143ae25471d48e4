"""
Measure and print: `python -m benchmarks [workload ...]`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from . import instructions, peers, registry
from .measuring import compared
from .registry import Case
from .results import Row
from .table import as_dict, machine, table


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for; 1 if something came out wrong. An aim that is missed is shown, and is no failure."""
    for name in [name for name in os.environ if name.startswith("FLUXLOOP_")]:
        del os.environ[name]  # what is measured are the defaults
    known = list(registry.modules_of_workloads())
    parser = _parser(known)
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.workload if name not in known]:
        parser.error(f"there is no workload {unknown[0]!r}; there are {', '.join(known)}")
    wanted = options.workload or known
    about = machine()
    print(", ".join(f"{name} {value}" for name, value in about.items()), "", sep="\n")
    rows = list(_measured(wanted, options.quick))
    print(table(rows))
    counts = list(_counted(wanted)) if options.instructions else []
    if counts:
        print("\nInstructions a call, outside the kernel:", "", table(counts), sep="\n")
    others = list(peers.measured(options.peers, is_quick=options.quick)) if options.peers is not None else []
    if others:
        print("\nOne span, beside other libraries whose server cannot be reached:", "", table(others), sep="\n")
    if options.json:
        tables = {"rows": rows, "instructions": counts, "peers": others}
        found = {"machine": about, **{name: [*map(as_dict, each)] for name, each in tables.items()}}
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    return 1 if any(row.faults for row in rows) else 0


def _parser(known: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="What recording costs, beside a floor.")
    parser.add_argument("workload", nargs="*", help=f"any of {', '.join(known)}; all without one")
    parser.add_argument("--quick", action="store_true", help="a few rounds of each: to see that it works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was found to FILE too")
    parser.add_argument("--instructions", action="store_true", help="count instructions as well (needs valgrind)")
    parser.add_argument(
        "--peers",
        nargs="*",
        metavar="PYTHON",
        help="other tracing libraries too, installed here or for these interpreters",
    )
    return parser


def _measured(names: Sequence[str], is_quick: bool) -> Iterator[Row]:
    for name in names:
        _say(name)
        try:
            workload = registry.found(name)
        except ModuleNotFoundError as exc:
            yield Row(name, note=f"left out: {exc.name} is not installed")
            continue
        yield compared(workload, is_quick=is_quick) if isinstance(workload, Case) else workload(is_quick)


def _counted(names: Sequence[str]) -> Iterator[Row]:
    if not instructions.is_available():
        print("\nvalgrind is not installed: no instructions counted")
        return
    for case in [registry.CASES[name] for name in names if name in registry.CASES]:
        _say(f"{case.name}, counting")
        yield instructions.counted(case)


def _say(name: str) -> None:
    """Show a person who waits what is being measured; the table itself goes to standard output."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{name} ...", end="\r", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
