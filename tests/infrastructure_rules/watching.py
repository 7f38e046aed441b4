"""Logs, alarms and trails. Source: Control Tower CT.CLOUDWATCH.PR.1-4 and CT.CLOUDTRAIL.PR.1-3."""

from collections.abc import Iterator

from tests.infrastructure_rules.model import rule
from tests.templates import Resource, Stack

ALARM = "AWS::CloudWatch::Alarm"


@rule("log-group", "AWS::Logs::LogGroup")
def kept_for_a_time_under_a_key_of_ours(group: Resource, _: Stack) -> Iterator[str]:
    if not group.properties.get("RetentionInDays"):
        yield "keeps logs for ever"
    if not group.properties.get("KmsKeyId"):
        yield "names no key of ours"


@rule("alarm-heard", ALARM, "AWS::CloudWatch::CompositeAlarm")
def somebody_hears(alarm: Resource, _: Stack) -> Iterator[str]:
    if not alarm.properties.get("AlarmActions") or alarm.properties.get("ActionsEnabled", True) is not True:
        yield "tells nobody"


@rule("alarm-silence", ALARM)
def says_what_silence_means(alarm: Resource, _: Stack) -> Iterator[str]:
    """The default leaves an alarm as it was when data cease: a dead source then looks like a good one."""
    if "TreatMissingData" not in alarm.properties:
        yield "does not say what missing data mean"


@rule("trail", "AWS::CloudTrail::Trail")
def everywhere_and_verifiable(trail: Resource, _: Stack) -> Iterator[str]:
    for name in ("EnableLogFileValidation", "IncludeGlobalServiceEvents", "IsLogging", "IsMultiRegionTrail"):
        if trail.properties.get(name) is not True:
            yield f"does not set {name}"
    if not trail.properties.get("KMSKeyId"):
        yield "names no key of ours"
