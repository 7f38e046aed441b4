"""Traffic beyond the layers: where it comes from, how live and corrected windows agree, and what is made of them."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from statistics import median

import dagster as dg

from assets.graph import (
    analysis_spec,
    asset_key,
    exports_spec,
    external_spec,
    markdown_list,
    markdown_table,
    materialization,
    partitions,
    typed_failures,
)
from assets.jobs import UnresolvedAssetJobDefinition
from assets.traffic_circumstances import circumstances_asset, explanations_asset
from city_platform.datasets import Dataset
from city_platform.deployment.incidents import open_reference
from city_platform.deployment.traffic import open_registry, open_state
from city_platform.layers import curated, traffic_advice, traffic_agreement, traffic_analysis, traffic_circumstances
from city_platform.layers.traffic_agreement import LiveForgotten
from city_platform.layers.traffic_analysis import ZoneForecast
from city_platform.traffic import free_flow
from city_platform.traffic.agreement import ERROR_SHARE, WARN_SHARE, ZoneHour
from city_platform.traffic.forecast import HORIZONS_MIN, model_card
from city_platform.traffic.roads import Roads, generate_roads
from city_platform.traffic.state import TrafficState
from city_platform.traffic.unusual_day import FALSE_ALARMS, LEAST_DAYS
from resources.platform import PlatformResource

DATASET, STREAM = "traffic_readings", "stream"
AGREES, USUAL = "live_agrees_with_batch", "traffic_is_usual"
_RECENT = timedelta(days=1)
_SHOWN = 20


def traffic_assets(dataset: Dataset, datasets: Sequence[Dataset]) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """Everything of the dataset that is no layer; `datasets` are all there are."""
    return [
        stream_spec(dataset),
        exports_spec(
            dataset,
            STREAM,
            "every valid reading, late ones too, as Parquet by the hour it was measured in, with a manifest.",
            kinds={"parquet"},
            classification="internal",
        ),
        free_flow_asset(dataset),
        anomalies_asset(dataset),
        forecast_asset(dataset),
        advice_asset(dataset),
        circumstances_asset(dataset, datasets),
        explanations_asset(dataset),
    ]


def stream_spec(dataset: Dataset) -> dg.AssetSpec:
    """`[traffic_readings, stream]`: what the gateways put, and the live handler and the archive read."""
    return external_spec(
        dataset,
        STREAM,
        "what sensors send, as gateways put it into the stream. The live windows and the lake are both made of it.",
        kinds={"sqlite", "kinesis"},
        classification="internal",
    )


def agreement_check(dataset: Dataset) -> dg.AssetChecksDefinition:
    """How far an hour's live windows were from the corrected ones, in every zone. It never blocks."""

    @dg.asset_check(
        asset=asset_key(dataset, curated.LAYER),
        name=AGREES,
        partitions_def=partitions(dataset),
        description=f"|live - batch| / batch of readings, vehicles and mean speed, for each zone: a warning above "
        f"{WARN_SHARE:.1%}, an error above {ERROR_SHARE:.0%}.",
    )
    def live_agrees_with_batch(
        context: dg.AssetCheckExecutionContext, platform: PlatformResource
    ) -> dg.AssetCheckResult:
        adapters = platform.open()
        with typed_failures():
            try:
                _, zones = traffic_agreement.agreement(adapters, dataset, context.partition_key, _state(platform))
            except LiveForgotten as gone:
                return dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN, description=str(gone))
        worst = max((one.worst for one in zones), default=0.0)
        error = worst > ERROR_SHARE
        return dg.AssetCheckResult(
            passed=worst <= WARN_SHARE,
            severity=dg.AssetCheckSeverity.ERROR if error else dg.AssetCheckSeverity.WARN,
            description=f"The worst zone differs by {worst:.2%}.",
            metadata=_agreement(zones),
        )

    return live_agrees_with_batch


def free_flow_asset(dataset: Dataset) -> dg.AssetsDefinition:
    """`[traffic_readings, free_flow]`, also written into the traffic state, where live congestion finds it."""
    spec = analysis_spec(
        dataset,
        traffic_analysis.FREE_FLOW,
        f"each zone's free-flow speed: percentile {free_flow.PERCENTILE} from {free_flow.FIRST_HOUR}:00 to "
        f"{free_flow.LAST_HOUR:02d}:00 over {free_flow.DAYS} days, or the posted limits below "
        f"{free_flow.LEAST_VEHICLES} vehicles.",
        upstream=[curated.LAYER],
    )

    @dg.multi_asset(name="__".join(spec.key.path), specs=[spec])
    def speeds(platform: PlatformResource) -> dg.MaterializeResult[None]:
        adapters = platform.open()
        with typed_failures():
            manifest, zones = traffic_analysis.free_flow(adapters, dataset, _roads(), _timezone())
            changed = free_flow.keep(_state(platform), zones)
        return materialization(
            dataset,
            manifest,
            adapters.lake,
            {
                "zones measured": dg.MetadataValue.int(sum(one.measured for one in zones)),
                "zones as posted": dg.MetadataValue.int(sum(not one.measured for one in zones)),
                "live congestion": dg.MetadataValue.text("new speeds" if changed else "had these speeds"),
            },
        )

    return speeds


