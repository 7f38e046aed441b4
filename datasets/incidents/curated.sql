-- How many incidents changed on the day, by place, kind and the state they were in when the day was over, and how many
-- were reported, closed, fixed and reopened. Every incident that changed is counted once: the counts add up to them.
-- Reads `trusted`, the rows that passed the rules. A removal from the store is no change of the incident.
WITH changes AS (
    SELECT
        incident_id,
        region,
        district,
        category,
        severity,
        status,
        resolution,
        event = 'INSERT' AS Reported,
        coalesce(old_status, '') NOT IN ('resolved', 'rejected', 'duplicate', 'cancelled')
        AND status IN ('resolved', 'rejected', 'duplicate', 'cancelled') AS Closed,
        coalesce(old_status, '') <> 'reopened' AND status = 'reopened' AS Reopened,
        row_number() OVER (PARTITION BY incident_id ORDER BY version DESC) AS Age
    FROM trusted
    WHERE event <> 'REMOVE'
),

incidents AS (
    SELECT
        incident_id,
        max(CASE WHEN Age = 1 THEN region END) AS region,
        max(CASE WHEN Age = 1 THEN district END) AS district,
        max(CASE WHEN Age = 1 THEN category END) AS category,
        max(CASE WHEN Age = 1 THEN severity END) AS severity,
        max(CASE WHEN Age = 1 THEN status END) AS status,
        max(CASE WHEN Age = 1 THEN resolution END) AS resolution,
        count(*) AS Changes,
        count(*) FILTER (WHERE Reported) AS Reported,
        count(*) FILTER (WHERE Closed) AS Closed,
        count(*) FILTER (WHERE Closed AND resolution = 'fixed') AS Fixed,
        count(*) FILTER (WHERE Reopened) AS Reopened
    FROM changes
    GROUP BY incident_id
)

SELECT
    region AS "Region", -- the region of the city
    district AS "District", -- the district of the city
    category AS "Category", -- what kind of incident
    severity AS "Severity", -- how bad they are
    status AS "Status", -- the status at the end of the day
    resolution AS "Resolution", -- how they ended, where they are closed
    count(*) AS "Incidents", -- how many incidents changed on this day
    CAST(sum(Changes) AS BIGINT) AS "Changes", -- how many changes that were
    CAST(sum(Reported) AS BIGINT) AS "Reported", -- how many of them were reported on this day
    CAST(sum(Closed) AS BIGINT) AS "Closed", -- how often one of them was closed on this day
    CAST(sum(Fixed) AS BIGINT) AS "Fixed", -- how often because it was repaired
    CAST(sum(Reopened) AS BIGINT) AS "Reopened" -- how often one of them was reopened on this day
FROM incidents
GROUP BY ALL
ORDER BY ALL
