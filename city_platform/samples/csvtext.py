"""Cells of delimited text, quoted as a spreadsheet or the portal quotes them."""

from collections.abc import Iterable


def cell(text: str, delimiter: str) -> str:
    """The text as one cell: quoted, its quotes doubled, where it holds the delimiter, a quote or a line break."""
    if any(mark in text for mark in (delimiter, '"', "\n", "\r")):
        return '"' + text.replace('"', '""') + '"'
    return text


def cells(texts: Iterable[str], delimiter: str) -> str:
    """Several cells of one row, with the delimiter after each."""
    return "".join(cell(text, delimiter) + delimiter for text in texts)
