"""
Convert values of other libraries: the second half of the table in `fluxloop.encoding.converters`.

Classes are recognised by their names, so that nothing is imported here. Arrays and tables are recorded in full while
they are small. Messages and documents get the field names that providers use. Clients, requests, stores and other
arguments that are not data are recorded by name only: they reference half the program.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from .introspection import MASK, Converter, Shortened, is_secret, name_of, namespace, own, qualname, tag

SMALL_ARRAY = 1_000
"""Cells up to which an array or a table is recorded in full: a list of scores is, a table of embeddings is not."""
HEAD = 20
"""Items, or rows, shown of a larger one."""
WIDTH = 50
"""Columns shown of a larger table."""


def pydantic(cls: type) -> Converter:
    """Convert models of pydantic 1 and 2 as stored: `model_dump` would drain their generators and read their files."""
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
    """Convert small objects to their class and these attributes; those that are None or empty are left out."""

    def read(value: object) -> object:
        found: dict[str, object] = {"__class__": qualname(type(value))}
        for name in names:
            item = getattr(value, name, None)
            if _is_set(item):
                found[name] = item
        return found

    return read


def _is_set(value: object) -> bool:
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
    """Convert agents and tools to ``<Agent Triage>``: their instructions and schemas are the same in every record."""
    return tag(value, (own(value, "__dict__") or {}).get("name"))


def read_message(value: Any, *, with_metadata: bool = False) -> object:
    """
    Return a LangChain message as role, content, tool_calls and its other fields, without empty ones.

    Args:
        value: A message of any of LangChain's classes; any other object is returned as it is.
        with_metadata: Whether id, usage_metadata and response_metadata are included.
    """
    held = getattr(value, "__dict__", None)
    if not held or "content" not in held:
        return value
    return read_fields(held, with_metadata=with_metadata)


def read_fields(held: Mapping[str, Any], *, with_metadata: bool = False) -> dict[str, Any]:
    """Do as `read_message`, for the fields of a message."""
    kind: Any = held.get("type")
    found: dict[str, Any] = {"role": held.get("role") or _ROLES.get(kind, kind), "content": held["content"]}
    for name in _FIELDS.get(kind, ()):
        if item := held.get(name):
            found[name] = item
    if calls := found.get("tool_calls"):
        found["tool_calls"] = [{name: item for name, item in call.items() if name != "type"} for call in calls]
    if found.get("status") == "success":
        del found["status"]
    if given_name := held.get("name"):
        found["name"] = given_name
    if extra := held.get("additional_kwargs"):
        _add_extra(found, extra)
    if with_metadata:
        about = held.get("response_metadata") or {}  # without log probabilities, ratings and a second copy of the usage
        found["id"], found["usage_metadata"] = held.get("id"), held.get("usage_metadata")
        found["response_metadata"] = {name: item for name, item in about.items() if isinstance(item, str | int | float)}
        return {name: item for name, item in found.items() if name == "content" or _is_set(item)}
    return found


def _add_extra(found: dict[str, Any], extra: Mapping[str, Any]) -> None:
    """Add the fields that are not LangChain's, except the provider's form of the tool calls."""
    if reasoning := extra.get("reasoning_content"):
        found["reasoning"] = reasoning
    other = {name: item for name, item in extra.items() if name not in ("reasoning_content", "tool_calls") and item}
    if other:
        found["additional_kwargs"] = other


_ROLES = {
    "human": "user",
    "ai": "assistant",
    "HumanMessageChunk": "user",
    "AIMessageChunk": "assistant",
    "SystemMessageChunk": "system",
    "ToolMessageChunk": "tool",
    "FunctionMessageChunk": "function",
}
"""The roles of LangChain's message types; other types are recorded by their own name."""
_ANSWER = ("tool_calls", "invalid_tool_calls")
_RESULT = ("tool_call_id", "artifact", "status")
_FIELDS = {"ai": _ANSWER, "AIMessageChunk": _ANSWER, "tool": _RESULT, "ToolMessageChunk": _RESULT, "remove": ("id",)}
"""The fields of a message by its type, beside role, content and name."""


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
    "langchain_core.messages.base.BaseMessage": partial(read_message, with_metadata=True),
    "langchain_core.documents.base.Document": _document,
    "langgraph.types.Command": labelled("graph", "update", "resume", "goto"),
    "langgraph.types.Send": labelled("node", "arg"),
    "langgraph.types.Interrupt": labelled("value", "id"),
    **_all(_named, "agents.agent.AgentBase", "agents.tool.FunctionTool", "langchain_core.tools.base.BaseTool"),
    # arguments of calls that are not data
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
"""``module.Class``, as the class itself names it, to converter."""
