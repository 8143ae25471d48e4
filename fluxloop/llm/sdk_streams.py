"""
Recognise the stream objects that model SDKs return, without importing the SDKs.

A *stream* yields the events of one answer by ``__next__`` or ``__anext__``. A *manager* is a context manager that
returns a stream when it is entered. Every helper of these classes (``until_done``, ``get_final_message``,
``get_final_response``, ``text_stream``) reads the stream through its class's ``__iter__`` or ``__next__``. A subclass
that overrides those two therefore sees all events, and `StreamFacts` needs no other source of the answer or its usage.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

StreamKind: TypeAlias = Literal["stream", "manager"]

_mro_of: Final = type.__dict__["__mro__"].__get__
_name_of: Final = type.__dict__["__name__"].__get__
_namespace_of: Final = type.__dict__["__dict__"].__get__


def stream_kind(cls: type) -> StreamKind | None:
    """
    Return whether instances of *cls* are SDK streams or managers of one; None if they are neither.

    A subclass is what its base class is. Only names are compared: no code of *cls* or of its metaclass runs.
    """
    for base in _mro_of(cls):
        modules = _KINDS.get(_name_of(base))
        if modules and type(module := _namespace_of(base).get("__module__")) is str:
            kind = modules.get(module) or modules.get(module[module.rfind(".") :])
            if kind:
                return kind
    return None


def register_stream_class(cls: type | str, *, is_manager: bool = False) -> None:
    """
    Let `stream_kind` recognise a class and its subclasses.

    Args:
        cls: The class, or its qualified name (``package.module.Class``).
        is_manager: Whether an instance is a context manager that returns the stream when it is entered.
    """
    module, _, name = (cls if isinstance(cls, str) else f"{cls.__module__}.{cls.__name__}").rpartition(".")
    _KINDS.setdefault(name, {})[module] = "manager" if is_manager else "stream"


_KINDS: dict[str, dict[str, StreamKind]] = {}
"""The kind by class name, then by module; ``._streaming`` matches the module of that name in any package."""

_STREAMS = {
    # Stainless generates these two classes into each of its SDKs. Those it exports name the package as their module.
    "._streaming": "Stream AsyncStream",
    **dict.fromkeys(("openai", "anthropic", "groq", "together", "cerebras.cloud.sdk"), "Stream AsyncStream"),
    "anthropic.lib.streaming._messages": "MessageStream AsyncMessageStream",
    "anthropic.lib.streaming._beta_messages": "BetaMessageStream BetaAsyncMessageStream",
    "anthropic.lib.tools._beta_runner": "BetaToolRunner BetaAsyncToolRunner",
    "openai.lib.streaming.chat._completions": "ChatCompletionStream AsyncChatCompletionStream",
    "openai.lib.streaming.responses._responses": "ResponseStream AsyncResponseStream",
    "openai.lib.streaming.agents._streams": "AgentSessionStream AsyncAgentSessionStream",
    "openai.lib.streaming._assistants": "AssistantEventHandler AsyncAssistantEventHandler",
    "google.genai._gaos.utils.eventstreaming": "Stream AsyncStream",
    "mistralai.utils.eventstreaming": "EventStream EventStreamAsync",
    "mistralai.client.utils.eventstreaming": "EventStream EventStreamAsync",
    "litellm.litellm_core_utils.streaming_handler": "CustomStreamWrapper",
}
_WITH_MANAGERS = ("._messages", "._beta_messages", "._completions", "._responses", "._assistants")
"""Modules that also define the manager of each of their streams."""

for _module, _names in _STREAMS.items():
    for _name in _names.split():
        register_stream_class(f"{_module}.{_name}")
        if _module.endswith(_WITH_MANAGERS):
            register_stream_class(f"{_module}.{_name.replace('EventHandler', 'Stream')}Manager", is_manager=True)
