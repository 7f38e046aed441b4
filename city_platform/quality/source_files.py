"""Plans of the rules about files: those the partition was made from, as they landed.

Without a path AWS infers the files from the data, and so does this engine; a path names places that it cannot reach
and is an ERROR. A file's age is the time since it landed. `recentFiles = n` looks at the newest n files only,
`uriRegex = "..."` at those whose names match.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from fractions import Fraction

from city_platform.quality.model import Comparison, Membership, Operand, Rule, Text
from city_platform.quality.operands import NotEvaluable, holds, instant, number, size
from city_platform.quality.plans import ALL_ROWS, MUST_BE_ONE, Plan, Scope, demand, tag_text
from city_platform.quality.surroundings import SourceFile

FILE_RULES = ("FileFreshness", "FileSize", "FileMatch", "FileUniqueness")
_ALGORITHM = "SHA-256"


def source_file_plan(rule: Rule, scope: Scope) -> Plan:
    """The plan of a rule about files. `checked` counts rows all the same: a partition without rows never passes."""
    if rule.parameters:
        raise NotEvaluable(f"{rule.type} judges the files this partition was made from: leave the path out")
    files = _chosen(rule, scope)
    if rule.type == "FileUniqueness":
        digests = Counter(file.sha256 for file in files)
        share = Fraction(sum(count == 1 for count in digests.values()), len(files))
    else:
        test = _test(rule, scope)
        share = Fraction(sum(map(test, files)), len(files))
    name = "file_uniqueness" if rule.type == "FileUniqueness" else "file_compliance"
    condition = demand(rule) if rule.type == "FileUniqueness" else rule.tag("threshold") or MUST_BE_ONE
    return Plan(name, condition, lambda _: share, ALL_ROWS, remark=lambda _: f"{len(files)} files were looked at")


def _chosen(rule: Rule, scope: Scope) -> Sequence[SourceFile]:
    files = scope.surroundings.files
    if files is None:
        raise NotEvaluable("which files these rows come from is not known here")
    pattern = tag_text(rule, "uriRegex")
    if pattern is not None:
        # The engine's own regular expressions: linear in the text, where Python's could be made to run for ever.
        text, matches = scope.session.dialect.text, scope.session.dialect.contains_match
        tests = ", ".join(matches(text(file.name), pattern) for file in files)
        kept = scope.session.rows(f"SELECT {tests}")[0] if files else ()
        files = [file for file, keep in zip(files, kept, strict=True) if keep]
    match rule.tag("recentFiles"):
        case None:
            pass
        case Comparison("=", operand) if (most := number(operand)).denominator == 1 and most >= 1:
            files = sorted(files, key=lambda file: (file.landed_at, file.name), reverse=True)[: int(most)]
        case _:
            raise NotEvaluable("`with recentFiles` takes a whole number, as with recentFiles = 1")
    if not files:
        raise NotEvaluable("there is no file to judge")
    return files


def _test(rule: Rule, scope: Scope) -> Callable[[SourceFile], bool]:
    condition = rule.condition
    if condition is None:
        raise NotEvaluable(f"{rule.type} takes a condition")
    match rule.type, condition:
        case "FileMatch", Membership(tuple() as values, False):
            digests = _digests(rule, values)
            return lambda file: file.sha256 in digests
        case "FileFreshness", _:
            return lambda file: holds(_seconds(file.landed_at), condition, lambda one: _moment(one, scope.now))
        case "FileSize", _:
            return lambda file: holds(Fraction(file.bytes), condition, size)
        case _:
            raise NotEvaluable('FileMatch takes a list of checksums, as in ["9f86d081..."]')


def _digests(rule: Rule, values: tuple[Operand, ...]) -> frozenset[str]:
    algorithm = tag_text(rule, "hashAlgorithm") or _ALGORITHM
    if algorithm != _ALGORITHM:
        raise NotEvaluable(f"files are known by {_ALGORITHM} only, not by {algorithm}")
    texts = [value.value.lower() for value in values if isinstance(value, Text)]
    wrong = [text for text in texts if len(text) != 64 or set(text) - set("0123456789abcdef")]  # noqa: PLR2004 -- 256/4
    if wrong or len(texts) != len(values):
        raise NotEvaluable(f"a {_ALGORITHM} checksum has 64 hexadecimal digits, in quotes")
    return frozenset(texts)


def _moment(operand: Operand, now: datetime) -> Fraction:
    moment = instant(operand, now)
    return _seconds(
        moment if isinstance(moment, datetime) else datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
    )


def _seconds(moment: datetime) -> Fraction:
    return Fraction(int(moment.timestamp()) * 1_000_000 + moment.microsecond, 1_000_000)
