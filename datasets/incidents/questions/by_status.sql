-- In which state are the incidents, and how did the closed ones end?
-- The newest state of every incident over all days; what the store has dropped after its time still counts.
WITH newest AS (
    SELECT
        status,
        resolution,
        row_number() OVER (PARTITION BY incident_id ORDER BY version DESC, changed_at DESC) AS Age
    FROM trusted
)

SELECT
    status AS "Status",
    coalesce(resolution, '') AS "Resolution",
    count(*) AS "Incidents"
FROM newest
WHERE Age = 1
GROUP BY status, coalesce(resolution, '')
ORDER BY "Status", "Resolution"
