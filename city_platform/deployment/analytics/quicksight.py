"""Amazon QuickSight as code: a data set for each query, and for each dataset one template, analysis and dashboard.

A dashboard shows each query as a chart and as a table. A query that asks for a chart gets lines over its first column,
any other bars. All of it is made only where the stack's QuickSightEdition names one. The Standard edition's API refuses
templates, analyses and dashboards (UnsupportedUserEditionException): there the data sets are made, and an author puts
them on a sheet by hand.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from city_platform.deployment.analytics.athena import Query
from city_platform.deployment.cloudformation import (
    NO_VALUE,
    Function,
    Resource,
    attribute,
    either,
    imported,
    logical_name,
    ref,
    sub,
    tags,
)

CONDITION, ENTERPRISE = "QuickSight", "QuickSightEnterprise"
SOURCE = "QuickSightSource"
FREQUENT = ("incidents",)  # datasets that change all day
TIME, TIMEZONE = "09:00", "America/Vancouver"  # when the night's and the morning's runs are over
_INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER")
_READ_DATA_SET = ("DescribeDataSet", "DescribeDataSetPermissions", "PassDataSet", "DescribeIngestion", "ListIngestions")
_READ_DASHBOARD = ("DescribeDashboard", "ListDashboardVersions", "QueryDashboard")
_EXPLORE_ANALYSIS = (  # an analysis is shared as a whole or not at all
    *("DescribeAnalysis", "DescribeAnalysisPermissions", "QueryAnalysis", "RestoreAnalysis"),
    *("UpdateAnalysis", "UpdateAnalysisPermissions", "DeleteAnalysis"),
)


def quicksight(queries: Sequence[Query], titles: Mapping[str, str]) -> list[Resource]:
    """Everything but the data source. `titles` are the datasets' own, by name."""
    made: list[Resource] = []
    for name, several in groupby(queries, key=lambda one: one.dataset):
        of_dataset = list(several)
        for query in of_dataset:
            made += [data_set(query), refresh(query)]
        made += [_template(name, of_dataset), *_shown(name, titles[name], of_dataset)]
    frequent = [query for query in queries if query.dataset in FREQUENT]
    return [*made, *([refresh_after_export(frequent)] if frequent else [])]


def data_set(query: Query) -> Resource:
    columns = [{"Name": name, "Type": column_type(kind)} for name, kind in query.columns.items()]
    sql = {"DataSourceArn": attribute(SOURCE, "Arn"), "Name": query.name, "SqlQuery": query.athena, "Columns": columns}
    return Resource(
        logical_name(query.dataset, query.name, "data set"),
        "AWS::QuickSight::DataSet",
        {
            "AwsAccountId": ref("AWS::AccountId"),
            "DataSetId": data_set_id(query),
            "Name": query.title,
            "ImportMode": "SPICE",
            "PhysicalTableMap": {"query": {"CustomSql": sql}},
            "Permissions": permissions(_READ_DATA_SET),
            "Tags": tags("public"),
        },
        CONDITION,
    )


def data_set_id(query: Query) -> Function:
    return sub(f"${{Project}}-${{Environment}}-{query.dataset}-{query.name}")


def refresh(query: Query) -> Resource:
    """Once a day; hourly what changes all day, where the edition can. An export of incidents asks for it besides."""
    daily: dict[str, Any] = {"Interval": "DAILY", "TimeOfTheDay": TIME, "TimeZone": TIMEZONE}
    if query.dataset in FREQUENT:
        daily |= {
            "Interval": either(ENTERPRISE, "HOURLY", "DAILY"),
            "TimeOfTheDay": either(ENTERPRISE, NO_VALUE, TIME),
        }
    return Resource(
        logical_name(query.dataset, query.name, "refresh"),
        "AWS::QuickSight::RefreshSchedule",
        {
            "AwsAccountId": ref("AWS::AccountId"),
            "DataSetId": data_set_id(query),
            "Schedule": {"ScheduleId": "regular", "RefreshType": "FULL_REFRESH", "ScheduleFrequency": daily},
        },
        CONDITION,
    )


def refresh_after_export(queries: Sequence[Query]) -> Resource:
    """An export of incidents that succeeded starts the state machine that has their data sets read anew."""
    ids = ", ".join(f'"{data_set_id(query).argument}"' for query in queries)
    return Resource(
        "DashboardRefreshRule",
        "AWS::Events::Rule",
        {
            "Name": sub("${Project}-${Environment}-dashboard-refresh"),
            "Description": "An export of incidents succeeded.",
            "State": "ENABLED",
            "EventPattern": {
                "source": ["aws.states"],
                "detail-type": ["Step Functions Execution Status Change"],
                "detail": {"status": ["SUCCEEDED"], "stateMachineArn": [imported("ExportStateMachineArn")]},
            },
            "Targets": [
                {
                    "Id": "refresh",
                    "Arn": ref("DashboardRefresh"),
                    "RoleArn": attribute("DashboardRefreshStartRole", "Arn"),
                    "Input": sub(f'{{"delaySeconds": ${{RefreshDelaySeconds}}, "dataSets": [{ids}]}}'),
                    "RetryPolicy": {"MaximumEventAgeInSeconds": 3600, "MaximumRetryAttempts": 10},
                    "DeadLetterConfig": {"Arn": attribute("UndeliveredEvents", "Arn")},
                }
            ],
            "Tags": tags("internal"),
        },
        CONDITION,
    )


