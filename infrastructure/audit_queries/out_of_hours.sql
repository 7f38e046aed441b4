-- What did people do at night or at the weekend, on the city's clock, of the last thirty days?
WITH by_people AS (
  SELECT
    *,
    from_iso8601_timestamp(eventtime) AT TIME ZONE 'America/Vancouver' AS here
  FROM cloudtrail_logs
  WHERE day >= date_format(current_date - interval '30' day, '%Y/%m/%d')
    AND useridentity.invokedby IS NULL
    AND (
      useridentity.type IN ('IAMUser', 'Root', 'SAMLUser', 'WebIdentityUser')
      OR useridentity.sessioncontext.sessionissuer.username LIKE 'AWSReservedSSO%'
    )
)
SELECT
  coalesce(useridentity.arn, useridentity.type) AS who,
  sourceipaddress,
  eventsource,
  eventname,
  count(*) AS calls,
  min(eventtime) AS first_at,
  max(eventtime) AS last_at
FROM by_people
WHERE hour(here) < 6 OR hour(here) >= 20 OR day_of_week(here) > 5
GROUP BY 1, 2, 3, 4
ORDER BY last_at DESC, who, eventsource, eventname
