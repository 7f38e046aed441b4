"""Regular expressions as recipes write them: RE2's syntax, `$1` for a group in what replaces a match."""

import re

# What is no group is passed over: an escape, a class of characters.
_GROUP = re.compile(r"\\.|\[\^?\]?(?:\\.|\[:\w+:\]|[^\]\\])*\]|(\((?!\?)|\(\?P?<(?![=!]))", re.DOTALL)


def group_count(pattern: str) -> int:
    """How many groups a pattern captures."""
    return sum(1 for found in _GROUP.finditer(pattern) if found[1])


def literal_replacement(text: str) -> str:
    """The text as a replacement that stands for itself."""
    return text.replace("\\", "\\\\").replace("$", "\\$")
