"""
The main job: a small agent answers a question from FluxLoop's own documentation, and leaves its trace in ./traces.

Everything is real but the model: async code, two tools at once, threads that read the documents, a tool that
fails and is tried again, and an answer that streams. Read the trace afterwards with ``fluxloop view``.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import fluxloop

DOCUMENTS = Path(__file__).resolve().parent.parent / "docs"
attempts = 0


def words(text: str) -> list[str]:
    return re.findall(r"[a-z]{4,}", text.lower())


@fluxloop.trace(observation_type="retrieval")
def read(document: Path, question: str) -> list[dict[str, object]]:
    """Score each paragraph of one document by the words it shares with the question."""
    wanted = set(words(question))
    paragraphs = [p for p in document.read_text(encoding="utf-8").split("\n\n") if p[0:1].isalpha()]
    scored = [{"text": p, "from": document.name, "score": len(wanted & set(words(p)))} for p in paragraphs]
    return sorted(scored, key=lambda hit: -int(str(hit["score"])))[:1]


@fluxloop.tool(description="Searches the documentation, one thread per page.")
def search(question: str) -> list[dict[str, object]]:
    pages = sorted(DOCUMENTS.glob("*.md"))[:6]
    with fluxloop.ContextThreadPoolExecutor(max_workers=4) as pool:
        hits = [hit for found in pool.map(read, pages, [question] * len(pages)) for hit in found]
    return sorted(hits, key=lambda hit: -int(str(hit["score"])))[:2]


@fluxloop.tool
async def opening_hours(of: str) -> str:
    """Fail the first time, as services do."""
    global attempts
    attempts += 1
    await asyncio.sleep(0.02)
    if attempts == 1:
        raise TimeoutError(f"{of} did not answer within 20 ms")
    return "always open"


@fluxloop.prompt(model="scripted-1", provider="examples")
async def answer(question: str, sources: list[dict[str, object]]) -> AsyncIterator[str]:
    """Stand in for a model: quote the best source, a word at a time."""
    for word in str(sources[0]["text"]).split()[:24]:
        await asyncio.sleep(0.005)
        yield word + " "


async def patient(of: str) -> str:
    try:
        return await opening_hours(of)
    except TimeoutError as problem:
        fluxloop.event("retrying", metadata={"because": str(problem)})
        return await opening_hours(of)


@fluxloop.agent(name="DocsAgent")
async def ask(question: str) -> str:
    sources, hours = await asyncio.gather(asyncio.to_thread(search, question), patient("the help desk"))
    text = "".join([word async for word in answer(question, sources)])
    return f"{text.strip()} … (help desk: {hours})"


if __name__ == "__main__":
    print(
        asyncio.run(ask(" ".join(sys.argv[1:]) or "What happens to finished observations when the process is killed?"))
    )
