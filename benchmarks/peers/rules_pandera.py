"""The thirty rules of benchmarks/rules.py in pandera, on pandas.

python benchmarks/peers/rules_pandera.py LICENCES.parquet
"""

import json
import sys
import time

import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaErrors

STATUSES = ["Issued", "Pending", "Inactive", "Cancelled"]
FORMS = {"number": r"^[0-9]{2}-[0-9]{7}$", "postal": r"^[A-Z][0-9][A-Z] [0-9][A-Z][0-9]$"}
RULES = (
    *("rows", "id_complete", "number_complete", "name_complete", "status_complete", "area_complete", "issued_complete"),
    *("id_unique", "status_known", "kind_known", "province_known", "number_form", "postal_form", "province_form"),
    *("area_form", "year_low", "year_high", "employees_low", "employees_high", "fee_low", "fee_high"),
    *("latitude_low", "latitude_high", "issued_low", "issued_high", "expired_low", "postal_length"),
    *("fee_mean", "employees_spread", "areas"),
)


def schema() -> pa.DataFrameSchema:
    check = pa.Check
    return pa.DataFrameSchema(
        {
            "id": pa.Column(nullable=False, unique=True),
            "number": pa.Column(nullable=False, checks=check.str_matches(FORMS["number"], error="number_form")),
            "name": pa.Column(nullable=False),
            "status": pa.Column(nullable=False, checks=check.isin(STATUSES, error="status_known")),
            "kind": pa.Column(checks=check.isin(["Office", "Restaurant", "Contractor"], error="kind_known")),
            "area": pa.Column(
                nullable=False,
                checks=[
                    check.str_matches(r"^Area [0-9]+$", error="area_form"),
                    check(lambda column: column.nunique() == 24, error="areas"),
                ],
            ),
            "province": pa.Column(
                checks=[
                    check.isin(["BC", "AB", "ON"], error="province_known"),
                    check.str_matches(r"^[A-Z]{2}$", error="province_form"),
                ]
            ),
            "postal": pa.Column(
                checks=[
                    check.str_matches(FORMS["postal"], error="postal_form"),
                    check.str_length(exact_value=7, error="postal_length"),
                ]
            ),
            "year": pa.Column(checks=[check.ge(2013, error="year_low"), check.le(2025, error="year_high")]),
            "employees": pa.Column(
                checks=[
                    check.ge(0, error="employees_low"),
                    check.lt(990, error="employees_high"),
                    check(lambda column: column.std(ddof=0) < 400, error="employees_spread"),
                ]
            ),
            "fee": pa.Column(
                checks=[
                    check.ge(0, error="fee_low"),
                    check.lt(890, error="fee_high"),
                    check(lambda column: 1 < column.mean() < 1000, error="fee_mean"),
                ]
            ),
            "latitude": pa.Column(checks=[check.gt(49.0, error="latitude_low"), check.lt(49.4, error="latitude_high")]),
            "issued": pa.Column(
                nullable=False,
                checks=[
                    check.ge(pd.Timestamp("2013-01-01"), error="issued_low"),
                    check.lt(pd.Timestamp("2016-01-01"), error="issued_high"),
                ],
            ),
            "expired": pa.Column(checks=check.gt(pd.Timestamp("2000-01-01"), error="expired_low")),
        },
        checks=check(lambda table: len(table) > 0, error="rows"),
    )


def main(file: str) -> None:
    started, cpu = time.perf_counter(), time.process_time()
    table = pd.read_parquet(file)
    table["expired"] = pd.to_datetime(table["expired"])
    try:
        schema().validate(table, lazy=True)
        cases = pd.DataFrame(columns=["column", "check", "index"])
    except SchemaErrors as errors:
        cases = errors.failure_cases
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    # Without a failing row pandera says nothing of a check.
    found = dict.fromkeys(RULES, 0)
    for (column, name), count in cases.groupby(["column", "check"]).size().items():
        rule = {"not_nullable": f"{column}_complete", "field_uniqueness": f"{column}_unique"}.get(name, name)
        found[rule] = int(count)
    print(json.dumps({"seconds": seconds, "cpu": cpu, "found": found}))


if __name__ == "__main__":
    main(sys.argv[1])
