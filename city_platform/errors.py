"""The errors every part of the platform raises, and how a mistake in a file is reported.

Callers tell two things apart: a `PermanentError` comes back however often it is tried, so someone has to act;
a `TransientError` may go away by itself, so the orchestrator retries it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


class CityPlatformError(Exception):
    """Base of every error the platform raises on purpose."""


class PermanentError(CityPlatformError):
    """Trying again gives the same answer: input, definition or permission has to change."""


class TransientError(CityPlatformError):
    """The outside world failed; trying again may succeed."""


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One mistake in one file: where it is, what it is, and what to write instead.

    `line` and `column` count from 1; 0 means the file as a whole. `code` names the kind of mistake where tools sort by
    it.
    """

    file: str
    line: int
    column: int
    problem: str
    remedy: str = ""
    code: str = ""

    def __str__(self) -> str:
        place = self.file if not self.line else f"{self.file}:{self.line}:{self.column or 1}"
        return f"{place}: {self.problem}" + (f" -> {self.remedy}" if self.remedy else "")


class InvalidDefinition(PermanentError):
    """A dataset's folder holds mistakes; `findings` lists all of them, in the order of the files."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings: Sequence[Finding] = tuple(sorted(set(findings)))
        super().__init__(self._message())

    def _message(self) -> str:
        lines = "\n".join(f"  {finding}" for finding in self.findings)
        return f"{len(self.findings)} mistake(s) in the dataset definitions:\n{lines}"
