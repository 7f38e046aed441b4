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
    Issued AS "Month Issued", -- the first day of the month in which the permits were issued
    LocalArea AS "Local Area", -- where the work is done
    TypeOfWork AS "Type Of Work", -- what is done
    count(*) AS "Permits", -- how many permits
    count(ProjectValue) AS "Permits With Value", -- how many of them name a value above zero
    -- What all of these are worth, in dollars; empty for fewer than three.
    CASE WHEN count(ProjectValue) >= 3 THEN sum(ProjectValue) END AS "Project Value",
    -- Half of these are worth no more, in dollars; empty for fewer than three.
    CASE WHEN count(ProjectValue) >= 3 THEN CAST(median(ProjectValue) AS DECIMAL(14, 2)) END AS "Median Project Value",
    -- Half of the permits took no longer from application to issue; empty for fewer than three.
    CASE WHEN count(*) >= 3 THEN CAST(median(PermitElapsedDays) AS DECIMAL(8, 1)) END AS "Median Elapsed Days"
FROM permits
GROUP BY Issued, LocalArea, TypeOfWork
ORDER BY "Month Issued", "Local Area" NULLS LAST, "Type Of Work" NULLS LAST
