"""Helpers for a ChatKit server without a database and a client: a store in memory, and a function to send messages."""

from __future__ import annotations

import json
from typing import Any

from chatkit.store import NotFoundError, Store
from chatkit.types import Page


class MemoryStore(Store[Any]):
    """Stores threads and their items in memory; attachments are not stored."""

    def __init__(self) -> None:
        self.threads: dict[str, Any] = {}
        self.items: dict[str, list[Any]] = {}

    async def load_thread(self, thread_id: str, context: Any) -> Any:
        if thread_id not in self.threads:
            raise NotFoundError(thread_id)
        return self.threads[thread_id]

    async def save_thread(self, thread: Any, context: Any) -> None:
        self.threads[thread.id] = thread

    async def load_threads(self, limit: int, after: str | None, order: str, context: Any) -> Any:
        return Page(data=list(self.threads.values())[:limit], has_more=False, after=None)

    async def delete_thread(self, thread_id: str, context: Any) -> None:
        del self.threads[thread_id], self.items[thread_id]

    async def load_thread_items(self, thread_id: str, after: str | None, limit: int, order: str, context: Any) -> Any:
        items = self.items.get(thread_id, [])
        return Page(data=(items[::-1] if order == "desc" else items)[:limit], has_more=False, after=None)

    async def add_thread_item(self, thread_id: str, item: Any, context: Any) -> None:
        self.items.setdefault(thread_id, []).append(item)

    async def save_item(self, thread_id: str, item: Any, context: Any) -> None:
        items = self.items.setdefault(thread_id, [])
        self.items[thread_id] = [item if each.id == item.id else each for each in items]

    async def load_item(self, thread_id: str, item_id: str, context: Any) -> Any:
        return next(item for item in self.items[thread_id] if item.id == item_id)

    async def delete_thread_item(self, thread_id: str, item_id: str, context: Any) -> None:
        self.items[thread_id] = [item for item in self.items.get(thread_id, []) if item.id != item_id]

    async def save_attachment(self, attachment: Any, context: Any) -> None: ...

    async def load_attachment(self, attachment_id: str, context: Any) -> Any:
        raise NotFoundError(attachment_id)

    async def delete_attachment(self, attachment_id: str, context: Any) -> None: ...


async def message(server: Any, text: str) -> list[bytes]:
    """Send *text* to *server* as a new thread's first message, and return the events of the answer."""
    user = {"content": [{"type": "input_text", "text": text}], "attachments": [], "inference_options": {}}
    request = {"type": "threads.create", "params": {"input": user}}
    return [event async for event in await server.process(json.dumps(request), {})]