def permissions(actions: Sequence[str]) -> list[Mapping[str, Any]]:
    """For the one group or user that the stack names."""
    principal = sub("arn:${AWS::Partition}:quicksight:${AWS::Region}:${AWS::AccountId}:${QuickSightPrincipal}")
    return [{"Principal": principal, "Actions": [f"quicksight:{action}" for action in actions]}]


def column_type(kind: str) -> str:
    """DuckDB's type in QuickSight's words."""
    if kind in _INTEGERS:
        return "INTEGER"
    if kind.startswith(("DECIMAL", "DOUBLE", "FLOAT")):
        return "DECIMAL"
    if kind.startswith(("DATE", "TIMESTAMP")):
        return "DATETIME"
    return "BOOLEAN" if kind == "BOOLEAN" else "STRING"


def _template(dataset: str, queries: Sequence[Query]) -> Resource:
    return Resource(
        logical_name(dataset, "template"),
        "AWS::QuickSight::Template",
        {
            "AwsAccountId": ref("AWS::AccountId"),
            "TemplateId": sub(f"${{Project}}-${{Environment}}-{dataset}"),
            "Definition": {
                "DataSetConfigurations": [
                    {
                        "Placeholder": query.name,
                        "DataSetSchema": {
                            "ColumnSchemaList": [
                                {"Name": name, "DataType": column_type(kind)} for name, kind in query.columns.items()
                            ]
                        },
                    }
                    for query in queries
                ],
                "Sheets": [
                    {
                        "SheetId": query.name,
                        "Name": query.name.replace("_", " ").capitalize(),
                        "Description": query.title,
                        "Visuals": [_chart(query), _table(query)],
                    }
                    for query in queries
                ],
            },
            "Tags": tags("public"),
        },
        ENTERPRISE,
    )


def _shown(dataset: str, title: str, queries: Sequence[Query]) -> list[Resource]:
    """The template over the data sets, once to explore and once to look at."""
    references = [
        {
            "DataSetPlaceholder": query.name,
            "DataSetArn": attribute(logical_name(query.dataset, query.name, "data set"), "Arn"),
        }
        for query in queries
    ]
    source = {"Arn": attribute(logical_name(dataset, "template"), "Arn"), "DataSetReferences": references}

    def made(kind: str, actions: Sequence[str]) -> Resource:
        properties = {
            "AwsAccountId": ref("AWS::AccountId"),
            f"{kind}Id": sub(f"${{Project}}-${{Environment}}-{dataset}"),
            "Name": title,
            "SourceEntity": {"SourceTemplate": source},
            "Permissions": permissions(actions),
            "Tags": tags("public"),
        }
        return Resource(logical_name(dataset, kind), f"AWS::QuickSight::{kind}", properties, ENTERPRISE)

    return [made("Analysis", _EXPLORE_ANALYSIS), made("Dashboard", _READ_DASHBOARD)]


def _chart(query: Query) -> Mapping[str, Any]:
    first, *others = query.columns
    numbers = [name for name in others if column_type(query.columns[name]) in {"INTEGER", "DECIMAL"}]
    kind = "Line" if query.charted else "Bar"
    wells = {
        "Category": [_dimension(query, first)],
        "Values": [_measure(query, name) for name in query.charted or numbers[:1]],
    }
    return {
        f"{kind}ChartVisual": {
            "VisualId": f"{query.name}-chart",
            "Title": {"FormatText": {"PlainText": query.title}},
            "VisualContentAltText": query.title,
            "ChartConfiguration": {"FieldWells": {f"{kind}ChartAggregatedFieldWells": wells}},
        }
    }


def _table(query: Query) -> Mapping[str, Any]:
    values = [{"FieldId": _field(query, "table", name), "Column": _column(query, name)} for name in query.columns]
    return {
        "TableVisual": {
            "VisualId": f"{query.name}-table",
            "Title": {"FormatText": {"PlainText": query.title}},
            "VisualContentAltText": f"{query.title} As a table.",
            "ChartConfiguration": {"FieldWells": {"TableUnaggregatedFieldWells": {"Values": values}}},
        }
    }


def _dimension(query: Query, name: str) -> Mapping[str, Any]:
    field: dict[str, Any] = {"FieldId": _field(query, "category", name), "Column": _column(query, name)}
    kind = column_type(query.columns[name])
    if kind == "DATETIME":
        granularity = "DAY" if query.columns[name] == "DATE" else "HOUR"
        return {"DateDimensionField": {**field, "DateGranularity": granularity}}
    return {"NumericalDimensionField" if kind in {"INTEGER", "DECIMAL"} else "CategoricalDimensionField": field}


def _measure(query: Query, name: str) -> Mapping[str, Any]:
    """Counts add up over what a chart leaves out; anything else is averaged."""
    aggregation = "SUM" if column_type(query.columns[name]) == "INTEGER" else "AVERAGE"
    return {
        "NumericalMeasureField": {
            "FieldId": _field(query, "value", name),
            "Column": _column(query, name),
            "AggregationFunction": {"SimpleNumericalAggregation": aggregation},
        }
    }


def _field(query: Query, place: str, name: str) -> str:
    return f"{query.name}.{place}.{logical_name(name)}"


def _column(query: Query, name: str) -> Mapping[str, str]:
    return {"DataSetIdentifier": query.name, "ColumnName": name}
