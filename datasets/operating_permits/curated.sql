-- How many water systems have an operating permit, of which kind, where, and whether they are running.
-- Reads `trusted`, the rows that passed the rules. Addresses and permit numbers are internal and stay out.
SELECT
    MechanicalSystemType AS "Mechanical System Type", -- what kind of water system it is
    LocalArea AS "Local Area", -- where it stands
    CurrentSystemStatus AS "Current System Status", -- whether it is running
    count(*) AS "Permits", -- how many permits
    count(SystemReportDate) AS "With Water Quality Report", -- how many of the systems have filed a water quality report
    max(SystemReportDate) AS "Newest Report", -- the day of the newest of these
    -- Half of the last reports measured no more, in nephelometric turbidity units.
    CAST(median(Turbidity) AS DECIMAL(10, 2)) AS "Median Turbidity NTU"
FROM trusted
GROUP BY MechanicalSystemType, LocalArea, CurrentSystemStatus
ORDER BY "Mechanical System Type" NULLS LAST, "Local Area" NULLS LAST, "Current System Status" NULLS LAST
