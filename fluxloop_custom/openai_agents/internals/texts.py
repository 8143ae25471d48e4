"""
The texts that the SDK puts in place of results and errors, and its own form of messages.
"""

from __future__ import annotations

from typing import Any

import agents


def has_timed_out(tool: Any, output: object, duration_s: float) -> bool:
    """
    Whether *output*, in place of what *tool* returns, is the text for a tool that took too long.

    A text that the program makes, or a later release in another way, is recognised by the duration of the call.
    """
    limit_s, notice = getattr(tool, "timeout_seconds", None), timeout_notice()
    if limit_s is None:
        return False
    if notice is None or getattr(tool, "timeout_error_function", None) is not None:
        return isinstance(output, str) and duration_s >= limit_s
    return bool(output == notice(tool_name=tool.name, timeout_seconds=limit_s))


def timeout_notice() -> Any:
    """Return the function that makes the text for a tool that took too long; None if the release has none."""
    return getattr(agents.tool, "default_tool_timeout_error_message", None)


REDACTED = "Error details are redacted."
"""The end of the text that the SDK puts in place of an error's if the trace is to have no sensitive data."""


def is_redacted(text: object, raised: BaseException | None, *, is_model_call: bool) -> bool:
    """
    Whether *text*, the detail of a span's error, replaces the text of the exception *raised*.

    Early releases have the name of the exception's class there. A model call's text is the exception's own unless
    it is redacted, whatever the release puts there instead.
    """
    if text is None:
        return False
    return REDACTED in str(text) or (
        raised is not None and (text == type(raised).__name__ or (is_model_call and text != str(raised)))
    )


def chat_messages(items: Any) -> list[Any] | None:
    """Return *items* as messages of Chat Completions, as the SDK sends and records them; None if it has changed."""
    try:
        from agents.models.chatcmpl_converter import Converter

        return list(Converter.items_to_messages(items))
    except Exception:  # without it, calls of Chat Completions are compared by the items
        return None


def output_items(message: Any) -> list[Any]:
    """Return a message of Chat Completions as items of the SDK."""
    from agents.models.chatcmpl_converter import Converter

    return list(Converter.message_to_output_items(message))
