"""The other services: workflows, queries, builds, containers, secrets, the network."""

from collections.abc import Iterator

from tests.infrastructure_rules.model import rule
from tests.infrastructure_rules.policies import listed, statements
from tests.templates import Resource, Stack


@rule("workflow", "AWS::StepFunctions::StateMachine")
def workflow_is_seen(machine: Resource, _: Stack) -> Iterator[str]:
    logging = machine.properties.get("LoggingConfiguration", {})
    if logging.get("Level", "OFF") == "OFF" or not logging.get("Destinations"):
        yield "logs nothing"
    if machine.properties.get("TracingConfiguration", {}).get("Enabled") is not True:
        yield "is not traced"


@rule("athena-workgroup", "AWS::Athena::WorkGroup")
def queries_are_bounded(group: Resource, _: Stack) -> Iterator[str]:
    given = group.properties.get("WorkGroupConfiguration", {})
    result = given.get("ResultConfiguration", {}).get("EncryptionConfiguration", {})
    if given.get("EnforceWorkGroupConfiguration") is not True:
        yield "lets a client choose where and how results are kept"
    if not given.get("BytesScannedCutoffPerQuery"):
        yield "lets a query scan without end"
    if result.get("EncryptionOption") != "SSE_KMS" or not result.get("KmsKey"):
        yield "keeps results under no key of ours"


@rule("glue-security", "AWS::Glue::SecurityConfiguration")
def glue_is_encrypted(configuration: Resource, _: Stack) -> Iterator[str]:
    given = configuration.properties.get("EncryptionConfiguration", {})
    logs, marks = given.get("CloudWatchEncryption", {}), given.get("JobBookmarksEncryption", {})
    if logs.get("CloudWatchEncryptionMode") != "SSE-KMS" or not logs.get("KmsKeyArn"):
        yield "leaves logs under no key of ours"
    if marks.get("JobBookmarksEncryptionMode") != "CSE-KMS" or not marks.get("KmsKeyArn"):
        yield "leaves bookmarks under no key of ours"
    stored = listed(given.get("S3Encryptions"))
    if not stored or any(one.get("S3EncryptionMode") != "SSE-KMS" or not one.get("KmsKeyArn") for one in stored):
        yield "leaves objects under no key of ours"


@rule("glue-uses-security", "AWS::Glue::Crawler", "AWS::Glue::Job", "AWS::Glue::DevEndpoint")
def glue_uses_it(resource: Resource, _: Stack) -> Iterator[str]:
    name = "CrawlerSecurityConfiguration" if resource.kind == "AWS::Glue::Crawler" else "SecurityConfiguration"
    if not resource.properties.get(name):
        yield f"has no {name}"


@rule("glue-crawler", "AWS::Glue::Crawler")
def crawler_changes_no_type(crawler: Resource, _: Stack) -> Iterator[str]:
    """Columns come from contracts; a crawler that follows the files lets one bad file change a table's type."""
    policy = crawler.properties.get("SchemaChangePolicy", {})
    if (policy.get("UpdateBehavior"), policy.get("DeleteBehavior")) != ("LOG", "LOG"):
        yield "changes tables by what it finds"


@rule("build", "AWS::CodeBuild::Project")
def builds_are_kept_apart(project: Resource, _: Stack) -> Iterator[str]:
    environment = project.properties.get("Environment", {})
    if not project.properties.get("EncryptionKey"):
        yield "names no key of ours"
    if environment.get("PrivilegedMode") is True:
        yield "has the rights of the machine it runs on"
    logs = project.properties.get("LogsConfig", {}).get("CloudWatchLogs", {})
    if logs.get("Status") != "ENABLED" or not logs.get("GroupName"):
        yield "logs into no group of ours"


@rule("pipeline-store", "AWS::CodePipeline::Pipeline")
def artifacts_are_encrypted(pipeline: Resource, _: Stack) -> Iterator[str]:
    if not pipeline.properties.get("ArtifactStore", {}).get("EncryptionKey", {}).get("Id"):
        yield "keeps artifacts under no key of ours"


@rule("secret-kms", "AWS::SecretsManager::Secret")
def secret_under_a_key_of_ours(secret: Resource, _: Stack) -> Iterator[str]:
    if not secret.properties.get("KmsKeyId"):
        yield "names no key of ours"


@rule("files-kms", "AWS::EFS::FileSystem")
def files_under_a_key_of_ours(files: Resource, _: Stack) -> Iterator[str]:
    if files.properties.get("Encrypted") is not True or not files.properties.get("KmsKeyId"):
        yield "names no key of ours"


@rule("database", "AWS::RDS::DBInstance", "AWS::RDS::DBCluster")
def database_is_private(database: Resource, _: Stack) -> Iterator[str]:
    given = database.properties
    if given.get("StorageEncrypted") is not True or not given.get("KmsKeyId"):
        yield "names no key of ours"
    if given.get("DeletionProtection") is not True:
        yield "can be deleted by a call"
    if database.kind == "AWS::RDS::DBInstance" and given.get("PubliclyAccessible") is not False:
        yield "is public"


@rule("images", "AWS::ECR::Repository")
def images_stay_what_they_are(repository: Resource, _: Stack) -> Iterator[str]:
    if repository.properties.get("ImageTagMutability") != "IMMUTABLE":
        yield "lets a tag mean another image tomorrow"
    if repository.properties.get("EncryptionConfiguration", {}).get("EncryptionType") != "KMS":
        yield "names no key of ours"


@rule("service-not-public", "AWS::ECS::Service")
def service_is_private(service: Resource, _: Stack) -> Iterator[str]:
    network = service.properties.get("NetworkConfiguration", {}).get("AwsvpcConfiguration", {})
    if network.get("AssignPublicIp") != "DISABLED":
        yield "has a public address"


@rule("load-balancer", "AWS::ElasticLoadBalancingV2::LoadBalancer")
def balancer_is_private(balancer: Resource, _: Stack) -> Iterator[str]:
    if balancer.properties.get("Scheme") != "internal":
        yield "is reached from the internet"


@rule("security-group", "AWS::EC2::SecurityGroup")
def closed_to_the_world(group: Resource, _: Stack) -> Iterator[str]:
    for one in listed(group.properties.get("SecurityGroupIngress")):
        if one.get("CidrIp") == "0.0.0.0/0" or one.get("CidrIpv6") == "::/0":
            yield f"lets everybody in at {one.get('FromPort')}"
    if "SecurityGroupEgress" not in group.properties:
        yield "lets everything out: no rule says what may leave"


@rule("endpoint-policy", "AWS::EC2::VPCEndpoint")
def endpoint_is_narrow(endpoint: Resource, _: Stack) -> Iterator[str]:
    found = statements(endpoint.properties.get("PolicyDocument"))
    if not found or any("*" in action for one in found for action in listed(one.get("Action"))):
        yield "lets through whatever the service can do"


@rule("user-pool", "AWS::Cognito::UserPool")
def passwords_are_long(pool: Resource, _: Stack) -> Iterator[str]:
    policy = pool.properties.get("Policies", {}).get("PasswordPolicy", {})
    if policy.get("MinimumLength", 0) < 12:
        yield "takes passwords of less than 12 characters"
    if pool.properties.get("MfaConfiguration", "OFF") == "OFF":
        yield "lets nobody use a second factor"
