"""Rules that hold over every template of infrastructure/; each module registers its own."""

from tests.infrastructure_rules import dynamodb, functions, general, iam, kms, messages, s3, services, watching

__all__ = ["dynamodb", "functions", "general", "iam", "kms", "messages", "s3", "services", "watching"]