def anomalies_asset(dataset: Dataset) -> dg.AssetsDefinition:
    """`[traffic_readings, anomalies]`, and a check that warns of a last day that is unusual. It never blocks.

    In a large fleet some zone is unusual on every day; the check asks about the day as a whole
    (docs/decisions/0031-unusual-days.md).
    """
    spec = analysis_spec(
        dataset,
        traffic_analysis.ANOMALIES,
        "zones whose speed or traffic was unusual, against what the hour usually brings there.",
        upstream=[curated.LAYER],
    )
    check = dg.AssetCheckSpec(
        USUAL,
        asset=spec.key,
        description="Nothing changed on the last day, in the city or in any zone, that is not usual of such days. "
        f"Where nothing changed it warns on {FALSE_ALARMS:.0%} of the days, however many zones there are.",
    )

    @dg.multi_asset(name="__".join(spec.key.path), specs=[spec], check_specs=[check])
    def unusual(platform: PlatformResource) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        adapters = platform.open()
        with typed_failures():
            manifest, found, judgement = traffic_analysis.anomalies(adapters, dataset, _timezone())
        newest = traffic_analysis.newest_hour(manifest)
        recent = [one for one in found if newest - one.at < _RECENT]
        worst = sorted(recent, key=lambda one: -one.score)
        yield materialization(
            dataset,
            manifest,
            adapters.lake,
            {"unusual": dg.MetadataValue.md(markdown_list([one.explanation for one in found][:_SHOWN]))},
        )
        yield dg.AssetCheckResult(
            asset_key=spec.key,
            check_name=USUAL,
            passed=not judgement.changes,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={
                "changed": dg.MetadataValue.md(
                    markdown_list([traffic_analysis.change_in_words(one) for one in judgement.changes])
                ),
                "compared": dg.MetadataValue.int(judgement.compared)
                if judgement.compared
                else dg.MetadataValue.text(f"nothing: it takes {LEAST_DAYS} earlier days"),
                "false alarms": dg.MetadataValue.float(FALSE_ALARMS),
                "unusual on the last day": dg.MetadataValue.int(len(recent)),
                "zones": dg.MetadataValue.int(len({one.zone for one in recent})),
                "most unusual": dg.MetadataValue.md(markdown_list([one.explanation for one in worst][:_SHOWN])),
            },
        )

    return unusual


def forecast_asset(dataset: Dataset) -> dg.AssetsDefinition:
    """`[traffic_readings, forecast]`: with the scores of such forecasts against seasonal-naive, and a model card."""
    spec = analysis_spec(
        dataset,
        traffic_analysis.FORECAST,
        f"each zone's vehicles an hour {', '.join(map(str, HORIZONS_MIN))} minutes after the newest corrected hour, "
        "with intervals.",
        upstream=[curated.LAYER],
    )

    @dg.multi_asset(name="__".join(spec.key.path), specs=[spec])
    def forecasts(context: dg.AssetExecutionContext, platform: PlatformResource) -> dg.MaterializeResult[None]:
        adapters = platform.open()

        def told(done: int, of: int) -> None:
            if done % 100 == 0 or done == of:
                context.log.info(f"{done} of {of} zones")

        with typed_failures():
            manifest, found, without = traffic_analysis.forecast(adapters, dataset, _timezone(), told)
        reasons = [f"{zone}: {reason}" for zone, reason in without.items()]
        return materialization(
            dataset,
            manifest,
            adapters.lake,
            {
                "scores": dg.MetadataValue.md(markdown_table(_scores(found))),
                "zones without a forecast": dg.MetadataValue.int(len(without)),
                "why not": dg.MetadataValue.md(markdown_list(reasons[:_SHOWN])),
                **_card(found),
            },
        )

    return forecasts


def advice_asset(dataset: Dataset) -> dg.AssetsDefinition:
    """`[traffic_readings, advice]`: for people to judge; nothing acts on it."""
    spec = analysis_spec(
        dataset,
        traffic_advice.LAYER,
        "ADVISORY. Ways around congested zones and shares of green, from the live travel times of the last minute. For "
        "people to judge: nothing acts on it.",
        upstream=[STREAM, traffic_analysis.FREE_FLOW],
        kinds={"parquet"},
    )

    @dg.multi_asset(name="__".join(spec.key.path), specs=[spec])
    def advice(platform: PlatformResource) -> dg.MaterializeResult[None]:
        adapters = platform.open()
        with typed_failures():
            manifest, ways, proposals = traffic_advice.advice(adapters, dataset, _state(platform), _roads())
        as_of = traffic_advice.as_of(manifest)
        saving = sorted(ways, key=lambda one: -one.saves_s)[:_SHOWN]
        fullest = sorted(proposals, key=lambda one: -one.split.flow_ratio)[:_SHOWN]
        return materialization(
            dataset,
            manifest,
            adapters.lake,
            {
                "advisory": dg.MetadataValue.bool(value=True),
                "as of": dg.MetadataValue.timestamp(as_of),
                "ways around": dg.MetadataValue.md(
                    markdown_table([traffic_advice.way_row(one, as_of) for one in saving])
                ),
                "shares of green": dg.MetadataValue.md(
                    markdown_table([row for one in fullest for row in traffic_advice.green_rows(one, as_of)])
                ),
            },
        )

    return advice


