"""Ten thousand texts that are nearly rulesets, and what a ruleset that is one goes through after it was read."""

import time

import pytest

from city_platform.datasets import load_datasets
from city_platform.quality.binding import check_ruleset
from city_platform.quality.declared import declared_rules
from city_platform.quality.linter import lint
from city_platform.quality.parser import parse_ruleset
from city_platform.quality.printer import print_ruleset
from tests.rulesets import nearly_rulesets
from tests.town import ROOT

SECONDS = 20  # a text of a few thousand characters takes milliseconds; this tells a hang from a busy machine


@pytest.mark.parametrize("seed", range(10))
def test_no_text_breaks_or_holds_up_the_reader(seed: int) -> None:
    contract = load_datasets(ROOT / "datasets")[0].contract
    for text in nearly_rulesets(1_000, seed=seed):
        started = time.process_time()
        ruleset, findings = parse_ruleset(text, "rules.dqdl")
        assert (ruleset is None) is bool(findings), text
        if ruleset is not None:
            assert parse_ruleset(print_ruleset(ruleset), "rules.dqdl")[0] == ruleset, text
            check_ruleset(ruleset, contract)
            lint(ruleset, contract)
            declared_rules(ruleset)
        assert time.process_time() - started < SECONDS, text
