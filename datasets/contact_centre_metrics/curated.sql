-- What each month asked of the contact centre, and how callers were served.
-- Reads `trusted`, the rows that passed the rules. Nothing in it is about a person.
SELECT
    CAST(date_trunc('month', Date) AS DATE) AS "Month", -- the first day of the month
    count(*) AS "Days", -- on how many days of it the centre has figures
    sum(CallsOffered) AS "Calls Offered", -- how many calls came in
    sum(CallsHandled) AS "Calls Handled", -- how many were answered
    sum(CallsAbandoned) AS "Calls Abandoned", -- how many callers hung up while they waited
    -- Calls abandoned in a hundred calls offered.
    CAST(100.0 * sum(CallsAbandoned) / nullif(sum(CallsOffered), 0) AS DECIMAL(5, 2)) AS "Abandoned Percent",
    -- How long callers waited on average. A busy day weighs more than a quiet one: seconds waited in all, shared among
    -- all who were answered. Rounded
    -- before they are added, so that the sum does not depend on the order of the rows.
    CAST(
        sum(CAST(AverageSpeedOfAnswer * CallsHandled AS DECIMAL(18, 3))) / nullif(sum(CallsHandled), 0) AS DECIMAL(10, 1)
    ) AS "Average Wait In Seconds",
    -- The average wait on the worst day.
    CAST(max(AverageSpeedOfAnswer) AS DECIMAL(10, 1)) AS "Longest Daily Average Wait In Seconds",
    -- On half of the days no larger share of calls was answered in time, from 0 to 1.
    CAST(median(ServiceLevel) AS DECIMAL(5, 3)) AS "Median Service Level"
FROM trusted
GROUP BY date_trunc('month', Date)
ORDER BY "Month"
