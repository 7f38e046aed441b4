"""AWS Glue DataBrew: for each dataset that comes as files, what a steward needs to try its recipe on the newest file.

The recipe's steps are those of `recipe.json`; a steward who changes them in the project exports them into that file.
What a job writes is for looking at: the lake's cleaned rows are made by the platform, which keeps what a step removes.

dataset   the newest original file of the dataset in the raw zone
recipe    the steps of recipe.json
project   both, interactively                                             cov-busi-license-prj-dev
job       the recipe over the whole file                                  cov-busi-license-cln-dev
profile   columns' statistics, personal columns left out                  cov-busi-license-prf-dev
logs      a group each job, or DataBrew makes it without retention        /aws-glue-databrew/jobs-cov-busi-…-prf-dev
"""

from typing import Any

from city_platform.datasets import Dataset
from city_platform.deployment.analytics.tables import BUCKETS
from city_platform.deployment.cloudformation import (
    Function,
    Resource,
    attribute,
    imported,
    logical_name,
    ref,
    sub,
    tags,
)
from city_platform.lake.zones import Zone, zone_of

OUTPUTS = "databrew"  # the folder of what jobs write, in the transform bucket: as personal as the file
ROLE = "DataBrewRole"
_SHORT = {"business_licences": "busi-license"}  # names that were there before
_TIMEOUT_MINUTES = 60
_PROFILE_ROWS = 20_000


def databrew(dataset: Dataset) -> list[Resource]:
    """All of it; nothing for a dataset that another part of the platform exports, which no steward has a file of."""
    if dataset.contract.exported:
        return []
    jobs = [_cleaning(dataset), _profile(dataset)]
    return [_dataset(dataset), _recipe(dataset), _project(dataset), *jobs, *map(_logs, jobs)]


def job_name(dataset: str, kind: str) -> Function:
    short = _SHORT.get(dataset, dataset.replace("_", "-"))
    return sub(f"cov-{short}-{kind}-${{Environment}}")


def _made(dataset: Dataset, kind: str, name: str, properties: dict[str, Any]) -> Resource:
    """A resource of DataBrew under its name. Its rows are as personal as the file's."""
    personal = any(column.personal for column in dataset.contract.columns)
    named = {"Name": job_name(dataset.name, name), **properties, "Tags": tags("personal" if personal else "internal")}
    return Resource(logical_name(dataset.name, "brew", name), f"AWS::DataBrew::{kind}", named)


def _dataset(dataset: Dataset) -> Resource:
    prefix = f"raw/{dataset.name}/source"

    def part(name: str) -> dict[str, Any]:
        return {"PathParameterName": name, "DatasetParameter": {"Name": name, "Type": "String", "CreateColumn": False}}

    return _made(
        dataset,
        "Dataset",
        "src",
        {
            "Format": "CSV",
            "FormatOptions": {"Csv": {"Delimiter": ";", "HeaderRow": True}},
            "Input": {
                "S3InputDefinition": {
                    "Bucket": imported(BUCKETS[zone_of(prefix)]),
                    "Key": f"{prefix}/{{sha256}}/{{file}}.csv",
                }
            },
            "PathOptions": {
                "FilesLimit": {"MaxFiles": 1, "OrderedBy": "LAST_MODIFIED_DATE", "Order": "DESCENDING"},
                "Parameters": [part("sha256"), part("file")],
            },
        },
    )


def _recipe(dataset: Dataset) -> Resource:
    description = f"recipe.json of {dataset.name}, {dataset.recipe_version}, sha256 {dataset.recipe.hash}"
    return _made(dataset, "Recipe", "rcp", {"Description": description, "Steps": list(dataset.recipe.written)})


def _project(dataset: Dataset) -> Resource:
    return _made(
        dataset,
        "Project",
        "prj",
        {
            "DatasetName": ref(logical_name(dataset.name, "brew", "src")),
            "RecipeName": ref(logical_name(dataset.name, "brew", "rcp")),
            "RoleArn": attribute(ROLE, "Arn"),
            "Sample": {"Type": "RANDOM", "Size": 500},
        },
    )


def _job(kind: str) -> dict[str, Any]:
    """What both jobs have: they end, are logged, and their output lies under the key of what is personal."""
    return {
        "Type": kind,
        "RoleArn": attribute(ROLE, "Arn"),
        "EncryptionMode": "SSE-KMS",
        "EncryptionKeyArn": imported("PersonalKeyArn"),
        "LogSubscription": "ENABLE",
        "MaxCapacity": 5,
        "MaxRetries": 0,
        "Timeout": _TIMEOUT_MINUTES,
    }


def _logs(job: Resource) -> Resource:
    """The group that a job's runs write to, by the name that DataBrew gives it."""
    properties = {
        "LogGroupName": sub(f"/aws-glue-databrew/jobs-{job.properties['Name'].argument}"),
        "RetentionInDays": ref("LogRetentionDays"),
        "KmsKeyId": imported("LogsKeyArn"),
        "Tags": job.properties["Tags"],
    }
    return Resource(f"{job.name}Logs", "AWS::Logs::LogGroup", properties, retained=True)


def _place(dataset: Dataset, folder: str) -> dict[str, Any]:
    return {
        "Bucket": imported(BUCKETS[Zone.TRANSFORM]),
        "BucketOwner": ref("AWS::AccountId"),
        "Key": f"{OUTPUTS}/{dataset.name}/{folder}/",
    }


def _cleaning(dataset: Dataset) -> Resource:
    output = {
        "Format": "PARQUET",
        "CompressionFormat": "SNAPPY",
        "Overwrite": True,
        "Location": _place(dataset, "cleaned"),
    }
    project = {"ProjectName": ref(logical_name(dataset.name, "brew", "prj"))}
    return _made(dataset, "Job", "cln", {**_job("RECIPE"), **project, "Outputs": [output]})


def _profile(dataset: Dataset) -> Resource:
    """Counts and values of the columns that are not personal, by the source's present headers.

    A file of older headers fails: a selection by what is not wanted would show a personal column of another name.
    """
    shown = [{"Name": column.source_name} for column in dataset.contract.columns if not column.personal]
    return _made(
        dataset,
        "Job",
        "prf",
        {
            **_job("PROFILE"),
            "DatasetName": ref(logical_name(dataset.name, "brew", "src")),
            "OutputLocation": _place(dataset, "profile"),
            "JobSample": {"Mode": "CUSTOM_ROWS", "Size": _PROFILE_ROWS},
            "ProfileConfiguration": {"ProfileColumns": shown},
        },
    )
