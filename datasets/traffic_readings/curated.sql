-- The windows of the hour: a row for each zone and ten seconds in which anything was measured, with the sums that the
-- live windows have. So the hour corrects what was shown live, and what differs are the readings that came too late.
-- Reads `trusted`, the rows that passed the rules. Sums add up over windows and zones; maxima and means do not.
WITH readings AS (
    SELECT
        zone,
        sensor,
        make_timestamptz(epoch_ms(measured_at) // 10000 * 10000000) AS window_start,
        vehicles,
        speed_x10,
        -- A standing vehicle counts as 1 km/h. Whole numbers, each rounded for itself, as the live windows add them.
        CASE
            WHEN vehicles > 0
                THEN (vehicles * CAST(10000000 AS BIGINT) + greatest(speed_x10, 10) // 2) // greatest(speed_x10, 10)
            ELSE 0
        END AS pace,
        occupancy_x1000,
        index_x1000
    FROM trusted
),

windows AS (
    SELECT
        zone,
        window_start,
        count(*) AS readings,
        count(DISTINCT sensor) AS active,
        CAST(sum(vehicles) AS BIGINT) AS vehicles,
        CAST(sum(CAST(vehicles AS BIGINT) * coalesce(speed_x10, 0)) AS BIGINT) AS vehicle_speed,
        CAST(sum(pace) AS BIGINT) AS pace,
        CAST(coalesce(sum(occupancy_x1000), 0) AS BIGINT) AS occupancy,
        count(occupancy_x1000) AS occupancy_readings,
        CAST(coalesce(sum(index_x1000), 0) AS BIGINT) AS index_sum,
        count(index_x1000) AS index_readings,
        max(vehicles) AS max_vehicles,
        max(speed_x10) AS max_speed_x10,
        max(occupancy_x1000) AS max_occupancy_x1000,
        max(index_x1000) AS max_index_x1000
    FROM readings
    GROUP BY zone, window_start
)

SELECT
    zone, -- the zone, as z-031
    window_start, -- when the ten seconds begin
    readings, -- how many readings of its sensors there are
    active, -- how many of its sensors were heard
    vehicles, -- how many vehicles they counted together
    CASE WHEN pace > 0 THEN round(1000000.0 * vehicles / pace, 1) END AS speed_kmh, -- harmonic mean speed of the vehicles
    vehicle_speed, -- sum of vehicles times tenths of km/h
    pace, -- sum of vehicles times 10,000,000 over tenths of km/h: mean speed is 10,000,000 vehicles over this
    occupancy, -- sum of the occupancies, thousandths
    occupancy_readings, -- of how many readings
    index_sum, -- sum of the sensors' own congestion indexes, thousandths
    index_readings, -- of how many readings
    max_vehicles, -- the most vehicles of one reading
    max_speed_x10, -- the highest speed of one reading, tenths of km/h
    max_occupancy_x1000, -- the highest occupancy of one reading, thousandths
    max_index_x1000 -- the highest congestion index of one reading, thousandths
FROM windows
ORDER BY window_start, zone
