"""Zones' windows of ten seconds in Spark Structured Streaming: python traffic_spark_peer.py READINGS_FOLDER"""

import json
import sys

from pyspark.sql import SparkSession
from pyspark.sql import functions as f


def main() -> None:
    spark = (
        SparkSession.builder.master("local[2]")
        .config("spark.sql.shuffle.partitions", 2)
        .config("spark.ui.enabled", "false")
        .config("spark.log.level", "ERROR")
        .getOrCreate()
    )
    schema = (
        "sensor_id STRING, zone_id STRING, seq BIGINT, ts BIGINT, vehicle_count INT, avg_speed_kmh DOUBLE, "
        "occupancy DOUBLE, congestion_index DOUBLE"
    )
    source = spark.readStream.schema(schema).option("maxFilesPerTrigger", 1)  # a file is a small batch
    readings = source.json(sys.argv[1]).withColumn("at", f.timestamp_millis("ts"))
    windows = (
        readings.withWatermark("at", "60 seconds")
        .groupBy(f.window("at", "10 seconds"), "zone_id")
        .agg(
            f.count("*").alias("readings"),
            f.sum("vehicle_count").alias("vehicles"),
            f.sum(f.col("vehicle_count") * f.col("avg_speed_kmh")).alias("vehicle_speed"),
            f.sum("congestion_index").alias("congestion_index"),
            f.max("avg_speed_kmh").alias("max_speed"),
        )
    )
    query = (
        windows.writeStream.format("memory")
        .queryName("windows")
        .outputMode("complete")
        .trigger(availableNow=True)
        .start()
    )
    query.awaitTermination()
    (total,) = spark.sql("SELECT sum(readings) AS readings, sum(vehicles) AS vehicles FROM windows").collect()
    print(json.dumps({"readings": total.readings, "vehicles": total.vehicles}))
    spark.stop()


if __name__ == "__main__":
    main()
