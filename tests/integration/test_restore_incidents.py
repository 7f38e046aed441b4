"""The drill: the tables as they were at a time, under other names, and the service over them."""

from uuid import uuid4

import pytest

from city_platform.aws.incidents import DynamoDBIncidentRepository, IncidentTables, dynamodb_client
from city_platform.incidents.repository import Listing, Pattern
from city_platform.local.clock import SystemClock
from tests.incident_stack import PARAMETERS, table_definitions
from tests.incident_stream import following
from tests.incidents import change, incident
from tests.templates import template


@pytest.mark.usefixtures("aws_environment")
def test_tables_restored_under_other_names_are_a_whole_store() -> None:
    client, project = dynamodb_client(), f"drill-{uuid4().hex}"
    before, after = IncidentTables(f"{project}-dev"), IncidentTables(f"{project}-restored")
    for definition in table_definitions(project):
        client.create_table(**definition)  # type: ignore[arg-type]
    for table in template("incidents").deploy(PARAMETERS | {"Project": project}).resources("AWS::DynamoDB::Table"):
        client.update_continuous_backups(
            TableName=table.properties["TableName"],
            PointInTimeRecoverySpecification=table.properties["PointInTimeRecoverySpecification"],
        )
    store = DynamoDBIncidentRepository(before, SystemClock(), lambda: client)
    first = incident()
    second = following(first, title="Deeper pothole")
    store.write([change(first, sealed_contact=b"sealed")])
    store.write([change(second, first)])
    for old, new in zip(before.definitions(), after.definitions(), strict=True):
        client.restore_table_to_point_in_time(
            SourceTableName=old["TableName"], TargetTableName=new["TableName"], UseLatestRestorableTime=True
        )
    store.write([change(following(second, title="Spoilt"), second)])
    restored = DynamoDBIncidentRepository(after, SystemClock(), lambda: client)
    assert restored.get(first.incident_id) == second
    assert restored.list(Listing(Pattern.DISTRICT_STATUS, ("mount-pleasant", "reported")), 10) == [second]
    assert [one.version for one in restored.history(first.incident_id)] == [1, 2]
    assert restored.sealed_contact(first.incident_id) == b"sealed"
    restored.write([change(following(second, title="Deepest pothole"), second)])
    assert store.get(first.incident_id) == following(second, title="Spoilt")
