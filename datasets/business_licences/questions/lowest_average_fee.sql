-- Which kinds of business pay the lowest average fee for an issued licence?
WITH ranked AS (
    SELECT
        BusinessType,
        FeePaid,
        row_number() OVER (PARTITION BY BusinessType ORDER BY FeePaid NULLS LAST) AS Place,
        count(FeePaid) OVER (PARTITION BY BusinessType) AS Fees
    FROM trusted
    WHERE Status = 'Issued' AND BusinessType IS NOT NULL
),

-- The average is taken over the licences of a kind of business that have a fee.
averages AS (
    SELECT
        BusinessType,
        CAST(sum(FeePaid) / count(FeePaid) AS DECIMAL(12, 2)) AS AverageFee,
        CAST(avg(CASE WHEN 2 * Place BETWEEN Fees AND Fees + 2 THEN FeePaid END) AS DECIMAL(12, 2)) AS MedianFee,
        count(*) AS Licences,
        count(FeePaid) AS WithFee
    FROM ranked
    WHERE Fees > 0
    GROUP BY BusinessType
)

-- All of them, where several share the lowest.
SELECT
    BusinessType AS "Business Type",
    AverageFee AS "Average Fee Paid",
    MedianFee AS "Median Fee Paid",
    Licences AS "Issued Licences",
    WithFee AS "With Fee",
    CAST(100.0 * (Licences - WithFee) / Licences AS DECIMAL(5, 2)) AS "Without Fee Percent"
FROM averages
WHERE AverageFee = (SELECT min(AverageFee) FROM averages)
ORDER BY "Business Type"
