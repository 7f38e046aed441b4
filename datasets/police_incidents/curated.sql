-- How many incidents of each kind the police recorded in each month and local area.
-- Reads `trusted`, the rows that passed the rules. Days, hours, blocks and points are internal and stay out, and counts
-- below five are left empty, so that nobody is recognised as the one.
SELECT
    make_date(IncidentYear, IncidentMonth, 1) AS "Month",
    IncidentType AS "Incident Type",
    LocalArea AS "Local Area",
    CASE WHEN count(*) >= 5 THEN count(*) END AS "Incidents",
    count(*) < 5 AS "Fewer Than Five"
FROM trusted
GROUP BY IncidentYear, IncidentMonth, IncidentType, LocalArea
ORDER BY "Month", "Incident Type", "Local Area" NULLS LAST
