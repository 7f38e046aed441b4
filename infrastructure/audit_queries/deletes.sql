-- What was deleted, or marked for deletion, by whom, of the last thirty days?
SELECT
  eventtime,
  coalesce(useridentity.arn, useridentity.invokedby, useridentity.type) AS who,
  eventsource,
  eventname,
  coalesce(
    json_extract_scalar(requestparameters, '$.bucketName'),
    json_extract_scalar(requestparameters, '$.tableName'),
    json_extract_scalar(requestparameters, '$.keyId'),
    element_at(resources, 1).arn
  ) AS what,
  json_extract_scalar(requestparameters, '$.key') AS object_key,
  errorcode
FROM cloudtrail_logs
WHERE day >= date_format(current_date - interval '30' day, '%Y/%m/%d')
  AND (eventname LIKE 'Delete%' OR eventname IN ('ScheduleKeyDeletion', 'TerminateInstances', 'PurgeQueue'))
ORDER BY eventtime DESC, eventid
LIMIT 10000
