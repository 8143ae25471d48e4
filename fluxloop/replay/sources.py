"""
Find the recorded traces that a replay answers from.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from os import PathLike

from ..enums import SCHEMA_VERSION
from ..errors import ReplayError
from ..models import Trace
from ..reading import read_traces

Recorded = str | PathLike[str] | Trace | Iterable[Trace]
"""Where recorded traces are: a file, a folder, the address of a server, a trace, or several."""


def traces_in(source: Recorded, trace_id: str | None) -> list[Trace]:
    """
    Return the traces of *source*, or the one with this id.

    Raises:
        ReplayError: If there is none, or several with this part of an id, or one in a newer record format.
    """
    if isinstance(source, Trace):
        traces = [source]
    else:
        traces = list(read_traces(os.fspath(source)) if isinstance(source, str | PathLike) else source)
    where = source if isinstance(source, str | PathLike) else "the given traces"
    if trace_id is not None:
        part = trace_id.strip().removeprefix("…")  # the commands print the end of an id, some of them after an ellipsis
        found = [trace for trace in traces if trace.trace_id.startswith(part) or trace.trace_id.endswith(part)]
        if not found:
            raise ReplayError(
                f"expected a trace whose id begins or ends with {part!r} in {where}, found none. "
                "List the ids with: fluxloop list"
            )
        exact = [trace for trace in found if trace.trace_id == part]
        if len(found) > 1 and not exact:
            raise ReplayError(
                f"expected one trace whose id begins or ends with {part!r} in {where}, found {len(found)}. "
                "Give more of the id"
            )
        traces = exact or found
    if not traces:
        raise ReplayError(f"expected a trace in {where}, found none. Record a run first")
    for trace in traces:
        if trace.schema_version > SCHEMA_VERSION:
            raise ReplayError(
                f"trace {trace.trace_id} in {where} has the record format {trace.schema_version}, and this version of "
                f"FluxLoop reads formats up to {SCHEMA_VERSION}: update FluxLoop"
            )
    return traces
