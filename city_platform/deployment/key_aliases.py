"""The template of the names that master keys have in KMS: the aliases the encrypted layers of the datasets use.

`python -m city_platform.deployment.key_aliases > infrastructure/key-aliases.yaml` after adding a dataset's folder.
"""

import sys
from collections.abc import Iterable
from pathlib import Path

from city_platform.contracts.model import Classification
from city_platform.datasets import load_datasets
from city_platform.deployment.cloudformation import IDENTITY
from city_platform.protection.classification import master_key

_HEAD = """\
# Written by `python -m city_platform.deployment.key_aliases` from the folders below datasets/.
AWSTemplateFormatVersion: "2010-09-09"
Description: >-
  Names of the master keys of each dataset: its internal and its personal columns are under the key of their
  classification. Deployed after keys.yaml, and after replica.yaml in its region, so that names lead to the same key
  material there. Aliases hold no environment, hence one environment an account and region.

"""
_ALIAS = """\
  {name}:
    Type: AWS::KMS::Alias
    Properties:
      AliasName: {alias}
      TargetKeyId: !ImportValue {{"Fn::Sub": "${{Project}}-${{Environment}}-{key}KeyArn"}}
"""


def template(datasets: Iterable[str]) -> str:
    """The template for datasets of these names. CloudFormation takes 500 resources, KMS 50 aliases a key."""
    protected = (Classification.INTERNAL, Classification.PERSONAL)
    return f"{_HEAD}{IDENTITY}\nResources:\n" + "".join(
        _ALIAS.format(
            name="".join(part.title() for part in (*dataset.split("_"), one.value)),
            alias=master_key(dataset, one),
            key=one.value.title(),
        )
        for dataset in sorted(datasets)
        for one in protected
    )


if __name__ == "__main__":
    sys.stdout.write(template(dataset.name for dataset in load_datasets(Path("datasets"))))
