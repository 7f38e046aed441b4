-- How many water systems have an operating permit, of which kind, where, and whether they are running.
-- Reads `trusted`, the rows that passed the rules. Addresses and permit numbers are internal and stay out.
SELECT
    MechanicalSystemType AS "Mechanical System Type",
    LocalArea AS "Local Area",
    CurrentSystemStatus AS "Current System Status",
    count(*) AS "Permits",
    count(SystemReportDate) AS "With Water Quality Report",
    max(SystemReportDate) AS "Newest Report",
    CAST(median(Turbidity) AS DECIMAL(10, 2)) AS "Median Turbidity NTU"
FROM trusted
GROUP BY MechanicalSystemType, LocalArea, CurrentSystemStatus
ORDER BY "Mechanical System Type" NULLS LAST, "Local Area" NULLS LAST, "Current System Status" NULLS LAST
