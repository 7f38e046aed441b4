-- How many larger businesses were licensed on each local day, until when and for what fee.
-- Reads `trusted`, the rows that passed the rules, with personal columns masked.
WITH change_schema AS (
    SELECT
        Status,
        IssuedDate,
        ExpiredDate,
        NumberofEmployees,
        CAST(FeePaid * 100 AS BIGINT) AS FeeCents -- whole cents: sums of them are exact
    FROM trusted
),

larger_businesses AS (
    SELECT *
    FROM change_schema
    WHERE NumberofEmployees > 15 AND Status = 'Issued'
),

summary AS (
    SELECT
        CAST(timezone('America/Vancouver', IssuedDate) AS DATE) AS IssuedDay, -- the day on Vancouver's calendar
        max(IssuedDate) AS LastIssued,
        max(ExpiredDate) AS LatestExpiry,
        count(*) AS Licences,
        count(FeeCents) AS WithFee,
        sum(FeeCents) AS FeeCents
    FROM larger_businesses
    GROUP BY CAST(timezone('America/Vancouver', IssuedDate) AS DATE)
),

-- The wall clock's time in Vancouver, and by how many minutes it is ahead of UTC.
local_time AS (
    SELECT
        *,
        timezone('America/Vancouver', LastIssued) AS LastLocal,
        date_diff('minute', timezone('UTC', LastIssued), timezone('America/Vancouver', LastIssued)) AS OffsetMinutes
    FROM summary
)

SELECT
    IssuedDay AS "Issued Date", -- the day on Vancouver's calendar on which the licences were issued
    -- When the last of the day was issued: local time with its offset, so that the hour the clock repeats in November
    -- stays two different hours.
    strftime(LastLocal, '%Y-%m-%dT%H:%M:%S')
    || format('{:+03d}:{:02d}', OffsetMinutes // 60, abs(OffsetMinutes) % 60) AS "Last Issued LTZ",
    LatestExpiry AS "Latest Expiry Date", -- the last day on which any of them is valid
    -- What they paid on average, in dollars. Half a cent is rounded away from zero; a day without any fee has no
    -- average.
    CAST(
        CAST(sign(FeeCents) * ((2 * abs(FeeCents) + WithFee) // (2 * WithFee)) AS DECIMAL(18, 0)) * 0.01
        AS DECIMAL(12, 2)
    ) AS "Average Fee Paid",
    Licences AS "Licences", -- how many licences of businesses with more than 15 employees
    WithFee AS "Licences With Fee", -- how many of them say what fee was paid
    CAST(getvariable('report_date') AS DATE) AS "Report Date" -- the day for which the report was made
FROM local_time
ORDER BY "Issued Date" NULLS LAST
