"""Words that DynamoDB keeps for itself: the emulators let some of them pass, and AWS refuses the call."""

import re
from typing import Any

from moto.dynamodb.parsing.reserved_keywords import ReservedKeywords


def refuse_reserved_words(client: Any) -> None:
    """Makes a client fail at a call whose expressions name one (AWS's developer guide, "Reserved words")."""
    reserved = set(ReservedKeywords.get_reserved_keywords())

    def check(params: Any, **_: Any) -> None:
        for text in expressions(params):
            names = {word.upper() for word in re.findall(r"(?<![#:\w])[A-Za-z_]\w*(?!\w*\()", text)}
            assert not (wrong := names & reserved - _OPERATORS), f"{wrong} in {text!r}"

    client.meta.events.register("provide-client-params.dynamodb.*", check)


_OPERATORS = {"AND", "OR", "NOT", "BETWEEN", "IN", "SET", "REMOVE", "ADD", "DELETE"}


def expressions(value: Any) -> list[str]:
    """Every expression in the arguments of a call, however deep."""
    if isinstance(value, dict):
        found = [one for name, one in value.items() if name.endswith("Expression") and isinstance(one, str)]
        return found + [each for one in value.values() for each in expressions(one)]
    return [each for one in value for each in expressions(one)] if isinstance(value, list) else []
