"""The fuzzer's short run; the long one is in tests/slow."""

from pathlib import Path

from tests.api import town


def test_no_request_makes_the_api_fail_or_break_its_description(tmp_path: Path) -> None:
    from tests.api_fuzz import fuzz  # the fuzzer is seconds of imports, for whoever runs this test

    assert fuzz(town(tmp_path), examples=4) > 20  # so many went through, too
