"""
Assemble a streamed model answer from its chunks.

The readers in the other modules of this package call a method of `Answer` for what each chunk adds: text, reasoning,
parts of tool calls, token counts. `Answer` returns the whole at any time: `text`, `message`, `facts`.
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
    One streamed answer, or several in a row if the stream continues with another model call.

    Token counts that a provider repeats for the same call replace each other. Those of different calls are added up.
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
        """Characters left out because of the limit."""
        self.has_pieces = False
        """Whether raw chunks of an SDK were read; the SDK's own events repeat them, and then add nothing."""
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

    # the answer so far

    def text(self) -> str | None:
        """Return the text so far; None if no chunk was of a kind that can add text."""
        return None if self._text is None else "".join(self._text)

    def message(self) -> JSON | None:
        """
        Return the answer as a message if it is more than text, else None.

        Returns:
            ``{"role": "assistant", "content": text}``, with ``reasoning``, ``refusal`` and ``tool_calls`` if there are
            any. Each tool call has ``id``, ``name`` and ``arguments``: an object, or the text received so far if that
            is not a complete JSON object.
        """
        more = {
            "reasoning": "".join(self._reasoning),
            "refusal": "".join(self._refusal),
            "tool_calls": [call.as_json() for call in self._calls],
        }
        more = {name: value for name, value in more.items() if value}
        return {"role": "assistant", "content": self.text() or "", **more} if more else None

    def facts(self) -> ModelFacts | None:
        """Return the facts about the call so far; None if there are none."""
        known = ModelFacts(
            usage=add_usage((self._finished, self._added, read_usage(self._latest))),
            model=self._model,
            provider=self._provider,
            finish_reasons=list(self._reasons.values()) or None,
            response_id=provider_id(self.response_id),
        )
        return known if known != ModelFacts() else None

    # what a chunk adds to the answer; each method returns the added text

    def add_text(self, piece: object) -> str:
        """Add *piece* to the text, if it is text; return "" for a chunk that could have had text."""
        if self._text is None:
            self._text = []
        text = text_of(piece)
        if not text:
            return ""
        self._keep(self._text, text)
        return text

    def add_reasoning(self, piece: object) -> str:
        """Add *piece* to the reasoning."""
        self._keep(self._reasoning, text_of(piece))
        return self.add_text(None)

    def add_refusal(self, piece: object) -> str:
        """Add *piece* to the refusal."""
        self._keep(self._refusal, text_of(piece))
        return self.add_text(None)

    def add_call(self, index: object, *, call_id: object = None, name: object = None, arguments: object = None) -> str:
        """
        Add to a tool call.

        Args:
            index: The call's index in this answer; None for a new call, or for the last one if id and name are None.
            call_id: The provider's id; a different id at the same index is a different call.
            name: The tool's name.
            arguments: The next piece of JSON text, or the whole as an object.
        """
        given_id, given_name = name_of(call_id), name_of(name)
        if index is None and not given_id and not given_name and self._calls:
            call: _Call | None = self._calls[-1]
        else:
            call = None if index is None else self._open_calls.get(index)
        if call is None or (given_id and call.id and call.id != given_id):
            call = self._open_calls[index] = _Call()
            self._calls.append(call)
        call.id, call.name = call.id or given_id, call.name or given_name
        if (piece := text_of(arguments)) is not None:
            self._keep(call.pieces, piece)
        elif arguments is not None:
            call.whole = arguments
        return self.add_text(None)

    def complete_call(
        self, index: object, *, call_id: object = None, name: object = None, arguments: object = None
    ) -> str:
        """Replace a tool call's arguments by *arguments*, an object or JSON text, which are complete."""
        if (known := self._open_calls.get(index)) is not None:
            known.pieces.clear()
        return self.add_call(index, call_id=call_id, name=name, arguments=arguments)

    # what a chunk reports about the model call

    def begin_response(self, response_id: object, *, new: bool = False) -> None:
        """
        Set the current response: a new model call, if the previous one has finished.

        Some servers give each chunk a different id, so a new id alone does not start a new call.

        Args:
            response_id: The provider's id of the response.
            new: Whether the provider announced a new response.
        """
        given = name_of(response_id)
        if new or (given and self.response_id and given != self.response_id and self._reasons):
            self._finished = add_usage((self._finished, read_usage(self._latest)))
            self._latest = {}
            self._reasons = {}
            self._open_calls = {}
        self.response_id = given or self.response_id

    def repeats(self, response_id: object) -> bool:
        """Return whether chunks of this response were read before, so that the complete response adds nothing."""
        return self._text is not None and self.response_id is not None and name_of(response_id) == self.response_id

    def set_model(self, item: object = None, *, model: object = None, provider: object = None) -> None:
        """Set the model, and the provider: *provider*, or the one whose client package defines the class of *item*."""
        self._model = name_of(model) or self._model
        self._provider = named_provider(provider) or self._provider or provider_of(item)

    def set_finish_reason(self, reason: object, choice: object = 0) -> None:
        """Set the finish reason of *choice*."""
        if given := name_of(reason):
            self._reasons[choice] = given

    def update_usage(self, usage: object) -> None:
        """Replace token counts of the call by those in *usage*, which are cumulative."""
        for name, number in fields(usage).items():
            if number is not None:
                self._latest[name] = number

    def set_facts(self, facts: ModelFacts) -> None:
        """Set the facts of a complete response, which replace those of its chunks."""
        self.begin_response(facts.response_id)
        self._model = facts.model or self._model
        self._provider = facts.provider or self._provider
        if facts.finish_reasons:
            self._reasons = dict(enumerate(facts.finish_reasons))
        if facts.usage:
            self._latest = dict(facts.usage)

    def add_usage(self, usage: object) -> None:
        """Add the token counts of one chunk, as in LangChain's chunks."""
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
    """A tool call that is being assembled."""

    __slots__ = ("id", "name", "pieces", "whole")

    def __init__(self) -> None:
        self.id: str | None = None
        self.name: str | None = None
        self.pieces: list[str] = []
        self.whole: object = None

    def as_json(self) -> JSON:
        """Return the call so far."""
        text = "".join(self.pieces)
        arguments = _parsed(text) if text else self.whole if self.whole is not None else {}
        return {"id": self.id, "name": self.name, "arguments": arguments}


def _parsed(text: str) -> JSON:
    """Return *text* as an object, or *text* itself if it is incomplete or anything else."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):  # a stream closed early leaves half an object
        return text
    return found if isinstance(found, dict) else text
