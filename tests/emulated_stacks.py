"""moto, made to do what a deployment needs of CloudFormation and it leaves out."""

from typing import Any

import pytest
from moto.cloudformation.models import CloudFormationBackend
from moto.cloudformation.responses import CloudFormationResponse
from moto.kms.models import KmsBackend


def mend(monkeypatch: pytest.MonkeyPatch) -> None:
    """Imports, outputs and exports of stacks that change sets make; tags of keys, taken in KMS's form alone."""
    execute, create_key = CloudFormationBackend.execute_change_set, KmsBackend.create_key

    def with_outputs(self: Any, change_set_name: str, stack_name: str | None = None) -> None:
        change_set = self.describe_change_set(change_set_name)
        stack = self.stacks[change_set.stack_id]
        stack.resource_map.cross_stack_resources = self.exports
        execute(self, change_set_name, stack_name)
        stack._parse_template()
        stack.parameters = stack.resource_map._parsed_parameters = change_set.parameters
        stack.output_map = stack._create_output_map()
        self.exports.update({export.name: export for export in stack.exports})

    def with_tags(self: Any, *arguments: Any, tags: Any = None, **more: Any) -> Any:
        own = [{"TagKey": one.get("TagKey", one.get("Key")), "TagValue": one.get("TagValue", one.get("Value"))}
               for one in tags or []]  # fmt: skip
        return create_key(self, *arguments, tags=own, **more)

    # AWS makes a change set of nothing, and says so in its status; moto refuses, as both do an update.
    monkeypatch.setattr(CloudFormationResponse, "_validate_different_update", lambda *_: None)
    monkeypatch.setattr(CloudFormationBackend, "execute_change_set", with_outputs)
    monkeypatch.setattr(KmsBackend, "create_key", with_tags)
