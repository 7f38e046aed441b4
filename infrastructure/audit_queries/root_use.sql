-- When was the account's root user used, from where and for what, of the last ninety days?
SELECT
  eventtime,
  sourceipaddress,
  eventsource,
  eventname,
  useridentity.sessioncontext.attributes.mfaauthenticated AS mfa,
  errorcode
FROM cloudtrail_logs
WHERE day >= date_format(current_date - interval '90' day, '%Y/%m/%d')
  AND useridentity.type = 'Root'
  AND useridentity.invokedby IS NULL
  AND eventtype <> 'AwsServiceEvent'
ORDER BY eventtime DESC, eventid
