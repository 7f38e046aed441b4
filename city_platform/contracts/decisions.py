"""What a drafted contract leaves to a person: every text that begins with `DECIDE:` is a question.

A draft (`status: draft`, in the words of the Open Data Contract Standard) is no part of the platform: nothing of it is
loaded, so a question in it stops nobody. Once the status is another, each question left is a mistake.
"""

from collections.abc import Iterator, Mapping

from city_platform.contracts.yaml_lines import Document, Path
from city_platform.errors import Finding

DRAFT = "draft"
MARK = "DECIDE:"
REVIEW = "review"  # the custom property that questions what stands beside it
OPEN = "open-decision"  # the findings' code
_ANSWER = "write the answer in its place"
_REVIEWED = f"correct what is not so, then remove the custom property '{REVIEW}'"


def is_draft(document: Document) -> bool:
    """Whether the contract calls itself a draft."""
    return isinstance(document.value, Mapping) and document.value.get("status") == DRAFT


def open_decisions(document: Document, file: str) -> list[Finding]:
    """Every question in the contract, in the file's order."""
    found = []
    for path, owners, text in _texts(document.value):
        if text.lstrip().startswith(MARK):
            question = " ".join(text.split()).removeprefix(MARK).strip()
            remedy = _REVIEWED if owners[-1].get("property") == REVIEW else _ANSWER
            found.append(Finding(file, *document.place(path), f"{_subject(path, owners)}: {question}", remedy, OPEN))
    return sorted(found)


def _texts(document: object) -> Iterator[tuple[Path, list[Mapping[str, object]], str]]:
    """Each text with its path and the mappings that it stands in, the outermost first."""
    waiting: list[tuple[Path, list[Mapping[str, object]], object]] = [((), [{}], document)]
    while waiting:
        path, owners, value = waiting.pop()
        if isinstance(value, str):
            yield path, owners, value
        elif isinstance(value, Mapping):
            waiting += [((*path, key), [*owners, value], one) for key, one in value.items()]
        elif isinstance(value, list):
            waiting += [((*path, place), owners, one) for place, one in enumerate(value)]


def _subject(path: Path, owners: list[Mapping[str, object]]) -> str:
    """What the question is about: the column, else the property's name."""
    if "properties" in path:
        return next((f"column {one['name']}" for one in reversed(owners) if "name" in one), "a column")
    named = owners[-1].get("property")
    return str(path[0] if named is None or named == REVIEW else named) if path else "the contract"
