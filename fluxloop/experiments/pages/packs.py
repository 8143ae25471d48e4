"""
Many small pieces of JSON in a page, compressed in packs that the page opens when one of them is looked at.

Traces of an experiment repeat each other, so a pack takes about a tenth of their size.
"""

from __future__ import annotations

import base64
import tempfile
import zlib
from typing import BinaryIO

PIECES_PER_PACK = 64
"""More compress better, and take longer to open."""


class Packs:
    """
    Collects pieces in a temporary file, up to a size.

    Args:
        limit_bytes: Bytes that the packs may take in the page; pieces beyond them are refused.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._left = limit_bytes
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        self._pieces: list[bytes] = []
        self._count = 0

    @property
    def is_full(self) -> bool:
        """Whether pieces are refused."""
        return self._left <= 0

    def add(self, piece: bytes) -> tuple[int, int]:
        """Add a JSON value, and return its place: the number of the pack, and that within it."""
        place = self._count, len(self._pieces)
        self._pieces.append(piece)
        if len(self._pieces) == PIECES_PER_PACK:
            self._close_pack()
        return place

    def _close_pack(self) -> None:
        raw = zlib.compressobj(level=3, wbits=-zlib.MAX_WBITS)  # what browsers call deflate-raw
        packed = raw.compress(b"[%b]" % b",".join(self._pieces)) + raw.flush()
        text = b'%b"%b"' % (b",\n" if self._count else b"", base64.b64encode(packed))
        self._file.write(text)
        self._left -= len(text)
        self._count += 1
        self._pieces = []

    def finished(self) -> BinaryIO:
        """Return the file of the packs: JSON texts with commas between them. No piece can follow."""
        if self._pieces:
            self._close_pack()
        return self._file

    def close(self) -> None:
        """Delete the file."""
        self._file.close()
