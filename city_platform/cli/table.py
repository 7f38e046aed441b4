"""A table as every command shows it."""

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table


class ShownTable(Table):
    """One whose words are never cut: where the terminal is narrow, a name goes on in the next line, to be copied."""

    def __init__(self, *headers: str, title: str | None = None) -> None:
        super().__init__(
            *headers, title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0)
        )

    def add_column(self, *header: Any, **settings: Any) -> None:
        super().add_column(*header, **{"overflow": "fold"} | settings)
