"""
Record LangGraph runs: wrap one graph, and see its nodes, its interrupts, its retries and what changed its state.

    from fluxloop_langgraph import wrap_graph

    graph = wrap_graph(builder.compile())
"""

from __future__ import annotations

try:
    import langgraph.graph as _langgraph  # noqa: F401
except ModuleNotFoundError as missing:
    if missing.name not in ("langgraph", "langgraph.graph"):
        raise
    raise ModuleNotFoundError(
        "fluxloop_langgraph needs 'langgraph', which is not installed.\n    pip install 'fluxloop[langgraph]'",
        name=missing.name,
    ) from None

from .graph import unwrap_graph, wrap_graph
from .nodes import trace_node
from .waiting import Interruption, interruptions, waiting

__all__ = ["Interruption", "interruptions", "trace_node", "unwrap_graph", "waiting", "wrap_graph"]
