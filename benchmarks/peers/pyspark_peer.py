"""The licence batch in PySpark on one machine, two cores, in its DataFrame API.

    python benchmarks/peers/pyspark_peer.py LICENCES.csv OUT_FOLDER

What it computes and prints is defined in benchmarks/README.md, the same for every peer. Needs Java 17 and the
dependency group `bench`.
"""

import hashlib
import json
import shutil
import sys
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from pyspark.sql import Column, DataFrame, Observation, SparkSession, Window
from pyspark.sql import functions as F  # noqa: N812 - its users' name for it

KEY = ["LicenceRSN", "LicenceRevisionNumber"]
AS_THEY_ARE = ["LicenceRSN", "IssuedDate", "Geom", "geo_point_2d"]  # columns whose white space nobody minds
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


def keep(file: Path, folder: Path) -> str:
    """The source's bytes, untouched, and their SHA-256."""
    folder.mkdir(parents=True, exist_ok=True)
    copy = shutil.copyfile(file, folder / file.name)
    with copy.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def one_of(column: Column, texts: Sequence[str], instead: str) -> Column:
    return F.when(column.isin(*texts), instead).otherwise(column)


def clean(raw: DataFrame) -> DataFrame:
    """Trimmed and normalised texts under their new names, each row with a number."""
    tidy = (
        F.col(column) if column in AS_THEY_ARE else F.trim(F.regexp_replace(column, r"\s+", " ")).alias(column)
        for column in raw.columns
    )
    frame = raw.select(*tidy).withColumn("row", F.monotonically_increasing_id())
    frame = frame.withColumnsRenamed({"FOLDERYEAR": "FileYear", "geo_point_2d": "GeoPoint2d"})
    year = F.regexp_replace(F.regexp_replace("FileYear", "^([0-7][0-9])$", "20$1"), "^([89][0-9])$", "19$1")
    province = one_of(F.upper("Province"), ["BRITISH COLUMBIA", "B.C.", "BC.", "B C"], "BC")
    country = one_of(F.upper("Country"), ["CAN", "CANADA"], "CA")
    postal_code = F.upper("PostalCode")
    area = one_of(F.regexp_replace("LocalArea", "^[0-9]{2}-(.+)$", "$1"), ["Central Business/Downtown"], "Downtown")
    feature = (
        r"^\{'type': 'Feature', 'geometry': \{'coordinates': \[([-0-9.eE, ]+)\], 'type': '([A-Za-z]+)'\}, "
        r"'properties': \{\}\}$"
    )
    point = F.regexp_replace("GeoPoint2d", r"^\{'lon': ([-0-9.eE]+), 'lat': ([-0-9.eE]+)\}$", "$2, $1")
    return frame.withColumns(
        {
            "FileYear": year,
            "UnitType": one_of(F.col("UnitType"), ["Unti", "Units", "uNIT", "UNIT", "unit"], "Unit"),
            "City": one_of(F.col("City"), ["qBCVancouver"], "Vancouver"),
            "Province": F.when(province != "--", province),
            "Country": one_of(country, ["USA", "UNITED STATES"], "US"),
            "PostalCode": F.regexp_replace(
                F.when(postal_code != "NOT APPLIC", postal_code), r"^([A-Z]\d[A-Z])(\d[A-Z]\d)$", "$1 $2"
            ),
            "LocalArea": one_of(area, ["Arbutus-Ridge"], "Arbutus Ridge"),
            "Geom": F.regexp_replace("Geom", feature, r'{"coordinates": [$1], "type": "$2"}'),
            "GeoPoint2d": F.regexp_replace(point, r"^\{'lat': ([-0-9.eE]+), 'lon': ([-0-9.eE]+)\}$", "$1, $2"),
            "NumberofEmployees": F.when(F.col("NumberofEmployees") != "000", F.col("NumberofEmployees")),
        }
    )


def type_columns(texts: DataFrame) -> DataFrame:
    """The typed rows, each with a list of its values that could not be typed."""
    kinds = {
        "FileYear": "int",
        "LicenceRSN": "long",
        "IssuedDate": "timestamp",
        "ExpiredDate": "date",
        "NumberofEmployees": "int",
        "FeePaid": "decimal(12,2)",
        "ExtractDate": "timestamp",
    }
    typed = {name: F.col(name).try_cast(kind) for name, kind in kinds.items()}
    typed["NumberofEmployees"] = F.col("NumberofEmployees").try_cast("double").cast("int")
    untyped = [
        F.when(
            F.col(name).isNotNull() & column.isNull(),
            F.struct(F.lit(name).alias("column"), F.col(name).alias("value")),
        )
        for name, column in typed.items()
    ]
    return texts.withColumn("untyped", F.array_compact(F.array(*untyped))).withColumns(typed)


def latest(frame: DataFrame) -> DataFrame:
    """Each row with its place among those of its key, the latest extract first."""
    by_extract = Window.partitionBy(*KEY).orderBy(F.col("ExtractDate").desc(), F.col("row").desc())
    return frame.withColumn("place", F.row_number().over(by_extract))


