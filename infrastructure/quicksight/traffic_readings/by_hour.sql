-- How much traffic did each zone have in each hour of the last four weeks, and how fast was it?
-- chart: Vehicles
-- The mean speed is the harmonic one, in km/h. Means do not add up: over zones or hours it is 1,000,000 times the sum of
-- vehicles over the sum of pace.
SELECT
    date_trunc('hour', window_start) AS "Hour",
    zone AS "Zone",
    CAST(sum(vehicles) AS BIGINT) AS "Vehicles",
    CAST(1000000.0 * sum(vehicles) / nullif(sum(pace), 0) AS DOUBLE) AS "Mean Speed",
    CAST(sum(pace) AS BIGINT) AS "Pace",
    CAST(sum(readings) AS BIGINT) AS "Readings"
FROM curated
WHERE hour >= strftime(now() - INTERVAL 28 DAY, '%Y-%m-%d-%H')
GROUP BY date_trunc('hour', window_start), zone
ORDER BY "Hour", "Zone"
