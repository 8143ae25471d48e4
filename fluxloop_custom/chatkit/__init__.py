"""
Record the responses of a ChatKit server, with the thread's id as the session.

    from fluxloop_custom.chatkit import stream_agent_response, traced_respond
"""

from __future__ import annotations

from fluxloop.bridge import require

require("chatkit", extra="chatkit", by=__name__)

from .respond import stream_agent_response, traced_respond  # noqa: E402 - after the requirement

__all__ = ["stream_agent_response", "traced_respond"]
