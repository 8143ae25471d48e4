"""
One request of a model's client while it is recorded: on its own observation, or on that of the function around it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any
from weakref import WeakKeyDictionary

from fluxloop import Status
from fluxloop.bridge import (
    NOTHING,
    Execution,
    StreamFacts,
    StreamItems,
    add_whole,
    follow,
    is_followed,
    read_facts,
    was_raised_from_outside,
)
from fluxloop.llm.token_counts import add_usage

from . import unparsed
from .requests import Request, tools


class ClientCall(ABC):
    """A request of a client while it runs."""

    def __init__(self, request: Request, node: Execution) -> None:
        self.request = request
        self.node = node
        """The call whose observation it is recorded on."""

    @property
    def is_streamed(self) -> bool:
        """Whether a stream was asked for."""
        return self.request.is_streamed

    @abstractmethod
    def enter(self) -> None:
        """Make it current."""

    @abstractmethod
    def leave(self) -> None:
        """Restore what was current before."""

    def returned(self, value: Any) -> Any:
        """Return *value*, the method's result, and end the call with it, or follow the stream that it is."""
        self.leave()
        try:
            return unparsed.watch(self, value) if unparsed.is_unparsed(value) else self.parsed(value)
        except Exception as exc:
            if was_raised_from_outside(exc):
                raise
            self.node.trace.recorder.record_failure("ending it", exc)
            return value

    def parsed(self, value: Any) -> Any:
        """As `returned`, for a value that is not an HTTP response."""
        if not self.is_streamed:
            self.answered(value)
            return value
        if not is_followed(value):
            self.answered(None)
            return value
        followed = self.follow(value)
        if followed is value:
            open_streams[value] = self
        return followed

    @abstractmethod
    def follow(self, stream: Any) -> Any:
        """Return *stream*, or what replaces it, and let the call end with it."""

    @abstractmethod
    def answered(self, response: Any) -> None:
        """End it with *response*, of the SDK's class or as JSON; None if that is not known."""

    @abstractmethod
    def raised(self, exc: BaseException) -> None:
        """End it: the method raised *exc*."""

    @abstractmethod
    def failed(self, exc: BaseException) -> None:
        """End it with the outcome of *exc*: no more is read of the response."""


open_streams: WeakKeyDictionary[Any, ClientCall] = WeakKeyDictionary()
"""The calls of the SDKs' streams."""


def stop_reading(stream: Any, exc: BaseException | None) -> None:
    """End the call of *stream*, whose consumer closes it, because of *exc* or because it needs no more."""
    call = open_streams.pop(stream, None)
    if call is not None:
        call.failed(exc or GeneratorExit())


class RecordedCall(ClientCall):
    """A request with an observation of its own."""

    def enter(self) -> None:
        """Make it current, and record what is asked."""
        self.node.enter()
        observation = self.node.observation
        if observation is not None:
            observation.set_fields(**self.request.fields())
            if offered := tools(self.request.body):
                observation.add_metadata(**offered)

    def leave(self) -> None:
        """See `ClientCall.leave`."""
        self.node.leave()

    def follow(self, stream: Any) -> Any:
        """See `ClientCall.follow`."""
        return follow(self.node, stream)

    def answered(self, response: Any) -> None:
        """See `ClientCall.answered`."""
        self.node.end(Status.SUCCESS, self._read(response))

    def raised(self, exc: BaseException) -> None:
        """See `ClientCall.raised`; what the response said before parsing it failed is recorded."""
        self.node.leave()
        status_code = vars(exc).get("status_code", vars(exc).get("code"))
        if self.node.observation is not None and isinstance(status_code, int):
            self.node.observation.add_metadata(status_code=status_code)
            if isinstance(body := vars(exc).get("body"), dict):
                add_whole(self.node.observation, body=body)
        if self.request.seen:
            self.node.failed_with(exc, self._read(self.request.seen[-1]))
        else:
            self.node.failed(exc)

    def failed(self, exc: BaseException) -> None:
        """See `ClientCall.failed`."""
        self.node.failed(exc)

    def _read(self, response: Any) -> object:
        """Record what *response* reports, and return the answer in it."""
        observation = self.node.observation
        if observation is None or response is None:
            return NOTHING
        recorder = self.node.trace.recorder
        try:
            if recorder.settings.replayable and recorder.captures_output:
                received = self.request.seen[-1] if self.request.seen else response
                add_whole(observation, value={"json": json_of(self.request.plain(received))})
            response = self.request.plain(response)
            facts = read_facts(response)
            if facts is not None:
                observation.set_fields(usage=facts.usage, model=facts.model, finish_reasons=facts.finish_reasons)
                if facts.response_id:
                    observation.add_metadata(response_id=facts.response_id)
            return self.request.endpoint.answer(response) if recorder.captures_output else NOTHING
        except Exception as exc:
            if was_raised_from_outside(exc):
                raise
            recorder.record_failure("reading a response", exc)
            return NOTHING


