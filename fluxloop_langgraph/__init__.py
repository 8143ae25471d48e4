"""
Record LangGraph runs: wrap one graph, and see its nodes, its interrupts, its retries and what changed its state.

    from fluxloop_langgraph import wrap_graph

    graph = wrap_graph(builder.compile())
"""

from __future__ import annotations

from fluxloop.bridge import require

require("langgraph.graph", extra="langgraph", by=__name__)

from .graph import unwrap_graph, wrap_graph  # noqa: E402 - after the requirement
from .nodes import trace_node  # noqa: E402
from .waiting import Interruption, interruptions, waiting  # noqa: E402

__all__ = ["Interruption", "interruptions", "trace_node", "unwrap_graph", "waiting", "wrap_graph"]
