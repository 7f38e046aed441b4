-- Who used which key for what, how often, of the last seven days?
SELECT
  element_at(resources, 1).arn AS key_arn,
  coalesce(useridentity.arn, useridentity.invokedby, useridentity.type) AS who,
  eventname,
  count(*) AS calls,
  count_if(errorcode IS NOT NULL) AS refused,
  min(eventtime) AS first_at,
  max(eventtime) AS last_at
FROM cloudtrail_logs
WHERE day >= date_format(current_date - interval '7' day, '%Y/%m/%d')
  AND eventsource = 'kms.amazonaws.com'
  AND eventname IN ('Decrypt', 'Encrypt', 'GenerateDataKey', 'GenerateDataKeyWithoutPlaintext', 'ReEncrypt')
GROUP BY 1, 2, 3
ORDER BY key_arn, calls DESC, who, eventname
