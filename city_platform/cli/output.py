"""What becomes of the command's output where nobody takes it: `city-platform status | head -1`.

A program in a pipe ends without a word when its reader has gone (SIGPIPE, POSIX). Python turns that into an exception
wherever something is written, and the libraries in between turn that into exit code 1, which here means that something
ran and failed. The signal itself would do for a listing, and end a server whose client hung up, or a run in the middle.
"""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO, cast

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

READER_GONE = 141  # 128 + SIGPIPE, as a shell tells of a program that the signal ended


class _Pipe(io.FileIO):
    """A standard stream. After its reader has gone it takes everything and keeps nothing."""

    def __init__(self, number: int, *, ends: bool) -> None:
        super().__init__(number, "wb", closefd=False)
        self._ends = ends

    def write(self, data: "ReadableBuffer") -> int:
        """Ends the command with READER_GONE where `ends`."""
        try:
            return super().write(data)
        except BrokenPipeError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            if self._ends:
                raise SystemExit(READER_GONE) from None
            return super().write(data)


@contextmanager
def streams() -> Iterator[None]:
    """Results that nobody reads end the command; messages and bars that nobody reads do not keep it from its work."""
    out, err = _stream(sys.stdout, ends=True), _stream(sys.stderr, ends=False)
    sys.stdout, sys.stderr = cast("TextIO", out), cast("TextIO", err)  # None, too, as Python itself starts
    try:
        yield
    finally:
        for stream in (err, out):
            if stream is not None:
                stream.flush()


def _stream(stream: TextIO | None, *, ends: bool) -> TextIO | None:
    """The same as text, line by line to a terminal. None where the process was started without it."""
    if stream is None:
        return stream
    stream.flush()
    raw = _Pipe(stream.fileno(), ends=ends)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=not ends or raw.isatty(),
    )
