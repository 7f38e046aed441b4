"""Dashboards and alarms: each looks at something that is measured, and the alarms that have to be there are."""

import re
from collections.abc import Mapping, Sequence
from itertools import combinations

import pytest

from city_platform.deployment.monitoring.template import template as written
from city_platform.deployment.monitoring.widgets import COLUMNS, Board, metric
from sensors import data_metrics, run_metrics
from tests.aws_metrics import AWS_METRICS
from tests.dashboards import Drawn, Widget, searched, widgets
from tests.measured import measured
from tests.templates import FOLDER, Resource, Template, template, template_names, templates, walk

STACK = template("monitoring").deploy()
COSTS = template("billing").deploy({"AWS::Region": "us-east-1"}, MonthlyLimit=400, Mailbox="costs@city.example")
BOARDS = [one for stack in (STACK, COSTS) for one in stack.resources("AWS::CloudWatch::Dashboard")]
WIDGETS = [one for board in BOARDS for one in widgets(board)]
CHARTS = [one for one in WIDGETS if one.body["type"] == "metric"]
C53 = {
    "RunFailedAlarm": ("CityPlatform/Runs", "RunsFailed", "notBreaching"),
    "RunSlowAlarm": ("CityPlatform/Runs", "LongestRunSeconds", "notBreaching"),
    "DaemonSilentAlarm": ("CityPlatform/Runs", "RunsInProgress", "breaching"),
    "IngestionLateAlarm": ("CityPlatform/Data", "StaleDatasets", "breaching"),
    "EvaluationMissedAlarm": ("CityPlatform/Data", "StaleEvaluations", "breaching"),
}


def test_the_template_is_what_the_module_writes() -> None:
    assert (FOLDER / "monitoring.yaml").read_text("utf-8") == written()


def known(one: Drawn) -> bool:
    """Whether somebody measures it with these dimensions. A search for words finds names that hold them."""
    metrics = AWS_METRICS.get(one.namespace) or measured().get(one.namespace, {})
    return frozenset(one.dimensions) in metrics.get(one.name, ())


@pytest.mark.parametrize("widget", CHARTS, ids=str)
def test_a_widget_draws_what_is_measured(widget: Widget) -> None:
    assert widget.lines
    assert [one for one in widget.drawn() if not known(one)] == []
    assert set(widget.named_in_expressions()) <= set(widget.ids())
    assert len(set(widget.ids())) == len(widget.ids())
    assert {"title", "region", "period", "stat", "view"} <= set(widget.properties)


@pytest.mark.parametrize(
    "nothing",
    [
        Drawn("CityPlatform/Runs", "RunsFailed", {"Environment": "dev", "Dataset": None}),
        Drawn("CityPlatform/Runs", "RunsFail", {"Environment": "dev"}),
        Drawn("CityPlatform/Traffic", "Records", {}),
        Drawn("AWS/S3", "BucketSizeBytes", {"BucketName": "b"}),
    ],
    ids=str,
)
def test_what_nobody_measures_is_found_out(nothing: Drawn) -> None:
    assert not known(nothing)


@pytest.mark.parametrize("expression", ["SEARCH('x', 'Sum')", "SEARCH('{A,B} C=\"d\"', 'Sum', 60)"])
def test_a_search_that_finds_nothing_is_found_out(expression: str) -> None:
    with pytest.raises(ValueError, match="search"):
        list(searched(expression))


@pytest.mark.parametrize("board", BOARDS, ids=str)
def test_widgets_lie_beside_each_other(board: Resource) -> None:
    taken = [{name: one.body[name] for name in ("x", "y", "width", "height")} for one in widgets(board)]
    assert all(one["x"] >= 0 and one["x"] + one["width"] <= COLUMNS for one in taken)
    for one, other in combinations(taken, 2):
        apart = (
            one["x"] + one["width"] <= other["x"]
            or other["x"] + other["width"] <= one["x"]
            or one["y"] + one["height"] <= other["y"]
            or other["y"] + other["height"] <= one["y"]
        )
        assert apart, (one, other)


def test_a_row_that_is_full_or_ended_begins_the_next() -> None:
    board = Board()
    for title in "abcd":
        board.chart(title, metric("n", "m", {}))
    board.heading("part")
    board.chart("e", metric("n", "m", {}))
    found = [(one["x"], one["y"]) for one in board.widgets]
    assert found == [(0, 0), (8, 0), (16, 0), (0, 6), (0, 12), (0, 13)]


