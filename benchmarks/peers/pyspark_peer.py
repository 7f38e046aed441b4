"""The licence batch in PySpark on one machine, two cores, in its DataFrame API.

    python benchmarks/peers/pyspark_peer.py LICENCES.csv OUT_FOLDER

What it computes and prints is defined in benchmarks/README.md, the same for every peer. Needs Java 17 and the
dependency group `bench`.
"""

import json
import sys
import time
from pathlib import Path

from pyspark.sql import Column, DataFrame, Observation, SparkSession, Window
from pyspark.sql import functions as F  # noqa: N812 - its users' name for it

KEY = ["LicenceRSN", "LicenceRevisionNumber"]
STATUSES = ["Issued", "Inactive", "Gone Out of Business", "Pending", "Cancelled"]


def session() -> SparkSession:
    """Two cores, local times in Vancouver, and a heap that a million rows do not press against."""
    spark = (
        SparkSession.builder.master("local[2]")
        .appName("licences")
        .config("spark.driver.memory", "4g")
        .config("spark.sql.session.timeZone", "America/Vancouver")
        .config("spark.sql.shuffle.partitions", "8")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def read(spark: SparkSession, file: Path) -> DataFrame:
    """The portal's export, every column as text. Names with line breaks need `multiLine`, which reads in one task."""
    raw = spark.read.csv(str(file), sep=";", header=True, multiLine=True, escape='"', encoding="UTF-8")
    return raw.toDF(*(column.lstrip("\ufeff") for column in raw.columns))


def clean(raw: DataFrame) -> DataFrame:
    """Trimmed, normalised and typed; the latest extract of each licence."""
    frame = raw.withColumnsRenamed({"FOLDERYEAR": "FileYear", "geo_point_2d": "GeoPoint2d"})
    frame = frame.select(*(F.trim(F.regexp_replace(column, r"\s+", " ")).alias(column) for column in frame.columns))
    province, postal_code, unit_type = F.upper("Province"), F.upper("PostalCode"), F.col("UnitType")
    year = F.col("FileYear").cast("int")
    frame = frame.withColumns(
        {
            "Province": F.when(province == "BRITISH COLUMBIA", "BC").when(province != "--", province),
            "PostalCode": F.regexp_replace(
                F.when(postal_code != "NOT APPLIC", postal_code), r"^([A-Z]\d[A-Z])(\d[A-Z]\d)$", "$1 $2"
            ),
            "UnitType": F.when(unit_type.isin("Unti", "Units", "uNIT"), "Unit").otherwise(unit_type),
            "City": F.when(F.col("City") == "qBCVancouver", "Vancouver").otherwise(F.col("City")),
            "LocalArea": F.regexp_replace("LocalArea", r"^\d{2}-", ""),
            "FileYear": F.when(year >= 80, year + 1900).otherwise(year + 2000),
            "LicenceRSN": F.col("LicenceRSN").cast("long"),
            "IssuedDate": F.col("IssuedDate").try_cast("timestamp"),
            "ExtractDate": F.col("ExtractDate").try_cast("timestamp"),
            "UntypedExpiry": F.col("ExpiredDate").isNotNull() & F.col("ExpiredDate").try_cast("date").isNull(),
            "ExpiredDate": F.col("ExpiredDate").try_cast("date"),
            "NumberofEmployees": F.when(
                F.col("NumberofEmployees") != "000", F.col("NumberofEmployees").try_cast("double").cast("int")
            ),
            "FeePaid": F.col("FeePaid").try_cast("decimal(12,2)"),
        }
    )
    latest = Window.partitionBy(*KEY).orderBy(F.col("ExtractDate").desc())
    return frame.withColumn("place", F.row_number().over(latest)).filter("place = 1").drop("place")


def failed_rules() -> Column:
    """The rules that a row fails. Missing values pass all rules but the first."""
    rules = {
        "status_present": F.col("Status").isNull(),
        "status_known": ~F.col("Status").isin(STATUSES),
        "fee_not_negative": F.col("FeePaid") < 0,
        "employees_plausible": ~F.col("NumberofEmployees").between(0, 20_000),
        "expires_after_issue": F.col("UntypedExpiry") | (F.col("ExpiredDate") < F.to_date("IssuedDate")),
    }
    return F.array_compact(F.array(*(F.when(fails, F.lit(rule)) for rule, fails in rules.items())))


def summarise(passed: DataFrame) -> DataFrame:
    """Larger businesses by the local day on which their licence was issued."""
    return (
        passed.filter("NumberofEmployees > 15 AND Status = 'Issued'")
        .groupBy(F.to_date("IssuedDate").alias("IssuedDay"))
        .agg(
            F.max("ExpiredDate").alias("LatestExpiry"),
            F.avg("FeePaid").alias("AverageFee"),
            F.count("*").alias("Licences"),
        )
        .orderBy("IssuedDay")
    )


def write_by_year(frame: DataFrame, folder: Path) -> DataFrame:
    """Parquet files by year in Hive's layout, and the same rows read from them, so that nothing is computed twice."""
    frame.withColumn("year", F.col("FileYear")).write.mode("overwrite").partitionBy("year").parquet(str(folder))
    return frame.sparkSession.read.parquet(str(folder))


def main(source: Path, out: Path) -> None:
    spark = session()
    start = time.perf_counter()
    read_rows = Observation()
    raw = read(spark, source).observe(read_rows, F.count(F.lit(1)).alias("rows"))
    cleaned = write_by_year(clean(raw), out / "cleaned")

    checked = cleaned.withColumn("FailedRules", failed_rules())
    good = F.size("FailedRules") == 0
    passed = write_by_year(checked.filter(good).drop("FailedRules", "year"), out / "passed")
    failed = write_by_year(checked.filter(~good).drop("year"), out / "failed")

    summary = summarise(passed).cache()
    summary.coalesce(1).write.mode("overwrite").parquet(str(out / "curated" / "parquet"))
    summary.coalesce(1).write.mode("overwrite").csv(str(out / "curated" / "csv"), header=True)
    rows = read_rows.get["rows"]
    result = {
        "rows": rows,
        "passed": passed.count(),
        "failed": failed.count(),
        "duplicates": rows - cleaned.count(),
        "summary_rows": summary.count(),
    }
    print(json.dumps({**result, "seconds": round(time.perf_counter() - start, 3)}))
    spark.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
