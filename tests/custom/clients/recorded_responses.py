"""
Real responses of OpenAI and Anthropic, recorded by the authors of langchain-openai and langchain-anthropic.

Their source distributions have them as cassettes of VCR, below ``tests/cassettes`` (MIT license, Copyright LangChain,
Inc.). A small selection with every form of response is beside this file; `in_folder` reads all of them.

``python tests/custom/clients/recorded_responses.py FOLDER`` makes the selection from the unpacked distributions.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

SELECTION = Path(__file__).with_suffix(".jsonl.gz")
LARGEST = 40_000
"""Bytes of a request and its response in the selection."""


@dataclass(frozen=True)
class Recorded:
    """One request and its response."""

    name: str
    api: str
    """chat, responses, embeddings or messages."""
    request: dict[str, Any]
    response: str

    @property
    def is_stream(self) -> bool:
        """Whether the response is a stream of events."""
        return bool(self.request.get("stream"))

    def shape(self) -> frozenset[str]:
        """Return what is special about the response: the types and members in it."""
        lines = self.response.splitlines() if self.is_stream else [f"data: {self.response}"]
        found = {f"{self.api} {self.is_stream}"}
        for line in lines:
            if line.startswith("data: {"):
                found |= set(_members(json.loads(line.removeprefix("data: "))))
        return frozenset(f"{self.api} {each}" for each in found)


def _members(value: Any, path: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        kind = value.get("type") or value.get("object")
        path = f"{path}:{kind}" if isinstance(kind, str) else path
        for name, item in value.items():
            if item not in (None, [], {}):
                yield f"{path.rpartition('.')[2]}.{name}"
            yield from _members(item, f"{path.rpartition('.')[2]}.{name}")
    elif isinstance(value, list):
        for item in value:
            yield from _members(item, path)


def in_folder(folder: Path) -> Iterator[Recorded]:
    """Yield the recorded model calls below *folder*, from VCR's cassettes."""
    from ruamel.yaml import YAML

    for file in sorted(folder.rglob("cassettes/*.yaml.gz")):
        tape = YAML(typ="safe").load(gzip.decompress(file.read_bytes()).decode())
        for number, (request, response) in enumerate(zip(tape["requests"], tape["responses"], strict=True)):
            body, text = request.get("body") or b"", response["body"].get("string") or b""
            try:
                asked = json.loads(body)
                answered = text.decode() if isinstance(text, bytes) else text
            except ValueError:
                continue  # a file that the program loaded
            if isinstance(asked, dict) and "model" in asked and response["status"]["code"] == 200:
                name = f"{file.name.removesuffix('.yaml.gz')}-{number}"
                yield Recorded(name, _api(file, asked), asked, answered)


def _api(file: Path, request: dict[str, Any]) -> str:
    if "anthropic" in str(file.parent.parent.parent.name):
        return "messages"
    if str(request["model"]).startswith("text-embedding"):
        return "embeddings"
    return "chat" if "messages" in request else "responses"


def selection() -> list[Recorded]:
    """Return the responses beside this file."""
    with gzip.open(SELECTION, "rt", encoding="utf-8") as lines:
        return [Recorded(**json.loads(line)) for line in lines]


def selected(found: Iterable[Recorded]) -> Iterator[Recorded]:
    """Yield the smallest responses that together have every shape."""
    seen: set[str] = set()
    for one in sorted(found, key=lambda each: len(each.response)):
        size = len(one.response) + len(json.dumps(one.request))
        if size <= LARGEST and not one.shape() <= seen:
            seen |= one.shape()
            yield one


if __name__ == "__main__":
    kept = list(selected(in_folder(Path(sys.argv[1]))))
    text = "".join(f"{json.dumps(asdict(one))}\n" for one in kept)
    SELECTION.write_bytes(gzip.compress(text.encode(), mtime=0))
    print(len(kept), "responses,", SELECTION.stat().st_size, "bytes")  # noqa: T201
