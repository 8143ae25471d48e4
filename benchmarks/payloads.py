"""
The inputs and outputs of the measured calls: JSON as in agents, with English text, ids, links and scores.

They contain words that redaction must examine and must not mask: authors, token counts, "key point", "password".
"""

from __future__ import annotations

from random import Random
from typing import Any

QUERY = "Which of the trains from Paris to Lyon tomorrow morning still have seats?"
ANSWER = {"answer": "The 07:58 and the 09:58 do; the 08:58 is sold out.", "score": 0.87}
"""Together with `QUERY`, about 100 bytes of input and output."""

_SENTENCES = [
    "The museum opens at nine, except on Tuesdays, when the whole quarter seems to sleep in.",
    "A return ticket costs 48.50 euros and can be changed until the evening before.",
    "“Take the coast road,” she said, “it is slower, but you will see the islands.”",
    "According to the 2019 census, some 1,240,000 people live in the wider region.",
    "The key point of the report is that rainfall, not temperature, drives the harvest.",
    "Max reset his password twice and still could not reach the booking page.",
    "Café owners along the river (there are about thirty) share one bakery.",
    "It was unclear whether the bridge would be repaired before winter.",
    "Trains leave every twenty minutes; the last one, at 23:40, is often late.",
    "Bring water, a hat and something warm: above 2,000 metres the weather turns within the hour.",
    "The old harbour was filled in around 1880 and is now a square with plane trees.",
    "Most guides disagree on where the tower stood (on the hill, say some; by the gate, others).",
    "Children under six travel free of charge if they share a seat.",
    "In a survey of 312 visitors, two in three said they would come back.",
    "The market sells cheese, honey and, in autumn, more mushrooms than anyone can name.",
    "Please note that the reading room closes at 5 p.m. and that bags stay at the desk.",
    "Her latest book, written in eleven weeks, was praised for its patience.",
    "If the ferry is cancelled, a bus goes round by the north shore instead.",
    "Rents have risen by about 4% a year since the tram was extended.",
    "He describes the valley as it was before the dam, field by field and name by name.",
]

LARGE_BYTES = 20_000
"""The size of a large input or output, as JSON."""


def documents(seed: int, size: int = LARGE_BYTES) -> list[dict[str, Any]]:
    """Return the result of a retrieval: passages with their sources, about *size* bytes of JSON."""
    dice = Random(seed)
    found: list[dict[str, Any]] = []
    while size > 0:
        text = " ".join(dice.choices(_SENTENCES, k=9))
        found.append(
            {
                "id": f"doc-{dice.getrandbits(48):012x}",
                "url": f"https://example.org/guides/{len(found)}?lang=en#section-4",
                "author": "M. Keyes",
                "score": round(dice.random(), 4),
                "tokens": len(text) // 4,
                "text": text,
            }
        )
        size -= len(text.encode()) + 150
    return found


def messages(seed: int, size: int = LARGE_BYTES) -> list[dict[str, Any]]:
    """Return a conversation of about *size* bytes of JSON."""
    dice = Random(seed)
    conversation: list[dict[str, Any]] = [{"role": "system", "content": "You help people who travel. Be brief."}]
    while size > 0:
        text = " ".join(dice.choices(_SENTENCES, k=8))
        conversation.append({"role": ("user", "assistant")[len(conversation) % 2], "content": text})
        size -= len(text.encode()) + 40
    return conversation
