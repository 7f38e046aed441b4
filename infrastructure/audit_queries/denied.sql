-- Who was refused what, how often, from where and since when, of the last seven days?
SELECT
  coalesce(useridentity.arn, useridentity.invokedby, useridentity.type) AS who,
  eventsource,
  eventname,
  errorcode,
  count(*) AS refusals,
  count(DISTINCT sourceipaddress) AS addresses,
  min(eventtime) AS first_at,
  max(eventtime) AS last_at
FROM cloudtrail_logs
WHERE day >= date_format(current_date - interval '7' day, '%Y/%m/%d')
  AND (errorcode LIKE 'AccessDenied%' OR errorcode LIKE '%UnauthorizedOperation')
GROUP BY 1, 2, 3, 4
ORDER BY refusals DESC, who, eventsource, eventname
