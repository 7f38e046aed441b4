-- Who changed who may do what, or whether it is recorded, of the last ninety days?
SELECT
  eventtime,
  coalesce(useridentity.arn, useridentity.invokedby, useridentity.type) AS who,
  sourceipaddress,
  eventsource,
  eventname,
  coalesce(
    json_extract_scalar(requestparameters, '$.bucketName'),
    json_extract_scalar(requestparameters, '$.keyId'),
    json_extract_scalar(requestparameters, '$.roleName'),
    json_extract_scalar(requestparameters, '$.policyArn'),
    json_extract_scalar(requestparameters, '$.userName'),
    json_extract_scalar(requestparameters, '$.name')
  ) AS what,
  errorcode
FROM cloudtrail_logs
WHERE day >= date_format(current_date - interval '90' day, '%Y/%m/%d')
  AND (
    (
      eventsource = 's3.amazonaws.com'
      AND (
        eventname LIKE 'PutBucket%' OR eventname LIKE 'DeleteBucket%'
        OR eventname IN ('PutAccountPublicAccessBlock', 'PutObjectAcl')
      )
    )
    OR (
      eventsource = 'kms.amazonaws.com'
      AND eventname IN ('PutKeyPolicy', 'CreateGrant', 'DisableKey', 'DisableKeyRotation', 'ScheduleKeyDeletion')
    )
    OR (
      eventsource = 'iam.amazonaws.com'
      AND (
        eventname LIKE 'Attach%' OR eventname LIKE 'Detach%' OR eventname LIKE 'Put%Policy'
        OR eventname LIKE 'Delete%Policy' OR eventname LIKE 'CreatePolicy%' OR eventname = 'UpdateAssumeRolePolicy'
      )
    )
    OR (
      eventsource = 'cloudtrail.amazonaws.com'
      AND eventname IN ('StopLogging', 'DeleteTrail', 'UpdateTrail', 'PutEventSelectors')
    )
  )
ORDER BY eventtime DESC, eventid