def traffic_jobs(dataset: Dataset) -> tuple[UnresolvedAssetJobDefinition, UnresolvedAssetJobDefinition]:
    """What is made of all hours together, and the advice of now."""
    names = (
        traffic_analysis.FREE_FLOW,
        traffic_analysis.ANOMALIES,
        traffic_analysis.FORECAST,
        traffic_circumstances.EXPLANATIONS,
    )
    return (
        dg.define_asset_job(
            "analyse_traffic",
            selection=dg.AssetSelection.assets(*(asset_key(dataset, name) for name in names)),
            description="Free-flow speeds, unusual traffic, forecasts and what was known, from four weeks of hours.",
        ),
        dg.define_asset_job(
            "advise_traffic",
            selection=dg.AssetSelection.assets(asset_key(dataset, traffic_advice.LAYER)),
            description="Ways around congestion and shares of green as of now, for people to judge.",
        ),
    )


def _state(platform: PlatformResource) -> TrafficState:
    return open_state(Path(platform.home))


def _roads() -> Roads:
    return generate_roads(open_registry())


def _timezone() -> str:
    return open_reference().city.timezone


def _agreement(zones: Sequence[ZoneHour]) -> dict[str, dg.MetadataValue]:
    worst = sorted((one for one in zones if one.worst), key=lambda one: (-one.worst, one.zone))[:_SHOWN]
    rows: list[dict[str, object]] = [
        {
            "zone": one.zone,
            "readings live": one.live.readings,
            "readings in the lake": one.batch.readings,
            "vehicles live": one.live.vehicles,
            "vehicles in the lake": one.batch.vehicles,
            **{f"{name} differ by": f"{share:.3%}" for name, share in zip(_NAMES, one.shares, strict=True)},
        }
        for one in worst
    ]
    return {
        "zones": dg.MetadataValue.int(len(zones)),
        "zones above the warning": dg.MetadataValue.int(sum(one.worst > WARN_SHARE for one in zones)),
        "zones above the error": dg.MetadataValue.int(sum(one.worst > ERROR_SHARE for one in zones)),
        "windows": dg.MetadataValue.int(sum(one.windows for one in zones)),
        "windows that differ in anything": dg.MetadataValue.int(sum(one.differing for one in zones)),
        "readings live": dg.MetadataValue.int(sum(one.live.readings for one in zones)),
        "readings in the lake": dg.MetadataValue.int(sum(one.batch.readings for one in zones)),
        "vehicles live": dg.MetadataValue.int(sum(one.live.vehicles for one in zones)),
        "vehicles in the lake": dg.MetadataValue.int(sum(one.batch.vehicles for one in zones)),
        "worst zones": dg.MetadataValue.md(markdown_table(rows)),
    }


_NAMES = ("readings", "vehicles", "speeds")


def _scores(found: Sequence[ZoneForecast]) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for minutes in HORIZONS_MIN:
        scores = [one.scores for one in found if one.scores.minutes == minutes]
        if scores:
            mae, naive = (sum(getattr(one, name) for one in scores) for name in ("mae", "seasonal_naive_mae"))
            rows.append(
                {
                    "minutes ahead": minutes,
                    "zones": len(scores),
                    "mean absolute error": round(mae / len(scores), 1),
                    "seasonal-naive": round(naive / len(scores), 1),
                    "better than seasonal-naive": f"{sum(one.mae < one.seasonal_naive_mae for one in scores)} zones",
                    "outcomes within the interval": f"{sum(one.coverage for one in scores) / len(scores):.1%}",
                    "holds": f"{sum(one.holds for one in scores)} zones",
                }
            )
    return rows


def _card(found: Sequence[ZoneForecast]) -> dict[str, dg.MetadataValue]:
    """The model card of the zone in the middle: half of the others are forecast better, half worse."""
    if not found:
        return {}
    errors = {one.zone: one.scores.mae for one in found if one.scores.minutes == HORIZONS_MIN[0]}
    middle = median(errors.values())
    zone = min(errors, key=lambda name: (abs(errors[name] - middle), name))
    scores = [one.scores for one in found if one.zone == zone]
    return {"model card": dg.MetadataValue.md(model_card(zone, "vehicles an hour", scores))}