def drawn(board: str) -> set[tuple[str, str]]:
    return {(one.namespace, one.name) for widget in CHARTS if widget.dashboard == board for one in widget.drawn()}


def test_the_data_platform_shows_runs_their_steps_and_their_errors() -> None:
    shown = {name for namespace, name in drawn("DataDashboard") if namespace == "CityPlatform/Runs"}
    assert shown == set(measured()["CityPlatform/Runs"])


def test_the_data_platform_shows_freshness_and_quality_by_dataset_partition_and_rule() -> None:
    found = [one for widget in CHARTS for one in widget.drawn() if one.namespace == "CityPlatform/Data"]
    scores = {frozenset(one.dimensions) for one in found if one.name == "QualityScore"}
    assert scores == measured()["CityPlatform/Data"]["QualityScore"]
    assert {one.name for one in found} == set(measured()["CityPlatform/Data"])


def test_sizes_are_asked_for_by_the_day_and_class() -> None:
    """S3 publishes them once a day: a shorter period would draw nothing."""
    sized = [one for one in CHARTS if any(each.namespace == "AWS/S3" for each in one.drawn())]
    assert len(sized) == 4
    for widget in sized:
        assert widget.properties["period"] == 86400
        assert all(line[0].get("expression", "").endswith(", 'Average', 86400)") for line in widget.lines[:1])
        (one,) = {frozenset(each.dimensions) for each in widget.drawn()}
        assert one == {"BucketName", "StorageType"}
    cost = sized[-1].lines[-1][0]["expression"]
    assert cost == "SUM(sizes) / 1073741824 * 0.025"


@pytest.mark.parametrize(
    ("board", "name"), [("IncidentsDashboard", "incidents"), ("TrafficDashboard", "iot-analytics-system")]
)
def test_gigabyte_seconds_are_those_of_every_function(board: str, name: str) -> None:
    (query,) = [one.properties["query"] for one in WIDGETS if one.dashboard == board and one.body["type"] == "log"]
    asked = set(re.findall(r"SOURCE '([^']+)'", query))
    groups = {one.properties["LogGroupName"] for one in template(name).deploy().resources("AWS::Logs::LogGroup")}
    assert asked == {one for one in groups if one.startswith("/aws/lambda/")}
    assert re.findall(r"(\w+)\(each\) as (\w+)", query) == [
        ("sum", "gigabyte_seconds"),
        ("avg", "gigabyte_seconds_a_call"),
    ]


def test_traffic_shows_what_the_handler_tells() -> None:
    shown = {name for namespace, name in drawn("TrafficDashboard") if namespace == "CityPlatform/Traffic"}
    told = {
        name for name in measured()["CityPlatform/Traffic"] if not name.startswith(("Rejected.", "EndToEndLatencyP"))
    }
    assert shown == told


def test_the_alarms_of_runs_and_data_are_there() -> None:
    for name, (namespace, watched, missing) in C53.items():
        alarm = STACK[name].properties
        assert (alarm["Namespace"], alarm["MetricName"], alarm["TreatMissingData"]) == (namespace, watched, missing)
        assert alarm["Dimensions"] == [{"Name": "Environment", "Value": "dev"}]


def test_a_period_holds_two_ticks_of_what_measures() -> None:
    ticks = {"CityPlatform/Runs": run_metrics.INTERVAL_SECONDS, "CityPlatform/Data": data_metrics.INTERVAL_SECONDS}
    for name, (namespace, *_) in C53.items():
        assert STACK[name].properties["Period"] >= 2 * ticks[namespace], name


def test_each_bucket_has_a_limit_over_every_class_its_objects_are_moved_to() -> None:
    classes = {
        "STANDARD": "StandardStorage",
        "STANDARD_IA": "StandardIAStorage",
        "GLACIER_IR": "GlacierInstantRetrievalStorage",
    }
    moved = {
        one["StorageClass"]
        for one in walk(template("foundation").body)
        if isinstance(one, dict) and "StorageClass" in one
    }
    for bucket in ("Raw", "Transform", "Curated", "Crawler"):
        stats = [
            one["MetricStat"] for one in STACK[f"{bucket}BucketFullAlarm"].properties["Metrics"] if "MetricStat" in one
        ]
        of = [{each["Name"]: each["Value"] for each in one["Metric"]["Dimensions"]} for one in stats]
        assert {one["BucketName"] for one in of} == {f"${{import:city-platform-dev-{bucket}Bucket}}"}
        assert [one["StorageType"] for one in of] == [
            classes[one] for one in ("STANDARD", *sorted(moved, reverse=True))
        ]
        assert {(one["Period"], one["Stat"], one["Metric"]["MetricName"]) for one in stats} == {
            (86400, "Average", "BucketSizeBytes")
        }


