"""A trace file as a stream: unpacked, hashed, and handed on in blocks of whole lines, in constant memory."""

import gzip
import hashlib
import io
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, NamedTuple, Self, cast

import numpy as np
import pyarrow as pa

from iosim.model.errors import TraceError, reason

BLOCK_BYTES = 4 << 20
"""So much unpacked text is handled at a time."""
HEAD_BYTES = 1 << 20
"""So much of the unpacked begin of a file may decide what format it has."""
LONGEST_LINE = 1 << 20
BOM = b"\xef\xbb\xbf"
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
UTF16 = (b"\xff\xfe", b"\xfe\xff")


class Block(NamedTuple):
    """Whole lines of a file: the number of the first one, from 1, their text, and how many they are."""

    first: int
    text: bytes
    n: int

    @classmethod
    def of(cls, first: int, text: bytes) -> "Block":
        """Return the block of *text*, which ends with a newline."""
        return cls(first, text, int(np.count_nonzero(np.frombuffer(text, dtype=np.uint8) == ord("\n"))))


class _Hashed(io.RawIOBase):
    """A file that is hashed while it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.n_read = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        n = cast("io.FileIO", self._file).readinto(buffer) or 0
        self.digest.update(memoryview(buffer)[:n])
        self.n_read += n
        return n

    def close(self) -> None:
        self._file.close()
        super().close()


class Source:
    """A trace file, plain, .gz or .zst, read once from its begin to its end.

    Raises TraceError for a file that cannot be opened, is empty, or is damaged; the last one when the reading comes to
    the place. `sha256` is that of the file as it lies there, known when everything has been read.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        try:
            self._hashed = _Hashed(Path(path).open("rb", buffering=0))  # noqa: SIM115 - closed by close()
            self._raw = io.BufferedReader(self._hashed, BLOCK_BYTES)
            begin = self._raw.peek(4)[:4]
            self.size = Path(path).stat().st_size
            """Bytes of the file as it lies there."""
        except OSError as error:
            raise TraceError(f"{path}: {reason(error)}") from None
        self.packed = begin[:2] == _GZIP or begin == _ZSTD
        self._file = self._unpacked(begin)
        self.head = self._read(HEAD_BYTES)
        self.watch: Callable[[], None] | None = None
        """Called when some more of the file has been read."""
        self.no_newline = False
        """Whether the last line had no end, once it was read."""
        if not self.head.strip() and len(self.head) < HEAD_BYTES:
            self.close()
            raise TraceError(f"{path}: is empty")
        self._head_given = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._raw.close()

    @property
    def n_read(self) -> int:
        """Bytes of the file as it lies there that have been read."""
        return self._hashed.n_read

    @property
    def sha256(self) -> str:
        """The checksum of the whole file; what has not been read yet is read now."""
        while self._raw.read(BLOCK_BYTES):
            pass
        return self._hashed.digest.hexdigest()

    def chunks(self) -> Iterator[bytes]:
        """Yield the unpacked bytes, once."""
        assert not self._head_given
        self._head_given = True
        yield self.head
        while chunk := self._read(BLOCK_BYTES):
            if self.watch is not None:
                self.watch()
            yield chunk

    def blocks(self) -> Iterator[Block]:
        """Yield the lines, once: without a byte order mark, the last line with a newline even if the file has none.

        Raises TraceError for what is no text: UTF-16, NUL bytes at the begin, a line of more than 1 MiB.
        """
        if b"\0" in self.head or self.head[:2] in UTF16:
            kind = "UTF-16, not UTF-8" if self.head[:2] in UTF16 else "not a text file"
            raise TraceError(f"{self.path}: is {kind}")
        first, rest = 1, b""
        for number, chunk in enumerate(self.chunks()):
            text = chunk.removeprefix(BOM) if number == 0 else chunk
            end = text.rfind(b"\n") + 1
            if end:
                block = Block.of(first, rest + text[:end])
                yield block
                first += block.n
                rest = text[end:]
            else:
                rest += text
            if len(rest) > LONGEST_LINE:
                raise TraceError(f"{self.path}:{first}: the line is longer than 1 MiB")
        if rest:
            self.no_newline = True
            yield Block.of(first, rest + b"\n")

    def _unpacked(self, begin: bytes) -> IO[bytes]:
        if begin[:2] == _GZIP:
            return cast("IO[bytes]", gzip.GzipFile(fileobj=self._raw))
        if begin == _ZSTD:
            return cast("IO[bytes]", pa.CompressedInputStream(pa.PythonFile(self._raw, mode="r"), "zstd"))
        return self._raw

    def _read(self, size: int) -> bytes:
        """Return *size* bytes, less only at the end."""
        parts, missing = [], size
        try:
            while missing and (part := self._file.read(missing)):
                parts.append(part)
                missing -= len(part)
        except EOFError:
            raise TraceError(f"{self.path}: is cut short: its gzip data has no end") from None
        except (gzip.BadGzipFile, zlib.error):
            raise TraceError(f"{self.path}: is a damaged gzip file") from None
        except OSError as error:
            if not self.packed:
                raise TraceError(f"{self.path}: {reason(error)}") from None
            if "Truncated" in str(error):
                raise TraceError(f"{self.path}: is cut short: its zstd data has no end") from None
            raise TraceError(f"{self.path}: is a damaged zstd file") from None
        return b"".join(parts)
