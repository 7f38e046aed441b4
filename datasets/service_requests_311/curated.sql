-- How many requests of each kind were opened in each month, and how soon and how they were closed.
-- Reads `trusted`, the rows that passed the rules. Addresses and coordinates are personal and stay out, and no area is
-- named, because a rare kind of request in a small area would lead back to the one who made it.
WITH requests AS (
    SELECT
        CAST(date_trunc('month', timezone('America/Vancouver', ServiceRequestOpenTimestamp)) AS DATE) AS Opened,
        Department,
        -- An obsolete type is counted under its own name, without the mark the source puts in front.
        regexp_replace(ServiceRequestType, '^ZZ OLD - ', '') AS RequestType,
        starts_with(ServiceRequestType, 'ZZ OLD') AS Obsolete,
        Status,
        ClosureReason,
        date_diff(
            'day', CAST(timezone('America/Vancouver', ServiceRequestOpenTimestamp) AS DATE), ServiceRequestCloseDate
        ) AS DaysOpen -- both days on Vancouver's calendar
    FROM trusted
)

SELECT
    Opened AS "Month Opened",
    Department AS "Department",
    RequestType AS "Service Request Type",
    Obsolete AS "Obsolete Type",
    count(*) AS "Requests",
    count(*) FILTER (WHERE Status = 'Open') AS "Still Open",
    count(*) FILTER (WHERE ClosureReason = 'Service provided') AS "Service Provided",
    CAST(median(DaysOpen) AS DECIMAL(8, 1)) AS "Median Days Until Closed"
FROM requests
GROUP BY Opened, Department, RequestType, Obsolete
ORDER BY "Month Opened", "Department" NULLS LAST, "Service Request Type" NULLS LAST, "Obsolete Type"
