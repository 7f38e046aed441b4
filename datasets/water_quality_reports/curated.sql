-- How many water quality reports each kind of system filed in each month, and what they say.
-- Reads `trusted`, the rows that passed the rules. Addresses and permit numbers are internal and stay out.
SELECT
    CAST(date_trunc('month', SystemReportDate) AS DATE) AS "Month",
    MechanicalSystemType AS "Mechanical System Type",
    count(*) AS "Reports",
    count(DISTINCT OperatingPermitNumber) AS "Systems",
    count(Turbidity) AS "Reports With Turbidity",
    CAST(median(Turbidity) AS DECIMAL(10, 2)) AS "Median Turbidity NTU",
    CAST(median(Temperature) AS DECIMAL(5, 1)) AS "Median Temperature Celsius",
    count(Legionella) AS "Reports With Legionella Result"
FROM trusted
GROUP BY date_trunc('month', SystemReportDate), MechanicalSystemType
ORDER BY "Month", "Mechanical System Type" NULLS LAST
