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
    Opened AS "Month Opened", -- the first day of the local month in which the requests were opened
    Department AS "Department", -- whose matter it is
    RequestType AS "Service Request Type", -- what was asked for
    Obsolete AS "Obsolete Type", -- whether the type is no longer in use
    count(*) AS "Requests", -- how many requests
    count(*) FILTER (WHERE Status = 'Open') AS "Still Open", -- how many are open
    -- How many were closed because the service was provided.
    count(*) FILTER (WHERE ClosureReason = 'Service provided') AS "Service Provided",
    CAST(median(DaysOpen) AS DECIMAL(8, 1)) AS "Median Days Until Closed" -- half of the closed ones took no longer
FROM requests
GROUP BY Opened, Department, RequestType, Obsolete
ORDER BY "Month Opened", "Department" NULLS LAST, "Service Request Type" NULLS LAST, "Obsolete Type"
