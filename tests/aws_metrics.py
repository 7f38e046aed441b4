"""The metrics of AWS's services that dashboards and alarms here look at, with the sets of dimensions they have.

Sources: the monitoring pages of each service's guide ("Monitoring ... with Amazon CloudWatch"), named beside.
"""

from collections.abc import Mapping

Names = frozenset[str]


def _of(names: str, *dimensions: str) -> Mapping[str, frozenset[Names]]:
    sets = frozenset(frozenset(one.split()) for one in dimensions)
    return dict.fromkeys(names.split(), sets)


AWS_METRICS: Mapping[str, Mapping[str, frozenset[Names]]] = {
    # Amazon S3 daily storage metrics for buckets, Amazon S3 User Guide
    "AWS/S3": {
        **_of("BucketSizeBytes NumberOfObjects", "BucketName StorageType"),
        # S3 Replication metrics, ibid.; that of failures is published in the region of the source
        **_of("OperationsFailedReplication", "SourceBucket DestinationBucket RuleId"),
    },
    # Types of metrics for Lambda functions, AWS Lambda Developer Guide
    "AWS/Lambda": _of(
        "Invocations Errors Throttles Duration IteratorAge ConcurrentExecutions DeadLetterErrors "
        "DestinationDeliveryFailures AsyncEventsDropped AsyncEventAge",
        "FunctionName",
        "FunctionName Resource",
    ),
    # DynamoDB metrics and dimensions, Amazon DynamoDB Developer Guide
    "AWS/DynamoDB": {
        **_of(
            "ConsumedReadCapacityUnits ConsumedWriteCapacityUnits ReadThrottleEvents WriteThrottleEvents",
            "TableName",
            "TableName GlobalSecondaryIndexName",
        ),
        **_of("SuccessfulRequestLatency ThrottledRequests SystemErrors", "TableName Operation"),
        **_of("UserErrors", ""),
    },
    # Available CloudWatch metrics for Amazon SQS, Amazon SQS Developer Guide
    "AWS/SQS": _of(
        "ApproximateNumberOfMessagesVisible ApproximateAgeOfOldestMessage ApproximateNumberOfMessagesNotVisible "
        "NumberOfMessagesSent NumberOfMessagesReceived NumberOfMessagesDeleted",
        "QueueName",
    ),
    # Monitoring Amazon SNS topics using CloudWatch, Amazon SNS Developer Guide
    "AWS/SNS": _of("NumberOfMessagesPublished NumberOfNotificationsDelivered NumberOfNotificationsFailed", "TopicName"),
    # Amazon API Gateway dimensions and metrics (REST APIs), Amazon API Gateway Developer Guide
    "AWS/ApiGateway": _of("Count 4XXError 5XXError Latency IntegrationLatency", "ApiName", "ApiName Stage"),
    # Monitoring Step Functions metrics using Amazon CloudWatch, AWS Step Functions Developer Guide
    "AWS/States": _of(
        "ExecutionsStarted ExecutionsSucceeded ExecutionsFailed ExecutionsTimedOut ExecutionsAborted "
        "ExecutionThrottled ExecutionTime",
        "StateMachineArn",
    ),
    # Monitor the Amazon Kinesis Data Streams service with Amazon CloudWatch, Developer Guide
    "AWS/Kinesis": _of(
        "IncomingBytes IncomingRecords WriteProvisionedThroughputExceeded ReadProvisionedThroughputExceeded "
        "GetRecords.IteratorAgeMilliseconds",
        "StreamName",
    ),
    # Monitor Amazon Data Firehose using CloudWatch metrics, Developer Guide
    "AWS/Firehose": _of(
        "DeliveryToS3.DataFreshness DeliveryToS3.Success DeliveryToS3.Records ThrottledRecords IncomingRecords",
        "DeliveryStreamName",
    ),
    # AWS IoT metrics and dimensions, AWS IoT Core Developer Guide
    "AWS/IoT": {
        **_of("PublishIn.Success PublishIn.AuthError PublishIn.Throttle Connect.AuthError", "Protocol"),
        **_of("Failure Success ErrorActionFailure ErrorActionSuccess", "ActionType RuleName"),
        **_of("ParseError RuleExecutionThrottled RuleNotFound TopicMatch", "RuleName"),
    },
    # Monitoring Amazon EventBridge, Amazon EventBridge User Guide
    "AWS/Events": _of(
        "MatchedEvents Invocations FailedInvocations InvocationsFailedToBeSentToDlq InvocationsSentToDlq",
        "RuleName",
        "EventBusName RuleName",
        "EventBusName",
    ),
    # Monitor Athena queries with CloudWatch metrics, Amazon Athena User Guide
    "AWS/Athena": _of("ProcessedBytes TotalExecutionTime EngineExecutionTime", "QueryState QueryType WorkGroup"),
    # Amazon ECS CloudWatch metrics, Amazon ECS Developer Guide
    "AWS/ECS": _of("CPUUtilization MemoryUtilization", "ClusterName ServiceName", "ClusterName"),
    # Amazon ECS Container Insights metrics, Amazon CloudWatch User Guide
    "ECS/ContainerInsights": _of(
        "RunningTaskCount DesiredTaskCount PendingTaskCount", "ClusterName ServiceName", "ClusterName"
    ),
    # Amazon CloudWatch metrics for Amazon RDS, Amazon RDS User Guide
    "AWS/RDS": _of("CPUUtilization FreeStorageSpace FreeableMemory DatabaseConnections", "DBInstanceIdentifier"),
    # Create a billing alarm to monitor your estimated AWS charges, Amazon CloudWatch User Guide
    "AWS/Billing": _of("EstimatedCharges", "Currency", "Currency ServiceName"),
}
