"""Counts the records of a CSV while its bytes pass by, in whatever pieces they come."""


class RecordCounter:
    """Records of an RFC 4180 file with a header; a line break between quotes belongs to its value."""

    def __init__(self) -> None:
        self._quoted = 0  # 1 while between quotes; a doubled quote leaves and enters at once
        self._line_breaks = 0
        self._line_open = False

    def feed(self, data: bytes) -> None:
        if not data:
            return
        pieces = data.split(b'"')
        self._line_breaks += sum(piece.count(b"\n") for piece in pieces[self._quoted :: 2])
        self._quoted = (self._quoted + len(pieces) - 1) % 2
        self._line_open = bool(self._quoted) or not data.endswith(b"\n")

    @property
    def records(self) -> int:
        """The records so far without the header; a last line need not end in a line break."""
        return max(0, self._line_breaks + self._line_open - 1)
