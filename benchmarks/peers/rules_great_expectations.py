"""The thirty rules of benchmarks/rules.py in Great Expectations, on pandas.

python benchmarks/peers/rules_great_expectations.py LICENCES.parquet
"""

import json
import os
import sys
import time

os.environ["GX_ANALYTICS_ENABLED"] = "false"

import great_expectations as gx
import great_expectations.expectations as gxe
import pandas as pd

STATUSES = ["Issued", "Pending", "Inactive", "Cancelled"]


def expectations() -> list[tuple[str, gxe.Expectation]]:
    return [
        ("rows", gxe.ExpectTableRowCountToBeBetween(min_value=1)),
        *(
            (f"{column}_complete", gxe.ExpectColumnValuesToNotBeNull(column=column))
            for column in ("id", "number", "name", "status", "area", "issued")
        ),
        ("id_unique", gxe.ExpectColumnValuesToBeUnique(column="id")),
        ("status_known", gxe.ExpectColumnValuesToBeInSet(column="status", value_set=STATUSES)),
        (
            "kind_known",
            gxe.ExpectColumnValuesToBeInSet(column="kind", value_set=["Office", "Restaurant", "Contractor"]),
        ),
        ("province_known", gxe.ExpectColumnValuesToBeInSet(column="province", value_set=["BC", "AB", "ON"])),
        ("number_form", gxe.ExpectColumnValuesToMatchRegex(column="number", regex=r"^[0-9]{2}-[0-9]{7}$")),
        (
            "postal_form",
            gxe.ExpectColumnValuesToMatchRegex(column="postal", regex=r"^[A-Z][0-9][A-Z] [0-9][A-Z][0-9]$"),
        ),
        ("province_form", gxe.ExpectColumnValuesToMatchRegex(column="province", regex=r"^[A-Z]{2}$")),
        ("area_form", gxe.ExpectColumnValuesToMatchRegex(column="area", regex=r"^Area [0-9]+$")),
        ("year_low", gxe.ExpectColumnValuesToBeBetween(column="year", min_value=2013)),
        ("year_high", gxe.ExpectColumnValuesToBeBetween(column="year", max_value=2025)),
        ("employees_low", gxe.ExpectColumnValuesToBeBetween(column="employees", min_value=0)),
        ("employees_high", gxe.ExpectColumnValuesToBeBetween(column="employees", max_value=990, strict_max=True)),
        ("fee_low", gxe.ExpectColumnValuesToBeBetween(column="fee", min_value=0)),
        ("fee_high", gxe.ExpectColumnValuesToBeBetween(column="fee", max_value=890, strict_max=True)),
        ("latitude_low", gxe.ExpectColumnValuesToBeBetween(column="latitude", min_value=49.0, strict_min=True)),
        ("latitude_high", gxe.ExpectColumnValuesToBeBetween(column="latitude", max_value=49.4, strict_max=True)),
        ("issued_low", gxe.ExpectColumnValuesToBeBetween(column="issued", min_value=pd.Timestamp("2013-01-01"))),
        (
            "issued_high",
            gxe.ExpectColumnValuesToBeBetween(column="issued", max_value=pd.Timestamp("2016-01-01"), strict_max=True),
        ),
        (
            "expired_low",
            gxe.ExpectColumnValuesToBeBetween(column="expired", min_value=pd.Timestamp("2000-01-01"), strict_min=True),
        ),
        ("postal_length", gxe.ExpectColumnValueLengthsToEqual(column="postal", value=7)),
        ("fee_mean", gxe.ExpectColumnMeanToBeBetween(column="fee", min_value=1, max_value=1000)),
        ("employees_spread", gxe.ExpectColumnStdevToBeBetween(column="employees", max_value=400)),
        ("areas", gxe.ExpectColumnUniqueValueCountToBeBetween(column="area", min_value=24, max_value=24)),
    ]


def main(file: str) -> None:
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    rules = expectations()
    started, cpu = time.perf_counter(), time.process_time()
    table = pd.read_parquet(file)
    table["expired"] = pd.to_datetime(table["expired"])
    asset = context.data_sources.add_pandas("files").add_dataframe_asset("licences")
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": table})
    for name, expectation in rules:
        expectation.meta = {"rule": name}
    suite = gx.ExpectationSuite(name="licences", expectations=[expectation for _, expectation in rules])
    results = batch.validate(suite, result_format="BASIC").results
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    found = {}
    for result in results:
        name = result.expectation_config.meta["rule"]
        counted = result.result.get("unexpected_count")
        found[name] = int(counted) if counted is not None else int(not result.success)
    print(json.dumps({"seconds": seconds, "cpu": cpu, "found": found}))


if __name__ == "__main__":
    main(sys.argv[1])
