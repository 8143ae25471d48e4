"""A type checker finds the types of the framework for instrumented tools."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, assert_type

from agents import FunctionTool, function_tool
from chatkit.actions import Action
from chatkit.server import ChatKitServer
from chatkit.types import ProgressUpdateEvent, ThreadMetadata, ThreadStreamEvent, UserMessageItem, WidgetItem

import fluxloop
from fluxloop_custom import instrument_tool, observe_tool
from fluxloop_custom.chatkit import traced_respond


def add(a: int, b: int) -> int:
    with observe_tool("tool.add", {"a": a, "b": b}) as obs:
        obs.output = a + b
        return a + b


tool = function_tool(add)

assert_type(tool, FunctionTool)
assert_type(instrument_tool(tool), FunctionTool)
assert_type(function_tool(fluxloop.tool(add)), FunctionTool)


class Server(ChatKitServer[dict[str, str]]):
    """Its decorated methods match the declarations of the framework's class."""

    @traced_respond
    async def respond(
        self, thread: ThreadMetadata, input_user_message: UserMessageItem | None, context: dict[str, str]
    ) -> AsyncIterator[ThreadStreamEvent]:
        yield ProgressUpdateEvent(text="working")

    @traced_respond("used")
    async def action(
        self, thread: ThreadMetadata, action: Action[str, Any], sender: WidgetItem | None, context: dict[str, str]
    ) -> AsyncIterator[ThreadStreamEvent]:
        yield ProgressUpdateEvent(text="acting")
