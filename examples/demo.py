"""
The demo: a small agent answers a question from the documentation of FluxLoop, and is recorded in ./traces.

Only the model is simulated. The agent has async code, two concurrent tools, threads that read the documents, a tool
that fails and is retried, and a streamed answer. Show the trace afterwards with ``fluxloop view``.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import fluxloop

DOCUMENTS = Path(__file__).resolve().parent.parent / "docs"
PAGES = ("concepts.md", "record-format.md", "redaction.md", "storage.md", "streams.md", "threads-and-processes.md")
attempts = 0


def words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]{4,}", text.lower()))


@fluxloop.trace(observation_type="retrieval")
def read(page: str, question: str) -> dict[str, object]:
    """Return the paragraph of a page that shares the most words with the question."""
    paragraphs = (DOCUMENTS / page).read_text(encoding="utf-8").split("\n\n")
    scored = [
        (len(words(question) & words(text)) ** 2 / (len(words(text)) + 1), text)
        for text in paragraphs
        if text[:1].isalpha()
    ]
    score, best = max(scored)
    return {"page": page, "score": round(score, 2), "text": best}


@fluxloop.tool(description="Searches the documentation, with one thread per page.")
def search(question: str) -> list[dict[str, object]]:
    pages = [page for page in PAGES if (DOCUMENTS / page).exists()]
    with fluxloop.ContextThreadPoolExecutor(max_workers=4) as pool:
        hits = list(pool.map(read, pages, [question] * len(pages)))
    return sorted(hits, key=lambda hit: -float(str(hit["score"])))[:2]


@fluxloop.tool
async def opening_hours(of: str) -> str:
    """Fail at the first call, like an unreliable service."""
    global attempts
    attempts += 1
    await asyncio.sleep(0.02)
    if attempts == 1:
        raise TimeoutError(f"{of} did not answer within 20 ms")
    return "always open"


@fluxloop.prompt(model="scripted-1", provider="examples")
async def answer(question: str, sources: list[dict[str, object]]) -> AsyncIterator[str]:
    """Simulate a model: stream the best source word by word."""
    for word in str(sources[0]["text"]).split()[:20]:
        await asyncio.sleep(0.005)
        yield word + " "


async def with_retry(of: str) -> str:
    try:
        return await opening_hours(of)
    except TimeoutError as problem:
        fluxloop.event("retrying", metadata={"because": str(problem)})
        return await opening_hours(of)


@fluxloop.agent(name="DocsAgent")
async def ask(question: str) -> str:
    sources, hours = await asyncio.gather(asyncio.to_thread(search, question), with_retry("the help desk"))
    text = "".join([word async for word in answer(question, sources)])
    return f"{text.strip()} … (help desk: {hours})"


if __name__ == "__main__":
    print(asyncio.run(ask(" ".join(sys.argv[1:]) or "What is lost when a process is killed?")))
