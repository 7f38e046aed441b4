-- How many incidents of each kind and status are there in each region and district?
-- The newest state of every incident over all days; what the store has dropped after its time still counts.
WITH newest AS (
    SELECT
        region,
        district,
        category,
        status,
        row_number() OVER (PARTITION BY incident_id ORDER BY version DESC, changed_at DESC) AS Age
    FROM trusted
)

SELECT
    region AS "Region",
    district AS "District",
    category AS "Category",
    status AS "Status",
    count(*) AS "Incidents"
FROM newest
WHERE Age = 1
GROUP BY region, district, category, status
ORDER BY "Region", "District", "Category", "Status"
