"""
Records in memory, while the spool cannot be written to.
"""

from __future__ import annotations

from collections import deque


class LineBuffer:
    """A queue of lines for several threads. It needs no lock: operations of a deque are atomic."""

    def __init__(self) -> None:
        self._lines: deque[bytes] = deque()
        self.size_bytes = 0
        """The size of all lines; approximate while several threads add lines."""

    def __bool__(self) -> bool:
        return bool(self._lines)

    def append(self, line: bytes) -> None:
        """Add *line* at the end."""
        self.size_bytes = self.size_bytes + len(line) if self._lines else len(line)
        self._lines.append(line)

    def first(self, limit_bytes: int) -> list[bytes]:
        """Return the first lines, as many as *limit_bytes* allows, but at least one."""
        lines: list[bytes] = []
        size = 0
        for line in self._lines.copy():
            size += len(line)
            if lines and size > limit_bytes:
                break
            lines.append(line)
        return lines

    def remove(self, lines: list[bytes]) -> None:
        """Remove *lines*, the result of `first`."""
        for line in lines:
            self._lines.popleft()
            self.size_bytes -= len(line)

    def take_all(self) -> list[bytes]:
        """Remove and return all lines."""
        lines = []
        while self._lines:
            lines.append(self._lines.popleft())
        self.size_bytes = 0
        return lines
