-- How many water quality reports each kind of system filed in each month, and what they say.
-- Reads `trusted`, the rows that passed the rules. Addresses and permit numbers are internal and stay out.
SELECT
    CAST(date_trunc('month', SystemReportDate) AS DATE) AS "Month", -- the first day of the month of the reports
    MechanicalSystemType AS "Mechanical System Type", -- what kind of water system it is
    count(*) AS "Reports", -- how many reports
    count(DISTINCT OperatingPermitNumber) AS "Systems", -- how many systems they are about
    count(Turbidity) AS "Reports With Turbidity", -- how many name a turbidity
    -- Half of these measured no more, in nephelometric turbidity units.
    CAST(median(Turbidity) AS DECIMAL(10, 2)) AS "Median Turbidity NTU",
    -- Half of the reports measured no warmer water.
    CAST(median(Temperature) AS DECIMAL(5, 1)) AS "Median Temperature Celsius",
    count(Legionella) AS "Reports With Legionella Result" -- how many name a result of the test for Legionella
FROM trusted
GROUP BY date_trunc('month', SystemReportDate), MechanicalSystemType
ORDER BY "Month", "Mechanical System Type" NULLS LAST