def json_of(response: Any) -> Any:
    """Return an object of an SDK as the JSON that it was made from; other values as they are."""
    dump = getattr(response, "model_dump", None)
    return response if dump is None else dump(mode="json", exclude_unset=True, by_alias=True, warnings=False)


class ClientStreamItems(StreamItems):
    """The items of a client's stream, without the HTTP response around each."""

    def __init__(self, observation: Any, request: Request) -> None:
        super().__init__(observation)
        self.request = request
        recorder = observation.trace.recorder
        self.whole: list[Any] | None = [] if recorder.settings.replayable and recorder.captures_output else None
        """The items as JSON, for an exact replay."""

    def on_item(self, item: Any, offset_ns: int) -> None:
        """See `StreamItems.on_item`."""
        plain = self.request.plain(item)
        super().on_item(plain, offset_ns)
        if self.whole is not None and self.items_left > 0:
            self.whole.append(json_of(plain))

    def output(self, ended: str, returned: object) -> object:
        """See `StreamItems.output`."""
        output = super().output(ended, returned)
        if self.whole:
            add_whole(self.observation, items=self.whole)
        self.observation.set_fields(provider=self.request.provider)
        facts = self.facts.facts()
        if facts is not None and facts.response_id:
            self.observation.add_metadata(response_id=facts.response_id)
        return output


class MergedCall(ClientCall):
    """A request inside a function with `prompt`: it completes what that records; also its own stream's observer."""

    def __init__(self, request: Request, node: Execution) -> None:
        super().__init__(request, node)
        self.facts = StreamFacts()
        self.first_item_ms: float | None = None
        self.is_merged = False

    def enter(self) -> None:
        """The function around it is current."""

    def leave(self) -> None:
        """See `enter`."""

    def follow(self, stream: Any) -> Any:
        """See `ClientCall.follow`."""
        return follow(self, stream)

    def answered(self, response: Any) -> None:
        """See `ClientCall.answered`."""
        self._merge(read_facts(self.request.plain(response)) if response is not None else None)

    def raised(self, exc: BaseException) -> None:
        """See `ClientCall.raised`."""
        self.answered(self.request.seen[-1] if self.request.seen else None)

    def failed(self, exc: BaseException) -> None:
        """See `ClientCall.failed`."""
        self._merge(self.facts.facts())

    def resume(self) -> None:
        """See `enter`."""

    def pause(self) -> None:
        """See `enter`."""

    def on_item(self, item: Any) -> Any:
        """Read *item* of the stream and return it."""
        observation = self.node.observation
        if self.first_item_ms is None and observation is not None:
            elapsed_ns = self.node.trace.recorder.tick() - observation.started
            self.first_item_ms = elapsed_ns // 1_000 / 1_000
        self.facts.on_item(self.request.plain(item))
        return item

    def exhausted(self, value: Any, closed: bool = False) -> Any:
        """Merge what the stream reported."""
        self._merge(self.facts.facts())
        return value

    def succeeded(self, value: Any) -> None:
        """See `exhausted`."""
        self._merge(self.facts.facts())

    def dropped(self) -> None:
        """See `exhausted`."""
        self._merge(self.facts.facts())

    def _merge(self, facts: Any) -> None:
        """Complete the observation around it; token counts of several requests are added up."""
        observation = self.node.observation
        if observation is None or self.is_merged:
            return
        self.is_merged = True
        known = observation.fields or {}
        found = {**self.request.fields(), "time_to_first_token_ms": self.first_item_ms}
        if facts is not None:
            usage = add_usage((known.get("usage"), facts.usage))
            found |= {"model": facts.model or self.request.model, "finish_reasons": facts.finish_reasons}
            observation.set_fields(usage=usage)
        observation.set_fields(**{name: value for name, value in found.items() if known.get(name) is None})
