-- How many incidents does each region have, and what became of them?
-- The newest state of every incident over all days; what the store has dropped after its time still counts.
WITH newest AS (
    SELECT
        region,
        status,
        resolution,
        row_number() OVER (PARTITION BY incident_id ORDER BY version DESC, changed_at DESC) AS Age
    FROM trusted
)

SELECT
    region AS "Region",
    count(*) AS "Incidents",
    sum(CASE WHEN status IN ('resolved', 'rejected', 'duplicate', 'cancelled') THEN 0 ELSE 1 END) AS "Open",
    sum(CASE WHEN status IN ('resolved', 'rejected', 'duplicate', 'cancelled') THEN 1 ELSE 0 END) AS "Closed",
    sum(CASE WHEN resolution = 'fixed' THEN 1 ELSE 0 END) AS "Fixed"
FROM newest
WHERE Age = 1
GROUP BY region
ORDER BY "Region"
