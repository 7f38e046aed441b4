"""The thirty rules of benchmarks/rules.py in cuallee, on Polars.

python benchmarks/peers/rules_cuallee.py LICENCES.parquet

cuallee compares a mean or a deviation only with one exact value; those two rules are written in Polars beside it.
"""

import json
import sys
import time
from datetime import date, datetime

import polars as pl
from cuallee import Check, CheckLevel

RULES = (
    *("id_complete", "number_complete", "name_complete", "status_complete", "area_complete", "issued_complete"),
    *("id_unique", "status_known", "kind_known", "province_known", "number_form", "postal_form", "province_form"),
    *("area_form", "year_low", "year_high", "employees_low", "employees_high", "fee_low", "fee_high"),
    *("latitude_low", "latitude_high", "issued_low", "issued_high", "expired_low", "postal_length", "areas"),
)


def main(file: str) -> None:
    started, cpu = time.perf_counter(), time.process_time()
    table = pl.read_parquet(file)
    check = (
        Check(CheckLevel.WARNING, "licences")
        .is_complete("id")
        .is_complete("number")
        .is_complete("name")
        .is_complete("status")
        .is_complete("area")
        .is_complete("issued")
        .is_unique("id")
        .satisfies("status", "status IS NULL OR status IN ('Issued', 'Pending', 'Inactive', 'Cancelled')")
        .is_contained_in("kind", ("Office", "Restaurant", "Contractor"))
        .is_contained_in("province", ("BC", "AB", "ON"))
        .has_pattern("number", r"^[0-9]{2}-[0-9]{7}$")
        .has_pattern("postal", r"^[A-Z][0-9][A-Z] [0-9][A-Z][0-9]$")
        .has_pattern("province", r"^[A-Z]{2}$")
        .has_pattern("area", r"^Area [0-9]+$")
        .is_greater_or_equal_than("year", 2013)
        .is_less_or_equal_than("year", 2025)
        .is_greater_or_equal_than("employees", 0)
        .is_less_than("employees", 990)
        .is_greater_or_equal_than("fee", 0)
        .is_less_than("fee", 890)
        .is_greater_than("latitude", 49.0)
        .is_less_than("latitude", 49.4)
        .is_greater_or_equal_than("issued", datetime(2013, 1, 1))  # noqa: DTZ001 -- no zone in the file
        .is_less_than("issued", datetime(2016, 1, 1))  # noqa: DTZ001 -- the same
        .is_greater_than("expired", date(2000, 1, 1))
        .has_pattern("postal", r"^.{7}$")
        .has_cardinality("area", 24)
    )
    violations = check.validate(table)["violations"].to_list()
    found = dict(zip(RULES, map(int, violations), strict=True))
    found["rows"] = int(len(table) == 0)
    found["fee_mean"] = int(not 1 < table["fee"].mean() < 1000)
    found["employees_spread"] = int(not table["employees"].std(ddof=0) < 400)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    print(json.dumps({"seconds": seconds, "cpu": cpu, "found": found}))


if __name__ == "__main__":
    main(sys.argv[1])
