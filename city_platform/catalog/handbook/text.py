"""What the pages have in common."""

import re
from collections.abc import Iterable, Iterator

from city_platform.contracts.model import Contract

NOTICE = "*Written by `city-platform catalog pages` from the definitions; change those, not this page.*"


def code(text: str) -> str:
    """A text as it is written, in Markdown; holds backticks, and keeps its place in a table's cell."""
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    room = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{room}{text}{room}{fence}"


def plain(text: str) -> str:
    """A text in which Markdown finds nothing to format."""
    return re.sub(r"([\\*<`])", r"\\\1", text)


def joined(texts: Iterable[str]) -> str:
    return ", ".join(texts)


def source_lines(contract: Contract) -> Iterator[str]:
    """Where a dataset's rows come from, a line a source."""
    if contract.exported:
        yield "- written into the lake by the platform itself, as they come"
    for source in contract.sources:
        about = f": {source.description}" if source.description else ""
        yield f"- [{source.portal_id}]({source.location}), {source.cadence}{about}"
    if not contract.exported and not contract.sources:
        yield f"- files that people land; published at <{contract.source_url}>"
