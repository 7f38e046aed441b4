"""What every command needs: where things are, how to speak, and which exit code means what."""

import getpass
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from rich.console import Console

from city_platform.errors import CityPlatformError, PermanentError, TransientError

# What reads definitions and data is imported where a command needs it: `--help` would wait a second for the engines.
if TYPE_CHECKING:
    from city_platform.datasets import Dataset
    from city_platform.layers.platform import Platform
    from city_platform.local.keys import LocalKeyService

OK, FAILED, USAGE, REFUSED, TRY_AGAIN = 0, 1, 2, 3, 4
EXIT_CODES = """\
Exit codes: 0 all is well; 1 something ran and failed, or a gate stands closed; 2 the call itself is wrong;
3 input or definitions were refused, see the message; 4 the outside world failed, try again."""

_LINE = 1_000  # characters
_DAY_S = 86_400
MOST_BYTES = 1_000_000  # of a file that a person writes
CHECKOUT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Session:
    """One call of the command."""

    home: Path
    datasets_folder: Path
    as_json: bool
    out: Console
    err: Console

    @classmethod
    def start(cls, home: Path | None, *, as_json: bool) -> "Session":
        """`home` defaults to CITY_PLATFORM_HOME, then to `.city-platform` in the checkout."""
        root = CHECKOUT if CHECKOUT.joinpath("datasets").is_dir() else Path.cwd()
        chosen = home or Path(os.environ.get("CITY_PLATFORM_HOME", root / ".city-platform"))
        return cls(chosen.absolute(), root / "datasets", as_json, _console(), _console(stderr=True))

    def platform(self) -> "Platform":
        """The adapters of the deployment that the environment names."""
        from city_platform.deployment import open_platform

        if self.home.exists() and not (self.home.is_dir() and os.access(self.home, os.R_OK | os.X_OK)):
            kind = "may not be read by this account" if self.home.is_dir() else "is no folder"
            self.fail(REFUSED, f"{self.home} {kind}: name the folder of the data with --home or CITY_PLATFORM_HOME")
        return open_platform(self.home)

    def local_keys(self) -> "LocalKeyService":
        """The keys of this machine; those of a managed service are its own tools' to change."""
        from city_platform.deployment import deployment
        from city_platform.local.platform import local_key_service

        if deployment(os.environ) != "local":
            self.fail(USAGE, "the keys of this deployment are in AWS KMS: list, disable and remove them there")
        return local_key_service(self.home)

    def datasets(self) -> "Mapping[str, Dataset]":
        """Every dataset by its name; raises InvalidDefinition with all that is wrong with their folders."""
        from city_platform.datasets import load_datasets

        return {dataset.name: dataset for dataset in load_datasets(self.datasets_folder)}

    def dataset(self, name: str, *, drafts: bool = False) -> "Dataset":
        """The dataset of that name; ends the command where there is none. With `drafts` a draft is one, too."""
        from city_platform.datasets import read_folders

        known = self.datasets()
        if name in known:
            return known[name]
        draft = next((one for one in read_folders(self.datasets_folder) if one.draft and one.name == name), None)
        if draft is None:
            self.unknown("dataset", name, known)
        if draft.dataset is None or not drafts:
            self.fail(USAGE, f"{name} is a draft, no part of the platform; `datasets check` says what is left to do")
        return draft.dataset

    def unknown(self, what: str, name: str, known: Iterable[str]) -> NoReturn:
        """Ends the command over a name that is none: with the name that was probably meant, else with all there are."""
        self.fail(USAGE, no_such(what, name, known))

    def zone(self, name: str) -> ZoneInfo:
        """The time zone of that name; ends the command where there is none."""
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):  # a folder of zones is an OSError, '../x' a ValueError
            self.fail(USAGE, f"there is no time zone {name!r}; write one such as America/Vancouver")

    def text(self, file: Path) -> str:
        """A file that a person writes as text, line ends as LF; ends the command where it is none."""
        try:
            with file.open("rb") as reader:
                data = reader.read(MOST_BYTES + 1)
            if len(data) > MOST_BYTES:
                self.fail(REFUSED, f"{file} is larger than {MOST_BYTES:,} bytes: what people write is small")
            return data.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
        except OSError as error:
            self.fail(REFUSED, f"{file} cannot be read: {error.strerror}")
        except UnicodeDecodeError:
            self.fail(REFUSED, f"{file} is not UTF-8: save it as UTF-8")

    @staticmethod
    def account() -> str:
        """The operating system's user who runs the command."""
        try:
            return getpass.getuser()
        except (OSError, KeyError):
            return f"uid {os.getuid()}"

    def result(self, body: Mapping[str, Any]) -> None:
        """For machines: one JSON object on standard output, where `--json` was given."""
        if self.as_json:
            sys.stdout.write(json.dumps(body, ensure_ascii=False, default=str) + "\n")

    def fail(self, code: int, message: str) -> NoReturn:
        if self.as_json:
            sys.stdout.write(json.dumps({"error": message, "exit_code": code}, ensure_ascii=False) + "\n")
        else:
            self.err.print(message, style="red", markup=False, highlight=False)
        raise SystemExit(code)

    def tries_again(self, error: TransientError) -> None:
        """Says what failed for the moment and is tried again."""
        self.err.print(f"trying again: {error}", style="yellow", markup=False, highlight=False)

    @contextmanager
    def outlasting(self, *, once: bool) -> Iterator[None]:
        """One look of several: what fails for the moment is told, and raised where there is `once` none after it."""
        try:
            yield
        except TransientError as error:
            if once:
                raise
            self.tries_again(error)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turns the platform's errors into a message and an exit code; anything else is a defect and shows itself.

        A missing role is a wrong call, whoever tries again.
        """
        try:
            yield
        except PermanentError as error:
            from city_platform.governance.roles import NotEntitled

            self.fail(USAGE if isinstance(error, NotEntitled) else REFUSED, str(error))
        except TransientError as error:
            self.fail(TRY_AGAIN, str(error))
        except CityPlatformError as error:
            self.fail(FAILED, str(error))
        except OSError as error:
            if error.filename is None:
                raise
            self.fail(REFUSED, f"{error.filename}: {error.strerror}; name a file or folder that may be used so")


def _console(*, stderr: bool = False) -> Console:
    """One for a terminal as wide as it is. In a pipe or a file a row stays a line, whatever its length."""
    console = Console(stderr=stderr)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _LINE
    return console


def no_such(what: str, name: str, known: Iterable[str]) -> str:
    """There is none of that name; did you mean another? Names that resemble none are few enough to list."""
    names = list(known)
    folded = {one.casefold(): one for one in names}
    near = get_close_matches(name.casefold(), folded, n=3)
    if near:
        return f"there is no {what} {name!r}; did you mean {' or '.join(folded[one] for one in near)}?"
    return f"there is no {what} {name!r}; there are: {', '.join(names) or 'none'}"


def gate(word: str) -> str:
    """How a gate stands, for rich: red where it needs somebody, yellow where somebody decided."""
    colour = {"open": "green", "waived": "yellow", "unjudged": "white", "-": "white"}.get(word, "red")
    return f"[{colour}]{word}[/]"


def local(time: datetime, timezone: str) -> str:
    """A time for people: the city's clock, with its zone."""
    return time.astimezone(ZoneInfo(timezone)).strftime("%Y-%m-%d %H:%M %Z")


def seconds(text: str) -> int | None:
    """How long 30s, 5m or 2h are; None for anything else, and for more than a day."""
    found = re.fullmatch(r"([0-9]{1,6})([smh])", text)
    duration = int(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]] if found else 0
    return duration if 0 < duration <= _DAY_S else None


def size(count: int) -> str:
    """Bytes for people: 12.3 MB."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:  # noqa: PLR2004 -- a thousand of one unit is one of the next
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"
