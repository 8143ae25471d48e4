"""
Conversations of several turns: what was said, and the supervisor that plays the user.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..errors import ConfigError
from .binding import Offer
from .configuration.models import ExperimentConfig, Supervisor

REQUEST_TIMEOUT_S = 60
"""Seconds for one decision of a model."""


@dataclass(slots=True)
class Conversation:
    """The turns of a run."""

    turns: list[dict[str, Any]] = field(default_factory=list)
    termination_reason: str | None = None

    def add(self, role: str, content: Any, source: str, metadata: Mapping[str, Any]) -> None:
        """Append a turn."""
        self.turns.append(
            {
                "turn_index": len(self.turns),
                "role": role,
                "content": content,
                "source": source,
                "metadata": dict(metadata),
            }
        )

    def messages(self) -> list[dict[str, Any]]:
        """Return the turns as messages with ``role`` and ``content``."""
        return [{"role": turn["role"], "content": turn["content"]} for turn in self.turns]

    def state(self, metadata: Mapping[str, Any]) -> dict[str, Any]:
        """Return the conversation as an agent receives it."""
        return {"turns": self.messages(), "metadata": dict(metadata), "context": {}}


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows an answer of the agent."""

    next_message: str | None = None
    """The next message of the user; None ends the conversation."""
    reason: str | None = None
    closing: str | None = None

    @classmethod
    def ended(cls, reason: str) -> Decision:
        """Return the end of the conversation."""
        return cls(reason=reason)


class Supervising(Protocol):
    """Plays the user of a conversation."""

    async def decide(self, conversation: Conversation, offer: Offer) -> Decision:
        """Return what the user does after the last turn."""

    async def close(self) -> None:
        """Close connections."""


def supervisor_of(config: ExperimentConfig) -> Supervising | None:
    """
    Return the configured supervisor; None if runs have a single turn.

    Raises:
        ConfigError: If it needs a key that is not set.
    """
    if not config.multi_turn.enabled:
        return None
    chosen = config.multi_turn.supervisor
    return ScriptedSupervisor(chosen) if chosen.provider == "mock" else ModelSupervisor(config)


class ScriptedSupervisor:
    """Asks the questions of a script, then ends the conversation; without a script it decides the same each time."""

    def __init__(self, config: Supervisor) -> None:
        given = config.metadata
        self._script = [str(question) for question in given.get("scripted_questions") or []]
        self._continues = given.get("mock_decision", "terminate") == "continue" and not self._script
        self._next = str(given.get("mock_next_user_message") or "Please continue.")
        self._reason = str(given.get("mock_reason") or "script_complete")
        self._closing = given.get("mock_closing")

    async def decide(self, conversation: Conversation, offer: Offer) -> Decision:
        """Return the next question of the script."""
        asked = sum(turn["source"] == "supervisor" for turn in conversation.turns)
        if asked < len(self._script):
            return Decision(self._script[asked])
        if self._continues:
            return Decision(self._next)
        return Decision(reason=self._reason, closing=None if self._closing is None else str(self._closing))

    async def close(self) -> None:
        """Do nothing."""


INSTRUCTIONS = """You play the user of an AI agent, to test it. Read the conversation and decide what the user does.
Answer with one JSON object:
{"decision": "continue" or "terminate", "next_user_message": text or null, "termination_reason": text or null,
 "closing_user_message": text or null}
Terminate when the user's goal is reached, or cannot be reached."""


class ModelSupervisor:
    """
    Lets a model decide, over any endpoint that understands OpenAI's chat completions.

    Raises:
        ConfigError: If no key is set for OpenAI's own endpoint.
    """

    def __init__(self, config: ExperimentConfig) -> None:
        import httpx

        chosen = config.multi_turn.supervisor
        base_url = chosen.base_url or os.environ.get("OPENAI_BASE_URL") or "https://api.openai.com/v1"
        names = ("FLUXLOOP_SUPERVISOR_API_KEY", "OPENAI_API_KEY")
        key = chosen.api_key or chosen.metadata.get("api_key") or next(filter(None, map(os.environ.get, names)), None)
        if not key and "api.openai.com" in base_url:
            raise ConfigError(
                f"multi_turn.supervisor needs a key: set {' or '.join(names)}, or use provider: mock with "
                "metadata.scripted_questions, which needs none"
            )
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.AsyncClient(base_url=base_url, headers=headers, timeout=REQUEST_TIMEOUT_S)
        self._config, self._chosen = config, chosen

    async def decide(self, conversation: Conversation, offer: Offer) -> Decision:
        """
        Ask the model.

        Raises:
            RuntimeError: If the endpoint fails or the answer is not a decision; the run fails with it.
        """
        import httpx

        body: dict[str, Any] = {
            "model": self._chosen.model,
            "messages": [
                {"role": "system", "content": self._instructions(offer)},
                {"role": "user", "content": json.dumps(conversation.messages(), ensure_ascii=False, default=str)},
            ],
            "response_format": {"type": "json_object"},
        }
        if self._chosen.temperature is not None:
            body["temperature"] = self._chosen.temperature
        try:
            response = await self._client.post("/chat/completions", json=body)
            response.raise_for_status()
            answer = json.loads(response.json()["choices"][0]["message"]["content"])
            decision = answer["decision"]
        except httpx.HTTPStatusError as exc:
            raise RuntimeError(f"the supervisor's endpoint answered {exc.response.status_code}") from None
        except httpx.HTTPError as exc:
            raise RuntimeError(f"the supervisor's endpoint cannot be reached: {exc or type(exc).__name__}") from None
        except (ValueError, KeyError, TypeError, IndexError):
            raise RuntimeError("the supervisor did not answer with a decision") from None
        if decision == "continue" and answer.get("next_user_message"):
            return Decision(str(answer["next_user_message"]))
        return Decision(
            reason=str(answer.get("termination_reason") or "terminated"), closing=answer.get("closing_user_message")
        )

    def _instructions(self, offer: Offer) -> str:
        override = self._config.multi_turn.persona_override
        persona = override or (offer.persona.prompt if offer.persona else "")
        service = self._config.metadata.get("service_context")
        parts = [self._chosen.system_prompt or INSTRUCTIONS]
        if persona:
            parts.append(f"The user:\n{persona}")
        if service:
            parts.append(f"The service:\n{service}")
        return "\n\n".join(parts)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
