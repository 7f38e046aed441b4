-- Who wrote, replaced or removed which data when, of the last seven days?
SELECT
  eventtime,
  coalesce(useridentity.arn, useridentity.invokedby, useridentity.type) AS who,
  useridentity.sessioncontext.sessionissuer.username AS role,
  sourceipaddress,
  eventname,
  coalesce(
    json_extract_scalar(requestparameters, '$.bucketName'),
    json_extract_scalar(requestparameters, '$.tableName')
  ) AS held_in,
  json_extract_scalar(requestparameters, '$.key') AS object_key
FROM cloudtrail_logs
WHERE day >= date_format(current_date - interval '7' day, '%Y/%m/%d')
  AND (
    (
      eventsource = 's3.amazonaws.com'
      AND eventname IN (
        'PutObject', 'CopyObject', 'CompleteMultipartUpload', 'RestoreObject', 'DeleteObject', 'DeleteObjects'
      )
    )
    OR (
      eventsource = 'dynamodb.amazonaws.com'
      AND eventname IN ('PutItem', 'UpdateItem', 'DeleteItem', 'BatchWriteItem', 'TransactWriteItems')
    )
  )
  AND errorcode IS NULL
ORDER BY eventtime DESC, eventid
LIMIT 10000
