"""What AWS's services would log on their own is declared before they do: with a retention, under a key of ours."""

from collections.abc import Iterator

from tests.rights import reference, stacks_of
from tests.templates import Resource, Stack, template, templates


def made_by_services(stack: Stack) -> Iterator[str]:
    """The names of log groups that services make where there are none.

    Glue: /aws-glue/crawlers-role/{role}-{security configuration} for a crawler that has one, and
    /aws-glue/data-quality/{output,error} for evaluations (CustomLogGroupPrefix in its API). RDS: "Publishing PostgreSQL
    logs to Amazon CloudWatch Logs". ECS: "Container Insights performance log events". DataBrew's guide names the folder
    alone, its console the group: where it were another, DataBrew makes that one as before.
    """
    for one in stack.resources():
        told = one.properties
        if one.kind == "AWS::Glue::Crawler":
            role = stack[reference(told["Role"])].properties["RoleName"]
            security = stack[reference(told["CrawlerSecurityConfiguration"])].properties["Name"]
            assert (role, security) == ("city-platform-dev-crawler", "city-platform-dev")
            yield "/aws-glue/crawlers-role/${CrawlerRole}-${GlueSecurity}"
        if one.kind == "AWS::Glue::DataQualityRuleset":
            yield from ("/aws-glue/data-quality/output", "/aws-glue/data-quality/error")
        if one.kind == "AWS::DataBrew::Job" and told["LogSubscription"] == "ENABLE":
            yield f"/aws-glue-databrew/jobs-{told['Name']}"
        if one.kind == "AWS::RDS::DBInstance":
            for log in told["EnableCloudwatchLogsExports"]:
                yield f"/aws/rds/instance/{told['DBInstanceIdentifier']}/{log}"
        if (
            one.kind == "AWS::ECS::Cluster"
            and {"Name": "containerInsights", "Value": "enabled"} in told["ClusterSettings"]
        ):
            yield f"/aws/ecs/containerinsights/{told['ClusterName']}/performance"


def test_every_group_that_a_service_would_make_is_declared_with_a_retention_and_a_key() -> None:
    wanted = 0
    for name in ("analytics", "dagster"):
        stack = stacks_of(name)[0]
        groups = {one.properties["LogGroupName"]: one for one in stack.resources("AWS::Logs::LogGroup")}
        for group in made_by_services(stack):
            wanted += 1
            told = groups[group].properties
            assert told["RetentionInDays"], group
            assert told["KmsKeyId"] == "${import:city-platform-dev-LogsKeyArn}", group
    assert wanted > 30


def before(one: Resource) -> set[str]:
    named = one.body.get("DependsOn", [])
    return {named} if isinstance(named, str) else set(named)


def test_a_group_comes_before_the_service_that_would_make_it() -> None:
    analytics, dagster = stacks_of("analytics")[0], stacks_of("dagster")[0]
    assert "CrawlerLogGroup" in before(analytics["SchemaCrawler"])
    assert before(dagster["Database"]) == {"DatabaseLogGroup", "DatabaseUpgradeLogGroup"}
    assert before(dagster["Cluster"]) == {"InsightsLogGroup"}


def test_firehose_finds_the_stream_that_it_writes_its_errors_to() -> None:
    """It makes none: its role has logs:PutLogEvents alone, as "Controlling access with Amazon Data Firehose" says."""
    stack = template("iot-analytics-system").deploy()
    options = stack["RawCopyStream"].properties["ExtendedS3DestinationConfiguration"]["CloudWatchLoggingOptions"]
    streams = {
        (one.properties["LogGroupName"], one.properties["LogStreamName"])
        for one in stack.resources("AWS::Logs::LogStream")
    }
    assert (options["LogGroupName"], options["LogStreamName"]) in streams
    assert "RawCopyLogStream" in before(stack["RawCopyStream"])


def test_what_ends_in_a_bucket_ends_in_its_copy_where_s3_copies_no_end() -> None:
    """S3 replicates no delete marker that a lifecycle rule made ("What does Amazon S3 replicate?")."""

    def ends(stack: Stack, bucket: str) -> dict[str, int]:
        rules = stack[bucket].properties["LifecycleConfiguration"]["Rules"]
        return {one["Prefix"]: one["ExpirationInDays"] for one in rules if "ExpirationInDays" in one}

    lake, copy = template("foundation").deploy(), template("replica").deploy()
    for bucket in ("RawBucket", "TransformBucket", "CuratedBucket", "CrawlerBucket"):
        assert ends(copy, bucket) == ends(lake, bucket), bucket
    assert len(ends(copy, "TransformBucket")) == 3


def test_a_failed_first_deployment_leaves_nothing_that_a_second_one_would_meet() -> None:
    kept = {str(one) for each in templates() for one in each.resources() if one.body.get("DeletionPolicy") == "Retain"}
    assert kept == set()
