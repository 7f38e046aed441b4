"""The thirty rules of benchmarks/rules.py in pointblank, on Polars.

python benchmarks/peers/rules_pointblank.py LICENCES.parquet
"""

import json
import sys
import time
from datetime import date, datetime

import pointblank as pb
import polars as pl

STATUSES = ["Issued", "Pending", "Inactive", "Cancelled"]


def main(file: str) -> None:
    started, cpu = time.perf_counter(), time.process_time()
    table = pl.read_parquet(file)
    validation = (
        pb.Validate(data=table)
        .specially(expr=lambda data: len(data) > 0, brief="rows")
        .col_vals_not_null(columns="id", brief="id_complete")
        .col_vals_not_null(columns="number", brief="number_complete")
        .col_vals_not_null(columns="name", brief="name_complete")
        .col_vals_not_null(columns="status", brief="status_complete")
        .col_vals_not_null(columns="area", brief="area_complete")
        .col_vals_not_null(columns="issued", brief="issued_complete")
        .rows_distinct(columns_subset="id", brief="id_unique")
        .col_vals_in_set(columns="status", set=[*STATUSES, None], brief="status_known")
        .col_vals_in_set(columns="kind", set=["Office", "Restaurant", "Contractor"], brief="kind_known")
        .col_vals_in_set(columns="province", set=["BC", "AB", "ON"], brief="province_known")
        .col_vals_regex(columns="number", pattern=r"^[0-9]{2}-[0-9]{7}$", brief="number_form")
        .col_vals_regex(columns="postal", pattern=r"^[A-Z][0-9][A-Z] [0-9][A-Z][0-9]$", brief="postal_form")
        .col_vals_regex(columns="province", pattern=r"^[A-Z]{2}$", brief="province_form")
        .col_vals_regex(columns="area", pattern=r"^Area [0-9]+$", brief="area_form")
        .col_vals_ge(columns="year", value=2013, brief="year_low")
        .col_vals_le(columns="year", value=2025, brief="year_high")
        .col_vals_ge(columns="employees", value=0, brief="employees_low")
        .col_vals_lt(columns="employees", value=990, brief="employees_high")
        .col_vals_ge(columns="fee", value=0, brief="fee_low")
        .col_vals_lt(columns="fee", value=890, brief="fee_high")
        .col_vals_gt(columns="latitude", value=49.0, brief="latitude_low")
        .col_vals_lt(columns="latitude", value=49.4, brief="latitude_high")
        .col_vals_ge(columns="issued", value=datetime(2013, 1, 1), brief="issued_low")  # noqa: DTZ001 -- no zone in the file
        .col_vals_lt(columns="issued", value=datetime(2016, 1, 1), brief="issued_high")  # noqa: DTZ001 -- the same
        .col_vals_gt(columns="expired", value=date(2000, 1, 1), brief="expired_low")
        .col_vals_expr(expr=pl.col("postal").str.len_chars() == 7, brief="postal_length")
        .specially(expr=lambda data: 1 < data["fee"].mean() < 1000, brief="fee_mean")
        .specially(expr=lambda data: data["employees"].std(ddof=0) < 400, brief="employees_spread")
        .specially(expr=lambda data: data["area"].n_unique() == 24, brief="areas")
        .interrogate()
    )
    found = {step.brief: int(step.n_failed) for step in validation.validation_info}
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    print(json.dumps({"seconds": seconds, "cpu": cpu, "found": found}))


if __name__ == "__main__":
    main(sys.argv[1])
