"""Lets through exactly the data that was judged, and nothing else."""

from city_platform.errors import PermanentError
from city_platform.quality.verdict import Verdict


class GateClosed(PermanentError):
    """This data may not be released; the message says why and what to do."""


def admit(verdict: Verdict | None, *, dataset: str, partition: str, data_version: str, ruleset_hash: str) -> Verdict:
    """The verdict, if it is a passing one about exactly this data under exactly this ruleset; raises GateClosed."""
    what = f"{dataset} {partition}"
    again = "Run the quality_checked layer of this partition again."
    if verdict is None:
        raise GateClosed(f"{what}: there is no verdict on this data (version {data_version}). {again}")
    if (verdict.dataset, verdict.partition) != (dataset, partition):
        raise GateClosed(f"{what}: the verdict is about {verdict.dataset} {verdict.partition}. {again}")
    if verdict.data_version != data_version:
        raise GateClosed(
            f"{what}: the verdict is about other data (version {verdict.data_version}, not {data_version}). {again}"
        )
    if verdict.ruleset_hash != ruleset_hash:
        raise GateClosed(
            f"{what}: the rules have changed since the verdict (ruleset {verdict.ruleset_hash}, now {ruleset_hash}). "
            f"{again}"
        )
    if verdict.rows <= 0:
        raise GateClosed(
            f"{what}: the partition has no rows, and nothing is no evidence. Check the source, then: {again}"
        )
    if not verdict.passed or verdict.failed_rules:
        reasons = [
            f"{result.rule_id} ({result.outcome}): {result.explanation}"
            for result in verdict.results
            if result.closes_gate
        ]
        raise GateClosed(
            f"{what}: failed by {len(reasons)} rule(s): {'; '.join(reasons) or 'the evaluation as a whole'} "
            "Correct the source or the cleaning recipe, or have the data's owner change the rule; then evaluate again."
        )
    return verdict
