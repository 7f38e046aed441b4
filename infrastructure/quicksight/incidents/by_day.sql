-- How many incidents changed on each day, and how many were reported, closed and fixed?
-- chart: Reported, Closed, Fixed
SELECT
    CAST(day AS DATE) AS "Day",
    "Region",
    "District",
    "Category",
    sum("Incidents") AS "Changed",
    sum("Reported") AS "Reported",
    sum("Closed") AS "Closed",
    sum("Fixed") AS "Fixed",
    sum("Reopened") AS "Reopened"
FROM curated
GROUP BY CAST(day AS DATE), "Region", "District", "Category"
ORDER BY "Day", "Region", "District", "Category"
