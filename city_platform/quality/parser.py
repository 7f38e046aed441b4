"""DQDL text to a ruleset. Bad text gives findings, never an exception, a hang or a stack overflow."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from lark import Lark, Token, Transformer, Tree
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from city_platform.errors import Finding
from city_platform.quality.model import (
    Arithmetic,
    Between,
    Call,
    Comparison,
    Composite,
    Condition,
    Duration,
    Expression,
    Item,
    Keyword,
    Labels,
    Matches,
    Membership,
    Negative,
    Number,
    Operand,
    Parameter,
    Rule,
    Ruleset,
    Size,
    Tag,
    Text,
    Variable,
)

MAX_CHARACTERS = 256 * 1024
MAX_DEPTH = 64
MAX_DIGITS = 40  # more than any figure needs, and far from where arithmetic becomes slow
MAX_LABELS, MAX_LABEL_KEY, MAX_LABEL_VALUE = 10, 128, 256  # AWS's limits

_WORDS = {
    "NAME": "a name",
    "STRING": 'a text in double quotes, as "Status"',
    "NUMBER": "a number",
    "COMMA": "a comma",
    "TAG_COMMA": "a comma",
    "LSQB": "'['",
    "RSQB": "']'",
    "LPAR": "'('",
    "RPAR": "')'",
    "LBRACE": "'{'",
    "RBRACE": "'}'",
    "COLON": "':'",
    "DOLLAR": "a variable such as $name",
    "EQUAL": "'='",
    "KEYWORD": "NULL, EMPTY or WHITESPACES_ONLY",
    "BOOLEAN": "true or false",
    "DURATION_UNIT": "days, hours or minutes",
    "SIZE_UNIT": "B, KB, MB, GB or TB",
    "METADATA": "'Metadata = {'",
    "SOURCES": "'DataSources = {'",
    "DEFAULT_LABELS": "'DefaultLabels = ['",
    "RULES": "'Rules = ['",
    "ANALYZERS": "'Analyzers = ['",
    "LABELS": "'labels = ['",
    "$END": "the end of the file",
}
# Tokens that begin a condition are many; a reader wants to hear "a condition".
_CONDITION = {"EQUAL", "MORETHAN", "LESSTHAN", "BETWEEN", "IN", "NOT", "MATCHES"}
_ARITHMETIC = {"PLUS", "MINUS", "STAR", "SLASH"}
# What people write who know other languages: what stands before the place that cannot be read, what stands there, and
# what to write instead.
_HABITS = tuple(
    (re.compile(f"(?:{before})$"), re.compile(here), remedy)
    for before, here, remedy in (
        ("", r"//|--|/\*", "a comment begins with #"),
        ("", "'", 'texts stand in double quotes, as "Status"'),
        ("", "`", 'a column stands in double quotes, as "Status"'),
        ("", "%", "a share is written as a number from 0 to 1: 95 % is 0.95"),
        ("", r"\.[0-9]", "write the zero before the point, as 0.95"),
        ("[0-9]", "[eE][+-]?[0-9]|_[0-9]", "write the number with plain digits, as 1000"),
        ("[0-9],", "[0-9]", "write the number without separators, as 1000"),
        ("<", ">", "not equal is !="),
        ("=", "=", "one = compares"),
        ("", "&", "write: and"),
        ("", r"\|", "write: or"),
        ("", ";", "a comma separates rules"),
        (r"\)\s*(?:and|AND|or|OR)\s*", r"\w", "each part of a composite rule stands in parentheses: (A) and (B)"),
        (r"[a-zA-Z_]\w*", r"-\w", "a name with other characters than letters, digits and _ stands in double quotes"),
        (
            r"(?:[=<>]|\bin\s*\[[^\]]*)\s*[A-Za-z_]\w*\s*",
            r"[^\s(\w]",
            "a text stands in double quotes, and a function has parentheses",
        ),
    )
)
_LOOK_BACK = 80
# How the language spells its words; in other letters they would read as a column's name.
_SPELLING = {
    word.casefold(): word
    for word in (
        *("where", "with", "matches", "labels", "between", "in", "not", "and", "or"),
        *("NULL", "EMPTY", "WHITESPACES_ONLY"),
    )
}


def parse_ruleset(text: str, file: str) -> tuple[Ruleset | None, list[Finding]]:
    """The ruleset a text holds, or None with what is wrong and where.

    Columns, types and labels are not looked at here: that is `binding.check_ruleset`.
    """
    if len(text) > MAX_CHARACTERS:
        return None, [
            Finding(file, 0, 0, f"the file has {len(text):,} characters; {MAX_CHARACTERS:,} is the limit", "split it")
        ]
    too_deep = _too_deep(text, file)
    if too_deep:
        return None, [too_deep]
    try:
        tree = _grammar().parse(text)
    except UnexpectedInput as error:
        return None, [_syntax_finding(error, text, file)]
    builder = _Builder(file)
    ruleset = builder.transform(tree)
    if builder.findings:
        return None, sorted(builder.findings)
    return ruleset, []


@cache
def _grammar() -> Lark:
    return Lark(
        (Path(__file__).parent / "dqdl.lark").read_text(encoding="utf-8"),
        parser="lalr",
        lexer="contextual",
        propagate_positions=True,
        maybe_placeholders=True,
    )


def _too_deep(text: str, file: str) -> Finding | None:
    """The first bracket beyond the depth limit. The parser itself would cope; what walks its tree would not."""
    depth, line, start, position = 0, 1, 0, 0
    while position < len(text):
        character = text[position]
        if character == "#":
            position = _end(text, "\n", position)
            continue
        if character == '"':
            closing = position + 1
            while closing < len(text) and text[closing] != '"':
                closing += 2 if text[closing] == "\\" and text[closing + 1 : closing + 2] in {'"', "\\"} else 1
            line += text.count("\n", position, closing)
            start = max(start, text.rfind("\n", position, closing) + 1)
            position = closing
        elif character == "\n":
            line, start = line + 1, position + 1
        elif character in "([{":
            depth += 1
            if depth > MAX_DEPTH:
                where = position - start + 1
                return Finding(
                    file, line, where, f"brackets are nested deeper than {MAX_DEPTH}", "split this into several rules"
                )
        elif character in ")]}":
            depth -= 1
        position += 1
    return None


def _end(text: str, character: str, position: int) -> int:
    found = text.find(character, position)
    return len(text) if found < 0 else found


def _syntax_finding(error: UnexpectedInput, text: str, file: str) -> Finding:
    # Lark types the position as never missing, and leaves it out at the end of the file.
    position: int = getattr(error, "pos_in_stream", None) or 0
    if isinstance(error, UnexpectedToken) and error.token.type != "$END":
        problem, allowed = f"{str(error.token)[:40]!r} cannot stand here", set(error.accepts or error.expected)
    elif isinstance(error, UnexpectedToken):
        problem, allowed = "the file ends in the middle of a rule or list", set(error.accepts or error.expected)
        line = text.count("\n") + 1
        return Finding(file, line, len(text) - text.rfind("\n"), problem, _expected(allowed))
    elif isinstance(error, UnexpectedCharacters):
        character, allowed = text[position], set(error.allowed or ())
        problem = f"the character {character!r} cannot stand here"
        if character == '"':
            problem = "the text that begins here is never closed"
            return Finding(file, error.line, error.column, problem, 'end it with "; within a text a quote is \\"')
    else:
        problem, allowed = "this cannot be read", set()
    return Finding(file, error.line, error.column, problem, _habit(text, position) or _expected(allowed))


def _habit(text: str, position: int) -> str:
    """What to write instead of a habit from elsewhere; nothing where the text shows none."""
    before = text[max(0, position - _LOOK_BACK) : position]
    found = (remedy for behind, here, remedy in _HABITS if here.match(text, position) and behind.search(before))
    return next(found, "")


def _expected(terminals: Iterable[str]) -> str:
    names = set(terminals)
    words = []
    if names >= {"BETWEEN", "MATCHES"}:
        words.append('a condition such as >= 0.95, in ["a", "b"] or between 1 and 9')
        names -= _CONDITION | {name for name in names if name.startswith("__ANON")}
    if names >= {"PLUS", "STAR"}:
        names -= _ARITHMETIC
    words += sorted({_WORDS.get(name, name.lower().replace("_", " ")) for name in names if not name.startswith("__")})
    return "expected " + ", ".join(words[:-1]) + (" or " if len(words) > 1 else "") + words[-1] if words else ""


def _unquoted(token: str) -> str:
    body, out, position = token[1:-1], [], 0
    while position < len(body):
        if body[position] == "\\" and body[position + 1 : position + 2] in {'"', "\\"}:
            position += 1
        out.append(body[position])
        position += 1
    return "".join(out)


class _Builder(Transformer[Token, Any]):
    """Lark's tree to the model, collecting what the grammar alone cannot say."""

    def __init__(self, file: str) -> None:
        super().__init__()
        self.file = file
        self.findings: list[Finding] = []

    def _wrong(self, place: Any, problem: str, remedy: str) -> None:
        self.findings.append(Finding(self.file, place.line or 0, place.column or 0, problem, remedy))

    # Tokens

    def STRING(self, token: Token) -> Token:  # noqa: N802 - lark calls the method named like the terminal
        return token.update(value=_unquoted(token))

    # Operands

    def text(self, children: list[Token]) -> Text:
        return Text(str(children[0]))

    def keyword(self, children: list[Token]) -> Keyword:
        return Keyword(children[0].upper())

    def _decimal(self, token: Token) -> Decimal:
        if len(token) > MAX_DIGITS:
            self._wrong(token, f"a number of {len(token):,} characters", f"at most {MAX_DIGITS}")
            return Decimal(0)
        return Decimal(token)

    def number(self, children: list[Token]) -> Number:
        return Number(self._decimal(children[0]))

    def duration(self, children: list[Token]) -> Duration:
        return Duration(self._decimal(children[0]), children[1].rstrip("s") + "s")

    def size(self, children: list[Token]) -> Size:
        return Size(self._decimal(children[0]), str(children[1]))

    def variable(self, children: list[Token]) -> Variable:
        return Variable(str(children[0]))

    def call(self, children: list[Any]) -> Call:
        return Call(str(children[0]), tuple(child for child in children[1:] if child is not None))

    def negative(self, children: list[Any]) -> Expression:
        operand: Expression = children[1]
        return Number(-operand.value) if isinstance(operand, Number) else Negative(operand)

    def arithmetic(self, children: list[Any]) -> Expression:
        result: Expression = children[0]
        for operator, right in zip(children[1::2], children[2::2], strict=True):
            result = Arithmetic(str(operator), result, right)
        return result

    product = arithmetic

    # Conditions

    def comparator(self, children: list[Token]) -> str:
        return str(children[0])

    def comparison(self, children: list[Any]) -> Comparison:
        return Comparison(*children)

    def between(self, children: list[Any]) -> Between:
        return Between(children[2], children[4], negated=children[0] is not None)

    def listed(self, children: list[Any]) -> tuple[Operand, ...]:
        return tuple(children)

    def membership(self, children: list[Any]) -> Membership:
        return Membership(children[2], negated=children[0] is not None)

    def matches(self, children: list[Any]) -> Matches:
        return Matches(_text(children[2]), negated=children[0] is not None)

    # Rules

    def connector(self, children: list[Token]) -> str:
        return children[0].lower()

    def parameter(self, children: list[Any]) -> Parameter:
        value = children[1]
        if isinstance(value, Token) and value.type == "NAME" and value.casefold() in _SPELLING:
            word = _SPELLING[value.casefold()]
            self._wrong(value, f"`{value}` would be read as a name", f'write {word}, or "{value}" for the name')
        return Parameter(_text(value), children[0] or "")

    def where(self, children: list[Any]) -> Tree[Any]:
        return Tree("where", [_text(children[1])])

    def tags(self, children: list[Any]) -> Tree[Any]:
        return Tree("tags", [child for child in children if isinstance(child, Tag)])

    def tag(self, children: list[Any]) -> Tag:
        return Tag(str(children[0]), children[1])

    def label(self, children: list[Token]) -> tuple[Token, str]:
        return children[0], str(children[1])

    def label_list(self, children: list[tuple[Token, str] | None]) -> Labels:
        found: dict[str, str] = {}
        for key, value in filter(None, children):
            if str(key) in found:
                self._wrong(key, f'the label "{key}" is given twice', "keep one of them")
            if not key or len(key) > MAX_LABEL_KEY or len(value) > MAX_LABEL_VALUE:
                self._wrong(
                    key,
                    "a label's key is empty or a label is too long",
                    f"at most {MAX_LABEL_KEY} characters for the key and {MAX_LABEL_VALUE} for the value",
                )
            found[str(key)] = value
        if len(found) > MAX_LABELS:
            first = next(filter(None, children))[0]
            self._wrong(first, f"{len(found)} labels on one rule", f"AWS Glue takes at most {MAX_LABELS}")
        return tuple(found.items())

    def labels(self, children: list[Any]) -> Tree[Any]:
        return Tree("labels", [children[0], children[1]])

    def rule(self, children: list[Any]) -> Rule:
        name: Token = children[0]
        parameters = tuple(child for child in children if isinstance(child, Parameter))
        condition = next((child for child in children if isinstance(child, Condition)), None)
        where: Any = None
        tags: tuple[Any, ...] = ()
        labels: Any = ()
        seen: set[str] = set()
        for clause in (child for child in children if isinstance(child, Tree)):
            if clause.data in seen and clause.data != "tags":
                self._wrong(name, f"this rule has two `{clause.data}` clauses", "join them into one")
            seen.add(clause.data)
            if clause.data == "where":
                where = clause.children[0]
            elif clause.data == "tags":
                tags += tuple(clause.children)
            else:
                labels = clause.children[1]
        for expression in _operands(condition, *(tag.condition for tag in tags)):
            self._bounded(name, expression)
        return Rule(str(name), parameters, condition, where, tags, labels, name.line or 0, name.column or 0)

    def _bounded(self, place: Token, operand: Operand) -> None:
        if _depth(operand) > MAX_DEPTH:
            self._wrong(place, f"an expression is nested deeper than {MAX_DEPTH}", "compute the number first")

    def group(self, children: list[Any]) -> Item:
        item: Item = children[0]
        if children[1] is None:
            return item
        if item.labels:
            self._wrong(children[1].children[0], "this rule has labels twice", "keep one list of labels")
        return replace(item, labels=children[1].children[1])

    def conjunction(self, children: list[Any]) -> Composite:
        return self._composite("and", [child for child in children if not isinstance(child, Token)])

    def disjunction(self, children: list[Any]) -> Composite:
        return self._composite("or", [child for child in children if not isinstance(child, Token)])

    def _composite(self, operator: str, parts: Sequence[Item]) -> Composite:
        for part in parts:
            if part.labels:
                self._wrong(
                    part,
                    "labels on one part of a composite rule",
                    'they belong to the whole rule, in parentheses: ((A) and (B)) labels=["key"="value"]',
                )
        return Composite(operator, tuple(parts), (), parts[0].line, parts[0].column)

    # The document

    def strings(self, children: list[Any]) -> tuple[str, ...]:
        return tuple(str(child) for child in children if child is not None)

    def pair(self, children: list[Any]) -> tuple[str, str | tuple[str, ...]]:
        value = children[1]
        return str(children[0]), value if isinstance(value, tuple) else str(value)

    def dictionary(self, children: list[Any]) -> tuple[Any, ...]:
        return tuple(child for child in children if child is not None)

    def _section(self, children: list[Any]) -> tuple[Token, Any]:
        return children[0], tuple(child for child in children[1:] if child is not None)

    rules = analyzers = _section

    def metadata(self, children: list[Any]) -> tuple[Token, Any]:
        return children[0], children[1]

    sources = default_labels = variable_definition = metadata

    def start(self, children: list[tuple[Token, Any]]) -> Ruleset:
        parts: dict[str, Any] = {}
        variables: dict[str, Any] = {}
        for heading, value in children:
            target = variables if heading.type == "NAME" else parts
            if heading.type == "NAME":
                for operand in value if isinstance(value, tuple) else (value,):
                    self._bounded(heading, operand)
            if str(heading) in target:
                self._wrong(heading, f"`{heading}` is defined twice", "keep one definition")
            target[str(heading)] = value
        if not parts.keys() & {"Rules", "Analyzers"}:
            self.findings.append(
                Finding(self.file, 0, 0, "no rules: the file has neither Rules nor Analyzers", "Rules = [ ... ]")
            )
        return Ruleset(
            rules=parts.get("Rules", ()),
            analyzers=parts.get("Analyzers", ()),
            variables=tuple(variables.items()),
            default_labels=parts.get("DefaultLabels", ()),
            metadata=parts.get("Metadata", ()),
            sources=parts.get("DataSources", ()),
            file=self.file,
        )


def _text(value: Token | Variable) -> Text | Variable:
    return value if isinstance(value, Variable) else Text(str(value))


def _operands(*conditions: Condition | None) -> Iterator[Operand]:
    for condition in conditions:
        match condition:
            case Comparison(_, operand):
                yield operand
            case Between(low, high):
                yield from (low, high)
            case Membership(tuple() as values):
                yield from values


def _depth(operand: Operand) -> int:
    """How deep an expression nests; without recursion, because that is what has to be ruled out."""
    deepest = 0
    stack: list[tuple[Operand, int]] = [(operand, 1)]
    while stack:
        current, depth = stack.pop()
        deepest = max(deepest, depth)
        match current:
            case Arithmetic(_, left, right):
                stack += [(left, depth + 1), (right, depth + 1)]
            case Call(_, arguments):
                stack += [(argument, depth + 1) for argument in arguments]
            case Negative(inner):
                stack.append((inner, depth + 1))
    return deepest
