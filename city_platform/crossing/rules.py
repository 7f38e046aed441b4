"""The table of what traffic and incidents say of each other. Nothing here acts on it."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from importlib.resources import files
from typing import Annotated, Literal, TypeAlias

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from city_platform.errors import PermanentError
from city_platform.incidents.model import Severity, Visibility
from city_platform.incidents.reference import Code, Reference, Text
from city_platform.traffic.congestion import Level

Kind: TypeAlias = Literal["congestion", "silence", "readings"]
KINDS: tuple[Kind, ...] = ("congestion", "silence", "readings")
_MOST_MINUTES, _MOST_METRES = 1440, 5_000


class BadRules(PermanentError):
    """The table cannot be used; the message holds every mistake."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Opening(_Strict):
    """What becomes an incident after `minutes`, and which one. `level` is of congestion alone, `zones` of zones."""

    name: Text
    what: Kind
    level: Literal[Level.CONGESTED, Level.SEVERE] = Level.SEVERE
    minutes: Annotated[int, Field(ge=1, le=_MOST_MINUTES)]
    zones: Annotated[tuple[Text, ...], Field(min_length=1)] = ("*",)
    category: Code
    severity: Severity = Severity.MEDIUM
    visibility: Literal[Visibility.PUBLIC, Visibility.PRIVATE] = Visibility.PUBLIC


class Rules(_Strict):
    """The whole table, checked. `explains`: metres by category."""

    version: Literal[1]
    explains: Mapping[Code, Annotated[int, Field(ge=0, le=_MOST_METRES)]] = {}
    opens: Annotated[tuple[Opening, ...], Field(max_length=100)] = ()
    over_minutes: Annotated[int, Field(ge=1, le=_MOST_MINUTES)] = 15
    zones_at_once: Annotated[int, Field(ge=1, le=100)] = 5

    def rule(self, what: Kind, zone: str) -> Opening | None:
        """The rule that counts for a zone."""
        of_kind = (one for one in self.opens if one.what == what)
        return next((one for one in of_kind if any(fnmatchcase(zone, each) for each in one.zones)), None)

    def without_openings(self) -> "Rules":
        return self.model_copy(update={"opens": ()})


def load_rules(reference: Reference, text: str | None = None, name: str = "the packaged rules") -> Rules:
    """The table in YAML, that of the package unless given, held to the city's categories.

    Raises BadRules with every mistake.
    """
    packaged = files(__package__).joinpath("rules.yaml").read_text(encoding="utf-8")
    try:
        rules = Rules.model_validate(yaml.safe_load(packaged if text is None else text))
    except ValidationError as error:
        found = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'file'}: {one['msg']}" for one in error.errors())
        raise BadRules(f"{name}: {found}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise BadRules(f"{name} is no YAML: {error}") from error
    if wrong := _mistakes(rules, reference):
        raise BadRules(f"{name}: {'; '.join(wrong)}")
    return rules


def _mistakes(rules: Rules, reference: Reference) -> Sequence[str]:
    known = ", ".join(reference.categories)
    named = [("explains", category) for category in rules.explains]
    named += [(f"opens {one.name!r}", one.category) for one in rules.opens]
    wrong = [f"{where}: there is no category {one!r}; there are: {known}" for where, one in named
             if one not in reference.categories]  # fmt: skip
    wrong += [
        f"opens {one.name!r}: the category {one.category!r} asks for {asked!r}, which a sensor cannot answer"
        for one in rules.opens
        if one.category in reference.categories
        for asked, attribute in reference.categories[one.category].attributes.items()
        if attribute.required
    ]
    return wrong
