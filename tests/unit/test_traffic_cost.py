"""The bill of the traffic path, and the table its prices come from."""

import json
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from city_platform.cli.app import app
from city_platform.traffic.cost import DESIGNS, LIMIT_USD, SECONDS, InvalidPrices, Load, estimate, read_prices

TABLE = files("city_platform.traffic").joinpath("prices.yaml").read_text()
PRICES = read_prices()


def test_fifty_thousand_readings_a_second_stay_within_the_limit() -> None:
    assert 500 < estimate("packed", Load(), PRICES).usd <= LIMIT_USD


def test_a_message_for_each_reading_costs_what_the_price_list_says() -> None:
    bill = estimate("single", Load(), PRICES)
    messaging = sum(line.usd for line in bill.lines if line.service == "IoT Core" and line.what != "connections")
    millions = 50_000 * SECONDS / 1e6
    by_hand = 1000 * 1.00 + 4000 * 0.80 + (millions - 5000) * 0.70 + millions * (0.15 + 0.15)
    assert messaging == pytest.approx(by_hand)
    assert messaging > 130_000
    shards = [line.quantity / 730 for line in bill.lines if line.price == "kinesis_shard_hour"]
    assert shards == [63]  # ceil(1.25 x 50,000 / 1,000)


def test_a_line_is_quantity_times_price() -> None:
    dearer = read_prices(TABLE.replace("kinesis_put_unit:              {usd: 0.014", "kinesis_put_unit: {usd: 0.028"))
    for design in DESIGNS:
        usual, raised = estimate(design, Load(), PRICES), estimate(design, Load(), dearer)
        for before, after in zip(usual.lines, raised.lines, strict=True):
            assert after.usd == pytest.approx(before.usd * (2 if before.price == "kinesis_put_unit" else 1))
            price = PRICES.table[before.price]
            assert before.usd == pytest.approx(before.quantity * price.usd / price.per)


def test_every_price_of_the_table_is_on_some_bill() -> None:
    used = {line.price for design in DESIGNS for line in estimate(design, Load(), PRICES).lines}
    assert used == PRICES.table.keys()


@settings(max_examples=30)
@given(st.floats(1, 1e6), st.integers(1, 5000), st.sampled_from(sorted(DESIGNS)))
def test_more_readings_never_cost_less(rate: float, zones: int, design: str) -> None:
    less, more = (estimate(design, Load(one, 50_000, zones), PRICES).usd for one in (rate, rate * 1.5))
    assert 0 < less <= more * 1.0000001


def test_a_table_with_mistakes_is_refused_with_all_of_them() -> None:
    broken = (
        TABLE.replace("lambda_request:", "lambda_requests:")
        .replace("{usd: 0.25, per: 1,", "{usd: -1, per: 1,")
        .replace("as_of: 2026-11-21", "as_of: lately")
        .replace("currency: USD", "currency: CAD")
    )
    with pytest.raises(InvalidPrices) as refused:
        read_prices(broken)
    for mistake in (
        "5 mistake(s)", "lambda_request is missing", "lambda_requests is no price this model knows",
        "dynamodb_gb_month needs usd", "as_of is no date", "currency is not USD",
    ):  # fmt: skip
        assert mistake in str(refused.value)
    with pytest.raises(InvalidPrices, match="is a mapping"):
        read_prices("[]")
    with pytest.raises(InvalidPrices, match="no YAML"):
        read_prices("{")


def test_impossible_loads_and_designs_are_refused() -> None:
    with pytest.raises(ValueError, match="at least as many sensors as zones"):
        Load(zones=60_000)
    with pytest.raises(ValueError, match="there are: packed, broker, single"):
        estimate("pigeons", Load(), PRICES)


@pytest.mark.parametrize(("design", "code"), [("packed", 0), ("single", 1)])
def test_the_command_holds_the_bill_against_the_limit(design: str, code: int) -> None:
    said = CliRunner().invoke(app, ["traffic", "cost", "--design", design, "--json"])
    assert said.exit_code == code
    answer = json.loads(said.stdout)
    assert answer["within_limit"] is (code == 0)
    assert answer["usd_month"] == pytest.approx(sum(line["usd"] for line in answer["lines"]), abs=0.01)


def test_the_command_tells_a_wrong_call_from_refused_prices(tmp_path: Path) -> None:
    tmp_path.joinpath("prices.yaml").write_text("prices: {}")
    for arguments, code in ((["--zones", "60000"], 2), (["--prices", str(tmp_path / "prices.yaml")], 3)):
        assert CliRunner().invoke(app, ["traffic", "cost", *arguments]).exit_code == code
    assert CliRunner().invoke(app, ["traffic", "cost", "--prices", str(tmp_path / "absent")]).exit_code == 3
