-- How many incidents does each reporter have, under their pseudonym, and what became of them?
-- The newest state of every incident over all days; what the store has dropped after its time still counts.
WITH newest AS (
    SELECT
        reporter,
        status,
        resolution,
        row_number() OVER (PARTITION BY incident_id ORDER BY version DESC, changed_at DESC) AS Age
    FROM trusted
)

SELECT
    coalesce(reporter, 'anonymous') AS "Reporter",
    count(*) AS "Incidents",
    sum(CASE WHEN status IN ('resolved', 'rejected', 'duplicate', 'cancelled') THEN 0 ELSE 1 END) AS "Open",
    sum(CASE WHEN status IN ('resolved', 'rejected', 'duplicate', 'cancelled') THEN 1 ELSE 0 END) AS "Closed",
    sum(CASE WHEN resolution = 'fixed' THEN 1 ELSE 0 END) AS "Fixed"
FROM newest
WHERE Age = 1
GROUP BY coalesce(reporter, 'anonymous')
ORDER BY "Incidents" DESC, "Reporter"
