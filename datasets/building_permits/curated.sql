-- How many building permits were issued in each month and local area for which work, of what value and how fast.
-- Reads `trusted`, the rows that passed the rules. Applicants, contractors and addresses stay out; fewer than three
-- permits in a cell show no value and no duration, because these would be those of one project.
WITH permits AS (
    SELECT
        CAST(date_trunc('month', IssueDate) AS DATE) AS Issued,
        LocalArea,
        TypeOfWork,
        PermitElapsedDays,
        nullif(ProjectValue, 0) AS ProjectValue -- nobody estimated it
    FROM trusted
)

SELECT
    Issued AS "Month Issued",
    LocalArea AS "Local Area",
    TypeOfWork AS "Type Of Work",
    count(*) AS "Permits",
    count(ProjectValue) AS "Permits With Value",
    CASE WHEN count(ProjectValue) >= 3 THEN sum(ProjectValue) END AS "Project Value",
    CASE WHEN count(ProjectValue) >= 3 THEN CAST(median(ProjectValue) AS DECIMAL(14, 2)) END AS "Median Project Value",
    CASE WHEN count(*) >= 3 THEN CAST(median(PermitElapsedDays) AS DECIMAL(8, 1)) END AS "Median Elapsed Days"
FROM permits
GROUP BY Issued, LocalArea, TypeOfWork
ORDER BY "Month Issued", "Local Area" NULLS LAST, "Type Of Work" NULLS LAST
