"""A file of a storage as Python's binary file, by requests of whole blocks."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import BinaryIO, cast

Fetch = Callable[[int, int], bytes]
"""Bytes from a position up to another, exclusive; all of them, since the file is known to be so long."""


def opened(size: int, block: int, fetch: Fetch, close: Callable[[], None] = lambda: None) -> BinaryIO:
    """A file of `size` bytes, of which one block at most is in memory; `close` is called once."""
    return cast(BinaryIO, io.BufferedReader(_Blocks(size, block, fetch, close), 1 << 16))


class _Blocks(io.RawIOBase):
    """The block lies here, since a BufferedReader asks for as little as its reader does."""

    def __init__(self, size: int, block: int, fetch: Fetch, close: Callable[[], None]) -> None:
        self.size, self.block, self.fetch, self.at_close = size, block, fetch, close
        self.place, self.start, self.data = 0, 0, memoryview(b"")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        begin = {io.SEEK_SET: 0, io.SEEK_CUR: self.place, io.SEEK_END: self.size}[whence]
        self.place = max(begin + offset, 0)
        return self.place

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if self.place >= self.size:
            return 0
        if not self.start <= self.place < self.start + len(self.data):
            self.data = memoryview(b"")  # not two blocks at a time
            self.data = memoryview(self.fetch(self.place, min(self.place + self.block, self.size)))
            self.start = self.place
        begin = self.place - self.start
        found = self.data[begin : begin + len(buffer)]
        buffer[: len(found)] = found
        self.place += len(found)
        return len(found)

    def close(self) -> None:
        if not self.closed:
            self.data = memoryview(b"")
            self.at_close()
        super().close()
