"""
Judges: models that score a run, over any endpoint with OpenAI's chat completions.

A judge without a key is skipped, and reported so. Answers are cached by prompt and model: evaluating again costs
nothing. Requests run concurrently; 429 and 5xx are retried after ``Retry-After``, or with growing delays.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson

from ...reading.values import in_json
from ...redaction import MASK
from ..line_file import private
from ..run_data import Run
from .judge_answers import PARSERS, Answer
from .judge_requests import Endpoints, JudgeFailed, Requests, shown
from .scores import Score

SHORTEST_KEY = 12
"""Characters of a key that is masked in messages; local endpoints take words such as *ollama*."""

KEY_VARIABLES = ("FLUXLOOP_LLM_API_KEY", "OPENAI_API_KEY")
"""The environment variables that a key is read from, in this order."""

BASE_URL = "https://api.openai.com/v1"

DEFAULT_PROMPT = """You evaluate the answer of an AI agent.

Input:
{input}

Answer:
{output}

Expected answer (empty if there is none):
{expected}

How well does the answer serve the input? Reply with a number from 0 to 10 on the first line,
and "Reason: " with one sentence on the second line."""


@dataclass(frozen=True, slots=True)
class Judge:
    """A judge as it is configured."""

    name: str
    model: str
    prompt: str = DEFAULT_PROMPT
    parser: str = "first_number_1_10"
    max_score: float = 10.0
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of the request, such as ``temperature``."""
    base_url: str | None = None
    api_key_env: str | None = None
    """The variable with the key, where it is not one of `KEY_VARIABLES`."""
    weight: float = 1.0
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Further values for placeholders of the prompt."""

    def key(self, given: str | None) -> str | None:
        """Return the key: *given*, or that of the environment; None if there is none."""
        names = (self.api_key_env,) if self.api_key_env else KEY_VARIABLES
        return given or next((value for name in names if (value := os.environ.get(name))), None)

    def url(self) -> str:
        """Return the address of the chat completions."""
        base = self.base_url or os.environ.get("FLUXLOOP_LLM_BASE_URL") or os.environ.get("OPENAI_BASE_URL") or BASE_URL
        return f"{base.rstrip('/')}/chat/completions"

    def filled(self, run: Run) -> str:
        """Return the prompt for *run*: each ``{placeholder}`` replaced, other braces as they are."""
        prompt = self.prompt
        values = {**dict.fromkeys(_PLACEHOLDERS, ""), **self.metadata, **_values(run)}
        pieces = prompt.split("{")
        filled = [pieces[0]]
        for piece in pieces[1:]:
            name, end, rest = piece.partition("}")
            filled.append(f"{_text(values[name])}{rest}" if end and name in values else "{" + piece)
        return "".join(filled)


_PLACEHOLDERS = ("guidelines", "policy_context", "requirements", "supporting_data", "knowledge_base")
"""Placeholders that are empty unless ``metadata`` of the judge has them."""


def _values(run: Run) -> dict[str, Any]:
    row = run.data
    return {
        "input": row.get("input"),
        "output": run.output,
        "expected": row.get("expected"),
        "persona": run.persona,
        "iteration": row.get("iteration"),
        "trace_id": run.row.trace_id,
        "metadata": row.get("metadata"),
        "history": row.get("conversation"),
        "tools": [f"{call.name}({_text(call.arguments)}) -> {_text(call.output)}" for call in run.tools],
        "error": run.error,
    }


class Cache:
    """
    Answers by prompt, model and parameters, in a file of JSON lines; each is on disk when it is received.

    Args:
        path: The file; None keeps the answers in memory.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._answers: dict[str, str] = {}
        if path and path.is_file():
            for line in path.read_bytes().splitlines():
                try:
                    entry = orjson.loads(line)
                    self._answers[entry["key"]] = entry["answer"]
                except (orjson.JSONDecodeError, KeyError, TypeError):
                    continue  # a line that was cut off

    def get(self, key: str) -> str | None:
        """Return the answer under *key*."""
        return self._answers.get(key)

    def put(self, key: str, answer: str, model: str) -> None:
        """Keep an answer."""
        self._answers[key] = answer
        if self._path:
            with open(self._path, "ab", opener=private) as file:
                file.write(orjson.dumps({"key": key, "model": model, "answer": answer}) + b"\n")


class JudgeClient:
    """
    Sends the requests of judges.

    Args:
        cache: Where answers are kept.
        api_key: The key; None reads the environment.
        concurrency: Requests at a time.
        timeout_s: Seconds that a request may take.
        max_calls: Requests in all; judges are skipped after that.
        endpoints: Which addresses do not work, if other clients asked before.
    """

    def __init__(
        self,
        cache: Cache,
        *,
        api_key: str | None = None,
        concurrency: int = 8,
        timeout_s: float = 60.0,
        max_calls: int | None = None,
        endpoints: Endpoints | None = None,
    ) -> None:
        self.calls = 0
        """Requests that were sent, without repetitions."""
        self._cache = cache
        self._api_key = api_key
        self._left = max_calls
        self._running = asyncio.Semaphore(concurrency)
        self._endpoints = endpoints or Endpoints()
        self._requests = Requests(timeout_s, self._endpoints)

    async def __aenter__(self) -> JudgeClient:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._requests.close()

    async def score(self, judge: Judge, run: Run) -> Score:
        """Return what *judge* finds in *run*. Failures of the judge become a score with an error."""
        body = {**judge.parameters, "model": judge.model, "messages": [{"role": "user", "content": judge.filled(run)}]}
        identity = sha256(orjson.dumps([judge.url(), body], option=orjson.OPT_SORT_KEYS, default=str)).hexdigest()
        text = self._cache.get(identity)
        if text is None:
            key = judge.key(self._api_key)
            if key is None:
                variables = judge.api_key_env or " or ".join(KEY_VARIABLES)
                return Score(judge.name, skipped=True, reason=f"no API key: set {variables}")
            if self._left is not None and self._left <= 0:
                return Score(judge.name, skipped=True, reason="limits.max_llm_calls is reached")
            if self._left is not None:
                self._left -= 1
            try:
                text = await self._answer(judge, body, key)
            except JudgeFailed as failure:
                problem = str(failure)
                if len(key) >= SHORTEST_KEY:  # an endpoint may quote it, and not every key looks like a secret
                    problem = problem.replace(key, MASK)
                return Score(judge.name, error=problem)
            self._cache.put(identity, text, judge.model)
        answer = PARSERS[judge.parser](text, judge.max_score)
        if answer is None:
            return Score(judge.name, error=f"the judge's answer has no score ({judge.parser}): {text[:200]!r}")
        return _score(judge, answer)

    async def _answer(self, judge: Judge, body: Mapping[str, Any], key: str) -> str:
        async with self._running:
            self._endpoints.check(judge.url())
            self.calls += 1
            answer = await self._requests.answer(judge.url(), body, key)
        try:
            content = orjson.loads(answer)["choices"][0]["message"]["content"]
        except (orjson.JSONDecodeError, KeyError, IndexError, TypeError):
            raise JudgeFailed(f"the endpoint did not answer with a chat completion: {shown(answer)!r}") from None
        if not isinstance(content, str) or not content.strip():
            raise JudgeFailed("the judge's answer is empty")
        return content


def _score(judge: Judge, answer: Answer) -> Score:
    return Score(judge.name, answer.score, passed=answer.passed, value=answer.value, reason=answer.reason)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else in_json(value)
