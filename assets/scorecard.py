"""The weekly scorecard of everything under governance."""

import base64
from collections.abc import Sequence

import dagster as dg

from assets.graph import asset_key, typed_failures
from city_platform.datasets import Dataset
from city_platform.governance.scorecard_page import chart, markdown
from city_platform.layers import failures, quality_checked, scorecard
from resources.platform import PlatformResource

KEY = dg.AssetKey([scorecard.SUBJECT, scorecard.LAYER])
NOTICES_A_RUN = 500


def scorecard_asset(datasets: Sequence[Dataset], timezone: str) -> dg.AssetsDefinition:
    """`[governance, scorecard]`: one for all datasets, without partitions; every run is a new version."""
    spec = dg.AssetSpec(
        key=KEY,
        deps=[asset_key(dataset, quality_checked.LAYER) for dataset in datasets],
        description="How good every partition of every dataset is and was, the worst rules, the gates that stand "
        "closed and what to do, the waivers in force.",
        group_name=scorecard.SUBJECT,
        owners=sorted({dataset.contract.owner for dataset in datasets}),
        kinds={"json", "html"},
        tags={"layer": scorecard.LAYER, "classification": "internal", "cadence": "weekly", "domain": "governance"},
    )

    @dg.multi_asset(name="__".join(KEY.path), specs=[spec])
    def score(context: dg.AssetExecutionContext, platform: PlatformResource) -> dg.MaterializeResult[None]:
        adapters = platform.open()
        with typed_failures():
            manifest, card = scorecard.materialize(adapters, datasets, timezone)
            sent = failures.tell(adapters, platform.events(), datasets, NOTICES_A_RUN)
        context.log.info("%d notices sent", sent)
        drawn = base64.b64encode(chart(card, timezone, "png")).decode()
        store = adapters.lake.store
        return dg.MaterializeResult(
            asset_key=KEY,
            metadata={
                "scorecard": dg.MetadataValue.md(markdown(card, timezone)),
                "scores over time": dg.MetadataValue.md(f"![scores over time](data:image/png;base64,{drawn})"),
                **{f"score/{name}": dg.MetadataValue.float(100 * score) for name, score in card.scores.items()},
                "gates closed": dg.MetadataValue.int(len(card.failing)),
                "waivers in force": dg.MetadataValue.int(len(card.waivers)),
                "audit head": dg.MetadataValue.text(str(card.head)),
                "audit intact": dg.MetadataValue.bool(not card.doubts),
                "notices sent": dg.MetadataValue.int(sent),
                **{part: dg.MetadataValue.text(store.uri(files[0].key)) for part, files in manifest.parts.items()},
            },
            data_version=dg.DataVersion(manifest.version),
        )

    return score
