"""Zones' windows of ten seconds in PyFlink SQL: python benchmarks/peers/traffic_flink_peer.py READINGS_FOLDER"""

import json
import sys

from pyflink.table import EnvironmentSettings, TableEnvironment


def main() -> None:
    tables = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    tables.get_config().set("parallelism.default", "1")
    tables.get_config().set("table.exec.mini-batch.enabled", "true")
    tables.get_config().set("table.exec.mini-batch.allow-latency", "1 s")
    tables.get_config().set("table.exec.mini-batch.size", "5000")
    tables.execute_sql(f"""
        CREATE TABLE readings (
            sensor_id STRING, zone_id STRING, seq BIGINT, ts BIGINT, vehicle_count INT, avg_speed_kmh DOUBLE,
            occupancy DOUBLE, congestion_index DOUBLE,
            event_time AS TO_TIMESTAMP_LTZ(ts, 3), WATERMARK FOR event_time AS event_time - INTERVAL '60' SECOND
        ) WITH ('connector' = 'filesystem', 'path' = 'file://{sys.argv[1]}', 'format' = 'json')
    """)
    result = tables.execute_sql("""
        SELECT zone_id, window_start, COUNT(*) AS readings, SUM(vehicle_count) AS vehicles,
            SUM(vehicle_count * avg_speed_kmh) AS vehicle_speed, SUM(congestion_index) AS congestion_index,
            MAX(avg_speed_kmh) AS max_speed
        FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(event_time), INTERVAL '10' SECOND))
        GROUP BY zone_id, window_start, window_end
    """)
    readings = vehicles = 0
    with result.collect() as rows:
        for row in rows:
            readings += row[2]
            vehicles += row[3]
    print(json.dumps({"readings": readings, "vehicles": vehicles}))


if __name__ == "__main__":
    main()