def rules() -> dict[str, Column]:
    """The rules that hold rows back, each true where a row fails it."""
    employees, issued, expired = F.col("NumberofEmployees"), F.col("IssuedDate"), F.col("ExpiredDate")
    day_of_issue = F.to_date(F.to_utc_timestamp(issued, F.current_timezone()) - F.expr("INTERVAL 8 HOURS"))
    return {
        "licence_key": F.col("LicenceRSN").isNull()
        | F.col("LicenceRevisionNumber").isNull()
        | (F.count("*").over(Window.partitionBy("year", *KEY)) > 1),
        "status_present": F.col("Status").isNull(),
        "status_known": ~F.col("Status").isin(STATUSES),
        "licence_number_form": ~F.coalesce(F.col("LicenceNumber").rlike("^[0-9]{2}-[0-9]{6}$"), F.lit(False)),
        "file_year_plausible": ~F.coalesce(F.col("FileYear").between(1991, 2100), F.lit(False)),
        "fee_not_negative": F.col("FeePaid") < 0,
        "employees_plausible": ~employees.between(0, 49_999),
        "expired_date_plausible": ~expired.between(date(1990, 1, 1), date(2100, 12, 31)),
        "expires_after_issue": expired < day_of_issue,
        "issued_not_in_future": issued > F.current_timestamp() + F.expr("INTERVAL 1 DAY"),
    }


def failed_rules() -> Column:
    """The names of the rules that a row fails."""
    return F.array_compact(F.array(*(F.when(fails, F.lit(rule)) for rule, fails in rules().items())))


def outcomes(checked: DataFrame) -> DataFrame:
    """For each year what every rule found, those on the year as a whole and those that only warn included."""

    def share(condition: Column) -> Column:
        return F.avg(condition.cast("int"))

    recent = F.col("IssuedDate") > F.current_timestamp() - F.expr("INTERVAL 30 DAYS")
    of_its_own = Window.partitionBy("year", "NumberofEmployees")
    once = F.col("NumberofEmployees").isNotNull() & (F.col("alike") == 1)
    return (
        checked.withColumn("alike", F.count("*").over(of_its_own))
        .groupBy("year")
        .agg(
            F.count("*").alias("row_count"),
            share(F.col("Status").isNotNull()).alias("completeness_status"),
            share(F.col("Province").rlike("^[A-Z]{2}$")).alias("province_form"),
            share(F.col("PostalCode").rlike("^[A-Z][0-9][A-Z] [0-9][A-Z][0-9]$")).alias("postal_code_form"),
            share(F.when(F.col("FileYear") >= 2024, F.col("LocalArea").isNotNull())).alias("local_area_present"),
            share(F.when(F.col("NumberofEmployees").isNotNull(), once)).alias("employees_not_an_identifier"),
            share(F.when(F.col("FileYear") == F.year(F.current_date()), recent)).alias("issued_recently"),
            share(once).alias("source_uniqueness"),
            share(~recent).alias("source_freshness"),
            *(share(F.array_contains("FailedRules", rule)).alias(rule) for rule in rules()),
        )
    )


def summarise(passed: DataFrame) -> DataFrame:
    """Larger businesses by the local day on which their licence was issued."""
    return (
        passed.filter("NumberofEmployees > 15 AND Status = 'Issued'")
        .groupBy("year", F.to_date("IssuedDate").alias("IssuedDay"))
        .agg(
            F.max("IssuedDate").alias("LastIssued"),
            F.max("ExpiredDate").alias("LatestExpiry"),
            F.avg("FeePaid").alias("AverageFee"),
            F.count("*").alias("Licences"),
            F.count("FeePaid").alias("WithFee"),
        )
        .orderBy("year", "IssuedDay")
    )


def write_by_year(frame: DataFrame, folder: Path) -> DataFrame:
    """Parquet files by year in Hive's layout, and the same rows read from them, so that nothing is computed twice."""
    frame.withColumn("year", F.col("FileYear")).write.mode("overwrite").partitionBy("year").parquet(str(folder))
    return frame.sparkSession.read.parquet(str(folder))


def main(source: Path, out: Path) -> None:
    spark = session()
    start = time.perf_counter()
    keep(source, out / "raw")
    read_rows = Observation()
    raw = read(spark, source).observe(read_rows, F.count(F.lit(1)).alias("rows"))
    # Written once, the superseded rows among them: Spark would read and clean everything again for a second folder.
    ranked = write_by_year(latest(type_columns(clean(raw))), out / "cleaned")
    cleaned, superseded = ranked.filter("place = 1"), ranked.filter("place > 1")

    checked = write_by_year(cleaned.withColumn("FailedRules", failed_rules()).drop("place"), out / "checked")
    outcomes(checked).coalesce(1).write.mode("overwrite").json(str(out / "outcomes"))
    good = F.size("FailedRules") == 0
    passed = write_by_year(checked.filter(good).drop("FailedRules", "year"), out / "passed")
    failed = write_by_year(checked.filter(~good).drop("year"), out / "failed")
    values = ranked.select("row", F.explode("untyped").alias("one")).select("row", "one.column", F.lit("not typed"))
    older = superseded.select("row", F.lit(None).cast("string"), F.lit("a newer row has the same key"))
    broken = failed.select("row", F.explode("FailedRules"), F.lit("failed rule"))
    register = values.union(older).union(broken).toDF("row", "column", "reason").orderBy("row")
    register.coalesce(1).write.mode("overwrite").parquet(str(out / "register"))

    summary = summarise(passed).cache()
    summary.coalesce(1).write.mode("overwrite").parquet(str(out / "curated" / "parquet"))
    summary.coalesce(1).write.mode("overwrite").csv(str(out / "curated" / "csv"), header=True)
    result = {
        "rows": read_rows.get["rows"],
        "passed": passed.count(),
        "failed": failed.count(),
        "duplicates": superseded.count(),
        "untyped": values.count(),
        "register": spark.read.parquet(str(out / "register")).count(),
        "summary_rows": summary.count(),
    }
    print(json.dumps({**result, "seconds": round(time.perf_counter() - start, 3)}))
    spark.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
