-- How many incidents of each kind the police recorded in each month and local area.
-- Reads `trusted`, the rows that passed the rules. Days, hours, blocks and points are internal and stay out, and counts
-- below five are left empty, so that nobody is recognised as the one.
SELECT
    make_date(IncidentYear, IncidentMonth, 1) AS "Month", -- the first day of the month
    IncidentType AS "Incident Type", -- what kind of incident
    LocalArea AS "Local Area", -- where it happened
    CASE WHEN count(*) >= 5 THEN count(*) END AS "Incidents", -- how many; empty for fewer than five
    count(*) < 5 AS "Fewer Than Five" -- whether the count was left empty for that reason
FROM trusted
GROUP BY IncidentYear, IncidentMonth, IncidentType, LocalArea
ORDER BY "Month", "Incident Type", "Local Area" NULLS LAST
