"""
Read recorded messages of any provider: roles, text, reasoning, tool calls, and notes for images and other files.

The forms are those that OpenAI (Chat Completions and Responses), Anthropic, Google GenAI, Amazon Bedrock, LangChain and
the Agents SDK take and return. All functions read decoded JSON, and none raises, whatever was recorded.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, NamedTuple

from ..encoding.introspection import CUT
from .media import file_note

Kind = Literal["text", "call", "reasoning", "note", "data"]


class Part(NamedTuple):
    """A part of a message."""

    kind: Kind
    value: Any
    """Text; the arguments of a call, decoded if they are JSON; the words of a note; any JSON of the kind ``data``."""
    name: str = ""
    """The tool of a call; the kind of a file; the type of a block of an unknown kind."""


class Message(NamedTuple):
    """A message, or a group of items that a model returned together."""

    role: str
    parts: list[Part]
    name: str = ""
    """The tool, or the participant, that the message is from."""


def last_message(items: list[Any]) -> tuple[Message, int] | None:
    """
    Return the last message of a list, and the number of items before it; None if an item is not a message.

    The list may have a marker for messages that were left out.
    """
    if not are_messages(items):
        return None
    first = len(items) - 1
    while first and _continues(items[first - 1], items[first]):
        first -= 1
    (message,) = grouped(items[first:])
    return message, first


def are_messages(items: list[Any]) -> bool:
    """Whether *items* are messages, perhaps with a marker for those that were left out, and the last is one."""
    if not items or role_of(items[-1]) is None:
        return False
    return all(role_of(item) is not None or _is_marker(item) for item in items)


def _is_marker(item: Any) -> bool:
    return isinstance(item, str) and item.startswith(CUT)


def role_of(item: Any) -> str | None:
    """Return the role of a message or item; None if *item* is neither."""
    if not isinstance(item, dict):
        return None
    role, kind = item.get("role"), item.get("type")
    if isinstance(role, str) and not _MESSAGE_FIELDS.isdisjoint(item):
        return _role_of_blocks(item, role) if type(item.get("content")) is list else role
    if not isinstance(kind, str) or isinstance(role, str):
        return None
    if kind in _OTHER_ITEMS:
        return _OTHER_ITEMS[kind]
    if "content" in item and kind != "reasoning" and not kind.endswith("_result"):
        return kind
    if kind == "reasoning" and ("summary" in item or "content" in item):
        return "assistant"
    if kind.endswith("_output") and "output" in item:
        return "tool"
    if kind in _CALL_ITEMS or (kind.endswith("_call") and ("id" in item or "call_id" in item)):
        return "assistant"
    return None


_OTHER_ITEMS = {
    "item_reference": "…",
    "mcp_approval_response": "user",
    "mcp_list_tools": "assistant",
    "compaction": "assistant",
    "compaction_summary": "assistant",
    "program": "assistant",
    "program_output": "tool",
    "additional_tools": "system",
}
"""Items of the Responses API that are neither messages nor calls, with the role of what sends them."""

_MESSAGE_FIELDS = frozenset({"content", "parts", "tool_calls", "function_call", "refusal", "audio"})
"""A message has one of these besides its role."""

_CALL_ITEMS = frozenset({"function_call", "custom_tool_call", "mcp_approval_request"})
"""Items of the Responses API that a model returns as a request to run something."""


def _role_of_blocks(item: dict[str, Any], role: str) -> str:
    """Return ``tool`` for a message of Anthropic that consists of results of tools, whose role is that of the user."""
    blocks = item["content"]
    results = blocks and all(isinstance(block, dict) and _result_in(block) is not None for block in blocks)
    return "tool" if results else role


def _result_in(block: dict[str, Any]) -> dict[str, Any] | None:
    """Return the result of a tool in a block of Anthropic or Bedrock."""
    if block.get("type") == "tool_result":
        return block
    result = block.get("toolResult")
    return result if isinstance(result, dict) else None


def grouped(items: Iterable[Any]) -> Iterator[Message]:
    """Return the messages of *items*; consecutive items that a model returned in one response are one message."""
    group: Message | None = None
    before: Any = None
    for item in items:
        if _is_marker(item):
            item = {"role": "…", "content": item.strip("…[]")}
        if group is not None and _continues(before, item):
            group.parts.extend(_parts_of(item))
        else:
            if group is not None:
                yield group
            name = item.get("name")
            is_named = "role" in item or item.get("type") in ("tool", "function")
            group = Message(role_of(item) or "", [*_parts_of(item)], name if is_named and type(name) is str else "")
        before = item
    if group is not None:
        yield group


def _continues(before: Any, item: Any) -> bool:
    return _is_output_item(before) and _is_output_item(item)


def _is_output_item(item: Any) -> bool:
    """Whether *item* is an item that a model returned through the Responses API."""
    return role_of(item) == "assistant" and ("role" not in item or item.get("type") == "message") and "type" in item


def _parts_of(item: dict[str, Any]) -> Iterator[Part]:
    kind = item.get("type")
    if kind == "reasoning" or ("role" not in item and "content" not in item and isinstance(kind, str)):
        yield from _item_parts(item, str(kind))
        return
    if isinstance(thoughts := item.get("reasoning_content") or item.get("reasoning"), str):
        yield Part("reasoning", thoughts)
    yield from content_parts(item["parts"] if "parts" in item else item.get("content"))
    if isinstance(refusal := item.get("refusal"), str) and refusal:
        yield Part("note", refusal, "refusal")
    if isinstance(audio := item.get("audio"), dict):
        yield Part("text", audio["transcript"]) if audio.get("transcript") else Part("note", file_note(audio), "audio")
    for call in _calls_of(item):
        yield _call_part(call)


def _calls_of(item: dict[str, Any]) -> list[Any]:
    """Return the tool calls of a message, apart from those that its content has as blocks."""
    calls = item.get("tool_calls")
    calls = list(calls) if isinstance(calls, list) else []
    if isinstance(call := item.get("function_call"), dict):
        calls.append(call)
    content = item.get("content")
    blocks = content if isinstance(content, list) else ()
    in_content = {block.get("id") for block in blocks if isinstance(block, dict) and block.get("type") in _CALL_BLOCKS}
    return [call for call in calls if not isinstance(call, dict) or (call.get("id") or "") not in in_content]


_CALL_BLOCKS = frozenset({"tool_use", "server_tool_use", "mcp_tool_use", "tool_call", "function_call"})


def _call_part(call: Any) -> Part:
    """Read a tool call of any provider."""
    if not isinstance(call, dict):
        return Part("data", call)
    inner = next((call[key] for key in ("function", "custom", "toolUse") if isinstance(call.get(key), dict)), call)
    arguments: Any = next((inner[key] for key in ("args", "arguments", "input") if inner.get(key) is not None), {})
    name = inner.get("name")
    return Part("call", _decoded(arguments), name if isinstance(name, str) and name else "tool")


def _decoded(arguments: Any) -> Any:
    """Return arguments as JSON if they are an object; a model may return any text."""
    if isinstance(arguments, str) and arguments[:1] == "{":
        try:
            return json.loads(arguments)
        except (ValueError, RecursionError):
            return arguments
    return {} if arguments == "" else arguments


def _item_parts(item: dict[str, Any], kind: str) -> Iterator[Part]:
    """Read an item of the Responses API that is not a message."""
    if kind in _OTHER_ITEMS:
        content = {key: value for key, value in item.items() if key not in ("type", "encrypted_content") and value}
        yield Part("data", content, kind)
    elif kind == "reasoning":
        blocks = [item.get("summary"), item.get("content")]
        texts = [block.get("text") for each in blocks if isinstance(each, list) for block in each if _is_dict(block)]
        yield Part("reasoning", "\n".join(text for text in texts if isinstance(text, str)))
    elif kind.endswith("_output"):
        output = item.get("output")
        yield from content_parts(
            [output] if isinstance(output, dict) and output.get("type") == "computer_screenshot" else output
        )
    elif kind == "image_generation_call":
        yield Part("note", file_note({"data": item.get("result"), "format": item.get("output_format")}), "image")
    elif kind in _CALL_ITEMS or "name" in item:
        yield _call_part(item)
        if item.get("output") is not None:  # of a server's tool, which the provider ran
            yield from content_parts(item["output"])
        if item.get("error") is not None:
            yield Part("note", _reason(item["error"]), "error")
    else:
        hidden = {"id", "call_id", "type", "status", "results", "outputs"}
        arguments = {key: value for key, value in item.items() if key not in hidden and value is not None}
        yield Part("call", arguments, kind.removesuffix("_call"))
        for output in outputs if isinstance(outputs := item.get("outputs"), list) else ():
            if _is_dict(output):  # of the code interpreter
                yield from content_parts(logs) if (logs := output.get("logs")) else _block_parts(output)


def no_content(*reasons: Any) -> Part:
    """Return the note of an answer without content, with the first of *reasons* that is given."""
    return Part("note", next((_reason(reason) for reason in reasons if reason), ""), "no content")


def _reason(value: Any) -> str:
    """Return why something failed or ended: a text, or the member of an object that says it."""
    if not isinstance(value, dict):
        return str(value)
    members = (value.get(name) for name in ("message", "reason", "block_reason", "blockReason", "content", "code"))
    return next((str(member) for member in members if member), json.dumps(value, ensure_ascii=False, default=str))


def _is_dict(value: Any) -> bool:
    return isinstance(value, dict)


def content_parts(content: Any) -> Iterator[Part]:
    """Read the content of a message: a text, a list of blocks, or any other JSON."""
    if isinstance(content, str):
        if content:
            yield Part("text", content)
    elif isinstance(content, list) and all(isinstance(block, dict | str) for block in content):
        for block in content:
            yield from _block_parts(block) if isinstance(block, dict) else [Part("text", block)]
    elif content not in (None, {}):
        yield Part("data", content)


def _block_parts(block: dict[str, Any]) -> Iterator[Part]:
    """Read a block of a message; each provider has its own forms of blocks."""
    kind = block.get("type")
    text = block.get("text")
    if isinstance(text, str) and text:
        yield Part("reasoning" if block.get("thought") is True else "text", text)
    elif kind in _CALL_BLOCKS or isinstance(block.get("toolUse"), dict):
        yield _call_part(block)
    elif (result := _result_in(block)) is not None:
        yield from content_parts(result.get("content"))
    elif kind in ("thinking", "reasoning", "redacted_thinking"):
        thoughts = block.get("thinking") or block.get("reasoning")
        yield Part("reasoning", thoughts if isinstance(thoughts, str) else "")
    elif isinstance(kind, str) and kind.endswith("_tool_result"):  # of a tool that the provider ran
        result = block.get("content")
        is_text = isinstance(result, str) or (isinstance(result, list) and all(map(_is_text_block, result)))
        yield from content_parts(result) if is_text else [Part("data", result, kind)]
    elif kind == "refusal":
        yield Part("note", str(block.get("refusal") or ""), "refusal")
    elif google := next((key for key in _GOOGLE if isinstance(block.get(key), dict)), None):
        yield _GOOGLE[google](block[google])
    elif not isinstance(text, str):
        kind = kind if isinstance(kind, str) else next(filter(block.__contains__, _FILES), "")
        kind = "image" if kind == "computer_screenshot" else kind.removeprefix("input_").removesuffix("_url")
        yield Part("note", file_note(block), kind) if kind in _FILES else Part("data", block, kind)


def _is_text_block(block: Any) -> bool:
    return _is_dict(block) and block.get("type") == "text"


_FILES = ("image", "audio", "video", "document", "file", "media")
"""Kinds of files in a message."""


def _google_result(response: dict[str, Any]) -> Part:
    value = response.get("response")
    only = value.get("result") if isinstance(value, dict) and len(value) == 1 else None
    return Part("text", only) if isinstance(only, str) else Part("data", value)


def _google_file(data: dict[str, Any]) -> Part:
    mime = data.get("mime_type") or data.get("mimeType")
    kind = mime.partition("/")[0] if isinstance(mime, str) else ""
    return Part("note", file_note(data), kind if kind in ("image", "audio", "video") else "file")


def _google_code(code: dict[str, Any]) -> Part:
    return Part("call", {key: item for key, item in code.items() if item is not None}, "executable_code")


_GOOGLE: dict[str, Callable[[dict[str, Any]], Part]] = {
    "function_call": _call_part,
    "functionCall": _call_part,
    "function_response": _google_result,
    "functionResponse": _google_result,
    "inline_data": _google_file,
    "inlineData": _google_file,
    "file_data": _google_file,
    "fileData": _google_file,
    "executable_code": _google_code,
    "executableCode": _google_code,
    "code_execution_result": lambda result: Part("text", str(result.get("output") or "")),
    "codeExecutionResult": lambda result: Part("text", str(result.get("output") or "")),
}
"""Readers of the parts of Google, by the field that a part has."""
