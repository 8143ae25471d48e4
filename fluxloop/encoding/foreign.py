"""
What becomes what, continued: the types of other people's libraries.

They are recognised by the names of their classes, so nothing is imported here. Numbers in bulk are shown in full
while they are few, messages and documents in the words of the field. Clients, requests, stores and the other things a
call is handed besides its data are only named: they hold half the program.
"""

from __future__ import annotations

from typing import Any

from .introspection import MASK, Converter, Shortened, is_secret, name_of, namespace, own, qualname, tag

SMALL_ARRAY = 1_000
"""Cells up to which an array or a table is recorded in full: a list of scores is, a table of embeddings is not."""
HEAD = 20
"""Items, or rows, shown of a larger one."""
WIDTH = 50
"""Columns shown of a larger table."""


def pydantic(cls: type) -> Converter:
    """Models of either generation, as stored: `model_dump` would drain their generators and read their files."""
    own_fields = namespace(cls)
    # in the order of newest pydantic, 2.7 to 2.9, 1
    spellings = (own_fields.get(name) for name in ("__pydantic_fields__", "model_fields", "__fields__"))
    fields = next((found for found in spellings if isinstance(found, dict)), {})
    hidden = {name for name, field in fields.items() if getattr(getattr(field, "field_info", field), "exclude", None)}
    secret = {name: MASK for name, field in fields.items() if _is_secret_field(field)}

    def read(value: object) -> object:
        held = dict.copy(object.__getattribute__(value, "__dict__"))
        held.update(own(value, "__pydantic_extra__") or {})
        for name in hidden:
            held.pop(name, None)
        return held | {name: mask for name, mask in secret.items() if name in held} if secret else held

    return read


def _is_secret_field(field: Any) -> bool:
    return any(map(is_secret, (getattr(field, "annotation", None), *(getattr(field, "metadata", None) or ()))))


def labelled(*names: str) -> Converter:
    """Small objects that need their class beside them; what is None or empty is left out."""

    def read(value: object) -> object:
        held = {name: getattr(value, name, None) for name in names}
        return {"__class__": qualname(type(value))} | {name: item for name, item in held.items() if _says(item)}

    return read


def _says(value: object) -> bool:
    return value is not None and not (type(value) in (list, dict, tuple) and not value)


def _scalar(value: Any) -> object:
    plain = value.item()
    return str(value) if type(plain) is type(value) else plain


def _array(value: Any) -> object:
    if value.size <= SMALL_ARRAY:
        return value.tolist()
    return _bulk(value, value.flat[:HEAD] if hasattr(value, "flat") else value[:HEAD])


def _bulk(value: Any, head: Any) -> Shortened:
    about = {"__class__": name_of(type(value)), "dtype": str(value.dtype), "shape": value.shape}
    return Shortened(about | {"head": head.tolist()})


def _series(value: Any) -> object:
    if value.size > SMALL_ARRAY:
        return _bulk(value, value.iloc[:HEAD])
    if type(value.index).__name__ == "RangeIndex":
        return value.tolist()
    return dict(zip(value.index.tolist(), value.tolist(), strict=False))


def _frame(value: Any) -> object:
    small = value.size <= SMALL_ARRAY
    part = value if small else value.iloc[:HEAD, :WIDTH]
    shown = {"columns": part.columns.tolist(), "data": list(part.itertuples(index=False, name=None))}
    if type(value.index).__name__ != "RangeIndex":
        shown = {"index": part.index.tolist(), **shown}
    return shown if small else Shortened({"__class__": name_of(type(value)), "shape": value.shape, **shown})


def _tensor(value: Any) -> str:
    # Its numbers may lie on another device; asking for them would wait for it.
    return tag(value, f"{value.dtype} {list(value.shape)}")


def _named(value: Any) -> str:
    """Agents and tools: ``<Agent Triage>``. Their instructions and schemas are the same in every record."""
    return tag(value, (own(value, "__dict__") or {}).get("name"))


def _message(value: Any) -> object:
    """LangChain messages, in the words of the field: role, content, tool_calls, … without what is empty."""
    held = own(value, "__dict__")
    role = held.get("role") or _ROLES.get(held["type"], held["type"])
    message = {"role": role, "content": held.get("content")}
    if calls := held.get("tool_calls"):
        message["tool_calls"] = [{name: item for name, item in call.items() if name != "type"} for call in calls]
    for name in _MESSAGE_FIELDS:
        if _says(item := held.get(name)):
            message[name] = item
    if held.get("status") == "error":
        message["status"] = "error"
    if extra := held.get("additional_kwargs"):  # `tool_calls` in there is the provider's spelling of the same
        message["additional_kwargs"] = {
            name: item for name, item in extra.items() if not (calls and name == "tool_calls")
        }
    if about := held.get("response_metadata"):  # log probabilities, ratings and the usage once more stay behind
        message["response_metadata"] = {k: v for k, v in about.items() if isinstance(v, str | int | float)}
    return message