def watched(alarm: Resource) -> Sequence[Drawn]:
    """The metrics of an alarm."""
    queries = alarm.properties.get("Metrics")
    single = (
        [alarm.properties]
        if queries is None
        else [one["MetricStat"]["Metric"] for one in queries if "MetricStat" in one]
    )
    return [
        Drawn(one["Namespace"], one["MetricName"], {each["Name"]: each["Value"] for each in one.get("Dimensions", ())})
        for one in single
    ]


def counted(of: Template) -> set[tuple[str, str]]:
    """The metrics that a template's own filters make of logs."""
    made = (
        one["MetricTransformations"][0]
        for one in (each.properties for each in of.deploy(_given(of)).resources("AWS::Logs::MetricFilter"))
    )
    return {(one["MetricNamespace"], one["MetricName"]) for one in made}


def _given(of: Template) -> Mapping[str, object]:
    return {name: 100 for name, one in of.parameters.items() if one["Type"] == "Number" and "Default" not in one}


@pytest.mark.parametrize("name", template_names())
def test_every_alarm_of_every_stack_watches_what_is_measured(name: str) -> None:
    of = template(name)
    filters = counted(of)
    for alarm in of.deploy(_given(of)).resources("AWS::CloudWatch::Alarm"):
        for one in watched(alarm):
            assert (one.namespace, one.name) in filters or known(one), f"{alarm} watches {one}"


def test_alarms_on_an_api_look_under_its_name_and_not_its_id() -> None:
    stack = template("incidents").deploy()
    names = {one.properties["Name"] for one in stack.resources("AWS::ApiGateway::RestApi")}
    apis = [
        one.dimensions["ApiName"]
        for alarm in stack.resources("AWS::CloudWatch::Alarm")
        for one in watched(alarm)
        if one.namespace == "AWS/ApiGateway"
    ]
    assert apis
    assert set(apis) <= names


# What it costs.


def test_costs_are_watched_where_they_are_published_and_nowhere_else() -> None:
    (rule,) = template("billing").body["Rules"].values()
    (assertion,) = rule["Assertions"]
    assert assertion["Assert"] == {"Fn::Equals": [{"Ref": "AWS::Region"}, "us-east-1"]}
    for each in templates():
        if each.name != "billing":
            assert "AWS/Billing" not in str(each.body), each.name
            assert not each.resources("AWS::Budgets::Budget")
    alarm = COSTS["ChargesAlarm"].properties
    assert (alarm["Namespace"], alarm["MetricName"], alarm["Threshold"]) == ("AWS/Billing", "EstimatedCharges", 400)
    assert alarm["Dimensions"] == [{"Name": "Currency", "Value": "USD"}]


def test_the_budget_tells_three_times_and_of_the_forecast() -> None:
    budget = COSTS["MonthlyBudget"].properties
    told = [
        (one["Notification"]["NotificationType"], one["Notification"]["Threshold"], one["Subscribers"])
        for one in budget["NotificationsWithSubscribers"]
    ]
    topic = [{"SubscriptionType": "SNS", "Address": "${CostTopic}"}]
    assert told == [("ACTUAL", 50, topic), ("ACTUAL", 80, topic), ("ACTUAL", 100, topic), ("FORECASTED", 100, topic)]
    assert budget["Budget"]["BudgetLimit"] == {"Amount": 400, "Unit": "USD"}
    assert budget["Budget"]["CostFilters"] == {"TagKeyValue": ["user:Environment$dev"]}
    everything = template("billing").deploy(MonthlyLimit=1, Mailbox="a@b.c", OnlyTaggedCosts="false")
    assert "CostFilters" not in everything["MonthlyBudget"].properties["Budget"]


def test_budgets_and_alarms_may_write_to_the_topic_and_use_its_key() -> None:
    services = {"budgets.amazonaws.com", "cloudwatch.amazonaws.com"}
    documents = [COSTS["CostTopicPolicy"].properties["PolicyDocument"], COSTS["CostKey"].properties["KeyPolicy"]]
    for document in documents:
        (statement,) = [one for one in document["Statement"] if one["Sid"] == "BudgetsAndAlarmsTell"]
        assert set(statement["Principal"]["Service"]) == services
        assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": "${AWS::AccountId}"}
