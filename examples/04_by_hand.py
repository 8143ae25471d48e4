"""Manual instrumentation: a block, an event, a session, and a thread pool."""

import fluxloop
from fluxloop.testing import capture, outline


def search(query: str) -> list[str]:
    with fluxloop.observe("search", "retrieval", input={"query": query}) as obs:
        obs.output = [f"a page about {query}"]
        return obs.output or []


with capture() as captured, fluxloop.instrument("nightly", session_id="2026-01-17", tags=["batch"]) as ctx:
    with fluxloop.ContextThreadPoolExecutor(max_workers=2) as pool:
        found = list(pool.map(search, ["cats"]))
    fluxloop.event("searched", metadata={"queries": len(found)})
    ctx.add_metadata("found", len(found))

(trace,) = captured.traces()
print(outline(trace))
print(trace.session_id, trace.tags, trace.metadata)

# prints:
# SPAN nightly
#   RETRIEVAL search -> ['a page about cats']
#   EVENT searched
# 2026-01-17 ['batch'] {'found': 1}