_MESSAGE_FIELDS = ("invalid_tool_calls", "tool_call_id", "name", "id", "usage_metadata", "artifact")
_ROLES = {
    "human": "user",
    "ai": "assistant",
    "HumanMessageChunk": "user",
    "AIMessageChunk": "assistant",
    "SystemMessageChunk": "system",
    "ToolMessageChunk": "tool",
    "FunctionMessageChunk": "function",
}
"""LangChain's message types, in the words providers use; the others are called the same."""


def _document(value: Any) -> object:
    held = own(value, "__dict__")
    return {name: held[name] for name in ("id", "page_content", "metadata") if held.get(name) is not None}


def _masked(_: object) -> str:
    return "**********"


def _nothing(_: object) -> None:
    return None


def _all(converter: Converter, *names: str) -> dict[type | str, Converter]:
    return dict.fromkeys(names, converter)


LIBRARY_TYPES: dict[type | str, Converter] = {
    # pydantic's own types; its models are recognised by their fields, see `converters`
    **_all(_masked, "pydantic.types._SecretBase", "pydantic.types.SecretStr", "pydantic.types.SecretBytes"),
    **_all(_masked, "pydantic.types.SecretField", "pydantic.v1.types.SecretField"),
    **_all(_masked, "pydantic.v1.types.SecretStr", "pydantic.v1.types.SecretBytes", "starlette.datastructures.Secret"),
    **_all(str, "pydantic.networks._BaseUrl", "pydantic_core._pydantic_core.Url", "httpx.URL", "yarl.URL"),
    "pydantic.root_model.RootModel": lambda value: value.__dict__["root"],
    # numbers in bulk
    "numpy.generic": _scalar,
    "numpy.ndarray": _array,
    **_all(_frame, "pandas.DataFrame", "pandas.core.frame.DataFrame"),
    **_all(_series, "pandas.Series", "pandas.core.series.Series"),
    **_all(_array, "pandas.Index", "pandas.core.indexes.base.Index"),
    **_all(_nothing, "pandas.api.typing.NaTType", "pandas._libs.tslibs.nattype.NaTType"),
    **_all(_nothing, "pandas.api.typing.NAType", "pandas._libs.missing.NAType"),
    "torch.Tensor": _tensor,
    # what agents pass around
    "langchain_core.messages.base.BaseMessage": _message,
    "langchain_core.documents.base.Document": _document,
    "langgraph.types.Command": labelled("graph", "update", "resume", "goto"),
    "langgraph.types.Send": labelled("node", "arg"),
    "langgraph.types.Interrupt": labelled("value", "id"),
    **_all(_named, "agents.agent.AgentBase", "agents.tool.FunctionTool", "langchain_core.tools.base.BaseTool"),
    # what a call is handed besides its data
    **_all(
        tag,
        "agents.run_context.RunContextWrapper",
        "agents.tool_context.ToolContext",
        "aiohttp.client.ClientSession",
        "aiohttp.web_request.BaseRequest",
        "anthropic._base_client.BaseClient",
        "asyncio.events.AbstractEventLoop",
        "chatkit.agents.AgentContext",
        "django.http.request.HttpRequest",
        "langchain_core.callbacks.base.BaseCallbackHandler",
        "langchain_core.callbacks.base.BaseCallbackManager",
        "langchain_core.runnables.base.Runnable",
        "langchain_core.runnables.base.RunnableSerializable",
        "langgraph.checkpoint.base.BaseCheckpointSaver",
        "langgraph.prebuilt.tool_node.ToolRuntime",
        "langgraph.runtime.Runtime",
        "langgraph.store.base.BaseStore",
        "logging.Handler",
        "logging.Logger",
        "openai._base_client.BaseClient",
        "PIL.Image.Image",
        "queue.Queue",
        "requests.sessions.Session",
        "sqlalchemy.engine.base.Engine",
        "sqlalchemy.orm.session.Session",
        "starlette.applications.Starlette",
        "starlette.requests.HTTPConnection",
        "subprocess.Popen",
        "threading.Thread",
        "unittest.mock.Base",
        "werkzeug.local.LocalProxy",
        "werkzeug.wrappers.request.Request",
    ),
}
"""``module.Class``, as the class gives its own name, to reader."""
