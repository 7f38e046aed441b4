"""Tables in Markdown."""

from collections.abc import Iterable, Sequence


def table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; a cell's own bars and line breaks are kept from breaking it, None is an empty cell."""

    def line(cells: Iterable[object]) -> str:
        shown = (("" if cell is None else str(cell)).replace("|", "\\|").replace("\n", " ") for cell in cells)
        return "| " + " | ".join(shown) + " |"

    return "\n".join([line(headers), line(["---"] * len(headers)), *map(line, rows)])
