"""What is told of the quality of data, beside what stewards are told: the details of the events, version 1."""

from typing import Annotated, ClassVar, Literal

import msgspec

from city_platform.events import Amount, Detail, Moment

MOST_RULES = 50  # named in an event; it has room for more, but nobody reads them


class GateLinks(msgspec.Struct, frozen=True):
    verdict: str


class QualityGateFailed(Detail, frozen=True, kw_only=True):
    """The newest data of a partition was judged and may not pass, or may no longer, because a waiver ended.

    `rules` are those that keep the gate closed, none where the evaluation as a whole failed.
    """

    SOURCE: ClassVar[str] = "city.data"

    dataset: str
    partition: str
    data_version: str
    ruleset: str
    because: Literal["rules", "waiver_ended"]
    rules: Annotated[list[str], msgspec.Meta(max_length=MOST_RULES)]
    rules_failed: Amount
    owner: str
    failed_at: Moment
    links: GateLinks
