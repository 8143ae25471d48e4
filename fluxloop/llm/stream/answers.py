"""
Put together what a streamed model answer says, piece by piece.

An `Answer` is told what each piece adds - text, reasoning, parts of tool calls, counts - and gives the
whole at any time: `text`, `message`, `facts`. Which piece adds what is the subject of the readers beside this module.
"""

from __future__ import annotations

import json
from typing import Any, TypeAlias

from ..fields import Fields, fields, name_of, text_of
from ..response_facts import ModelFacts, named_provider, provider_id, provider_of
from ..token_counts import add_usage, read_usage

JSON: TypeAlias = Any

LIMIT_CHARS = 1_000_000
"""Characters of text, reasoning and arguments kept of one stream, as a stream may never end."""


class Answer:
    """
    One streamed answer; or several in a row, where the stream goes on with another model call.

    Counts a provider repeats (each a newer state of the same call) replace one another, those of
    different calls are added up: each call counts once.
    """

    __slots__ = (
        "_added",
        "_calls",
        "_finished",
        "_latest",
        "_model",
        "_open_calls",
        "_provider",
        "_reasoning",
        "_reasons",
        "_refusal",
        "_room",
        "_text",
        "cut_chars",
        "has_pieces",
        "response_id",
    )

    def __init__(self, *, limit_chars: int = LIMIT_CHARS) -> None:
        self.cut_chars = 0
        """Characters that were not kept, for the limit."""
        self.has_pieces = False
        """Whether an SDK's raw pieces were seen; its own events, which repeat them, then add nothing."""
        self.response_id: str | None = None
        self._room = limit_chars
        self._text: list[str] | None = None
        self._reasoning: list[str] = []
        self._refusal: list[str] = []
        self._calls: list[_Call] = []
        self._open_calls: dict[object, _Call] = {}
        self._added: dict[str, int] | None = None
        self._latest: Fields = {}
        self._finished: dict[str, int] | None = None
        self._model: str | None = None
        self._provider: str | None = None
        self._reasons: dict[object, str] = {}

    # what has come so far

    def text(self) -> str | None:
        """Return the text so far; None if no piece was of a kind that can add text."""
        return None if self._text is None else "".join(self._text)

    def message(self) -> JSON | None:
        """
        Return the answer as a message where it is more than text, else None.

        Returns:
            ``{"role": "assistant", "content": text}`` and those there are of ``reasoning``, ``refusal`` and
            ``tool_calls`` (each with ``id``, ``name`` and ``arguments``: an object, or the text as it stands
            where it is no complete JSON object).
        """
        more = {
            "reasoning": "".join(self._reasoning),
            "refusal": "".join(self._refusal),
            "tool_calls": [call.as_json() for call in self._calls],
        }
        more = {name: value for name, value in more.items() if value}
        return {"role": "assistant", "content": self.text() or "", **more} if more else None

    def facts(self) -> ModelFacts | None:
        """Return what is known of the call so far; None if nothing is."""
        known = ModelFacts(
            usage=add_usage((self._finished, self._added, read_usage(self._latest))),
            model=self._model,
            provider=self._provider,
            finish_reasons=list(self._reasons.values()) or None,
            response_id=provider_id(self.response_id),
        )
        return known if known != ModelFacts() else None

    # what a piece adds; each returns the text it adds

    def say(self, piece: object) -> str:
        """Add *piece* to the text, if it is text; "" says that text could have been here."""
        if self._text is None:
            self._text = []
        text = text_of(piece)
        if not text:
            return ""
        self._keep(self._text, text)
        return text

    def think(self, piece: object) -> str:
        """Add *piece* to the reasoning."""
        self._keep(self._reasoning, text_of(piece))
        return self.say(None)

    def refuse(self, piece: object) -> str:
        """Add *piece* to the refusal."""
        self._keep(self._refusal, text_of(piece))
        return self.say(None)

    def call(self, index: object, *, call_id: object = None, name: object = None, arguments: object = None) -> str:
        """
        Add to a tool call.

        Args:
            index: Which call of this answer; None for a new one, or for the last one if neither id nor name is given.
            call_id: The provider's id; another one under the same index is another call.
            name: The tool's name.
            arguments: The next piece of JSON text, or the whole as an object.
        """
        told_id, told_name = name_of(call_id), name_of(name)
        if index is None and not told_id and not told_name and self._calls:
            call: _Call | None = self._calls[-1]
        else:
            call = None if index is None else self._open_calls.get(index)
        if call is None or (told_id and call.id and call.id != told_id):
            call = self._open_calls[index] = _Call()
            self._calls.append(call)
        call.id, call.name = call.id or told_id, call.name or told_name
        if (piece := text_of(arguments)) is not None:
            self._keep(call.pieces, piece)
        elif arguments is not None:
            call.whole = arguments
        return self.say(None)

    def end_call(self, index: object, *, call_id: object = None, name: object = None, arguments: object = None) -> str:
        """Settle a tool call: *arguments*, an object or JSON text, are all of it."""
        if (known := self._open_calls.get(index)) is not None:
            known.pieces.clear()
        return self.call(index, call_id=call_id, name=name, arguments=arguments)

    # what a piece tells of the call

    def turn_to(self, response_id: object, *, new: bool = False) -> None:
        """
        Go on with the response *response_id*: with the next model call, if the one before has finished.

        A server that gives every chunk another id has not finished in between; *new* says that the
        provider announced a new response.
        """
        told = name_of(response_id)
        if new or (told and self.response_id and told != self.response_id and self._reasons):
            self._finished = add_usage((self._finished, read_usage(self._latest)))
            self._latest = {}
            self._reasons = {}
            self._open_calls = {}
        self.response_id = told or self.response_id

    def repeats(self, response_id: object) -> bool:
        """Whether pieces of the response of this id were seen before, so that the whole of it adds nothing."""
        return self._text is not None and self.response_id is not None and name_of(response_id) == self.response_id

    def learn(self, item: object = None, *, model: object = None, provider: object = None) -> None:
        """Note the model, and the provider: as named, or the one whose client package made *item*."""
        self._model = name_of(model) or self._model
        self._provider = named_provider(provider) or self._provider or provider_of(item)

    def stop(self, reason: object, choice: object = 0) -> None:
        """Note why *choice* ended."""
        if told := name_of(reason):
            self._reasons[choice] = told

    def count(self, usage: object) -> None:
        """Note the call's counts as they stand now: what *usage* gives replaces what was given before."""
        for name, number in fields(usage).items():
            if number is not None:
                self._latest[name] = number

    def settle(self, facts: ModelFacts) -> None:
        """Note what a whole result tells; it replaces what the pieces of the same call told."""
        self.turn_to(facts.response_id)
        self._model = facts.model or self._model
        self._provider = facts.provider or self._provider
        if facts.finish_reasons:
            self._reasons = dict(enumerate(facts.finish_reasons))
        if facts.usage:
            self._latest = dict(facts.usage)

    def add(self, usage: object) -> None:
        """Add counts that belong to this piece alone, as LangChain's chunks give them."""
        self._added = add_usage((self._added, read_usage(usage)))

    def _keep(self, pieces: list[str], piece: str | None) -> None:
        if not piece:
            return
        if len(piece) > self._room:
            self.cut_chars += len(piece) - self._room
            piece = piece[: self._room]
        self._room -= len(piece)
        if piece:
            pieces.append(piece)


class _Call:
    """A tool call that is being put together."""

    __slots__ = ("id", "name", "pieces", "whole")

    def __init__(self) -> None:
        self.id: str | None = None
        self.name: str | None = None
        self.pieces: list[str] = []
        self.whole: object = None

    def as_json(self) -> JSON:
        """Return the call as it stands."""
        text = "".join(self.pieces)
        arguments = _parsed(text) if text else self.whole if self.whole is not None else {}
        return {"id": self.id, "name": self.name, "arguments": arguments}


def _parsed(text: str) -> JSON:
    """Return the object *text* spells, or *text* itself where it was cut off or is something else."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):  # a stream closed early leaves half an object
        return text
    return found if isinstance(found, dict) else text
