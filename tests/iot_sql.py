"""What a rule of AWS IoT makes of a message: the part of its SQL that the templates here use.

After "AWS IoT SQL reference" and "Working with binary payloads" (AWS IoT Core Developer Guide). `SELECT *` alone gives
the bytes as they came. With more fields it needs a JSON object; a name that is none of its keys is Undefined, as all
names are where the message is no JSON object. What fields beside `*` do then is not documented: Undocumented is raised.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlglot
from sqlglot import exp

_UNDEFINED = object()


class Undocumented(Exception):
    """Nobody but AWS knows what a rule would do here."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule's statement, read."""

    statement: exp.Select

    @classmethod
    def of(cls, sql: str) -> "Rule":
        """Raises sqlglot's ParseError."""
        statement = sqlglot.parse_one(sql, read="duckdb")
        assert isinstance(statement, exp.Select)
        return cls(statement)

    @property
    def filter(self) -> str:
        """The topics the rule hears, as an MQTT filter."""
        table = self.statement.find(exp.Table)
        assert table is not None
        return str(table.name)

    def select(self, topic: str, payload: bytes, *, basic_ingest: bool = False) -> bytes | None:
        """What the rule's actions get; None: nothing, because the topic or the WHERE clause is not met."""
        if not basic_ingest and not heard(self.filter, topic):
            return None
        message = _object(payload)
        where = self.statement.args.get("where")
        if where is not None and _value(where.this, topic, message) is not True:
            return None
        fields = self.statement.expressions
        if [type(one) for one in fields] == [exp.Star]:
            return payload
        if message is None:
            raise Undocumented(f"{self.statement.sql()} of {payload!r}")
        made: dict[str, Any] = {}
        for one in fields:
            made |= message if isinstance(one, exp.Star) else {one.alias: _value(one.this, topic, message)}
        return json.dumps(made).encode()


def heard(topic_filter: str, topic: str) -> bool:
    """Whether an MQTT filter takes a topic."""
    asked, said = topic_filter.split("/"), topic.split("/")
    for place, level in enumerate(asked):
        if level == "#":
            return True
        if place >= len(said) or level not in {"+", said[place]}:
            return False
    return len(asked) == len(said)


def substituted(template: str, topic: str) -> str:
    """An action's text with `${topic(n)}` put in."""
    return re.sub(r"\$\{topic\((\d+)\)\}", lambda found: topic.split("/")[int(found[1]) - 1], template)


def _object(payload: bytes) -> Mapping[str, Any] | None:
    try:
        found = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _value(node: exp.Expression, topic: str, message: Mapping[str, Any] | None) -> Any:
    def of(inner: exp.Expression) -> Any:
        return _value(inner, topic, message)

    made: Any
    match node:
        case exp.Paren():
            made = of(node.this)
        case exp.And():
            made = of(node.left) is True and of(node.right) is True
        case exp.Not():
            made = of(node.this) is False
        case exp.Literal():
            made = node.this if node.is_string else int(node.this)
        case exp.Column():
            made = (message or {}).get(node.name, _UNDEFINED)
        case exp.RegexpLike():
            made = re.search(str(of(node.expression)), str(of(node.this))) is not None
        case exp.Anonymous() if node.name.lower() == "topic":
            levels, at = topic.split("/"), of(node.expressions[0])
            made = levels[at - 1] if at <= len(levels) else _UNDEFINED
        case exp.Anonymous() if node.name.lower() == "isundefined":
            made = of(node.expressions[0]) is _UNDEFINED
        case _:
            raise Undocumented(f"{type(node).__name__} in {node.sql()}")
    return made
