-- What do issued licences cost on average?
WITH issued AS (
    SELECT FeePaid
    FROM trusted
    WHERE Status = 'Issued'
),

-- Half of the fees are below the median and half above it: the middle one, or the mean of the two in the middle.
ranked AS (
    SELECT
        FeePaid,
        row_number() OVER (ORDER BY FeePaid) AS Place,
        count(*) OVER () AS Fees
    FROM issued
    WHERE FeePaid IS NOT NULL
),

middle AS (
    SELECT avg(CASE WHEN 2 * Place BETWEEN Fees AND Fees + 2 THEN FeePaid END) AS MedianFee
    FROM ranked
),

fees AS (
    SELECT
        count(*) AS Licences,
        count(FeePaid) AS WithFee,
        sum(FeePaid) AS Paid
    FROM issued
)

SELECT
    CAST(fees.Paid / nullif(fees.WithFee, 0) AS DECIMAL(12, 2)) AS "Average Fee Paid",
    CAST(middle.MedianFee AS DECIMAL(12, 2)) AS "Median Fee Paid",
    fees.Licences AS "Issued Licences",
    fees.WithFee AS "With Fee",
    CAST(100.0 * (fees.Licences - fees.WithFee) / nullif(fees.Licences, 0) AS DECIMAL(5, 2)) AS "Without Fee Percent"
FROM fees
CROSS JOIN middle
ORDER BY "Issued Licences"
