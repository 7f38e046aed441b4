"""The page of data flows, drawn from the asset graph."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from city_platform.catalog.handbook.text import NOTICE, code, joined, plain, source_lines
from city_platform.datasets import Dataset
from city_platform.markdown import table

_FEW = 2  # assets of its own, which need no diagram


@dataclass(frozen=True, slots=True)
class FlowAsset:
    """One asset. Keys are `business_licences/raw`; `checks` is how many checks look at it."""

    key: str
    group: str
    upstream: tuple[str, ...]
    description: str
    kinds: tuple[str, ...]
    checks: int

    @property
    def name(self) -> str:
        return self.key.rsplit("/", 1)[-1]


@dataclass(frozen=True, slots=True)
class Automation:
    """What starts runs by itself. `when` is a cron expression with its time zone, or how often a sensor looks."""

    name: str
    when: str
    description: str


@dataclass(frozen=True, slots=True)
class DataFlow:
    """The orchestrator's graph, and what keeps it going."""

    assets: tuple[FlowAsset, ...]
    automations: tuple[Automation, ...]


def flows_page(datasets: Sequence[Dataset], flow: DataFlow) -> str:
    """A diagram and a table of what all datasets have in common, then what each has of its own."""
    named = {dataset.name: dataset for dataset in datasets}
    own = {name: {one.name: one for one in flow.assets if one.group == name} for name in named}
    common = _common(list(own.values()))
    together = [one for one in flow.assets if one.group not in named]
    lines = [
        "# Data flows",
        "",
        NOTICE,
        "",
        f"{len(datasets)} datasets go through the same layers. What a dataset has besides stands in its section.",
        "",
        *_diagram(_common_edges(common, own, together)),
        "",
        table(
            ("asset", "made from", "what it holds", "stored as"),
            [
                [code(one.name), _names(one, "the dataset's source"), _what(one), joined(one.kinds)]
                for one in common.values()
            ],
        ),
        "",
        "## All datasets together",
        "",
        table(
            ("asset", "made from", "what it holds", "checks"),
            [[code(one.key), _layers(one), _what(one), str(one.checks)] for one in together],
        ),
        "",
        "## What starts runs",
        "",
        table(("schedule or sensor", "when", "what it does"), _automations(flow.automations, named)),
    ]
    for dataset in datasets:
        lines += ["", f"## {dataset.contract.title}", "", *_section(dataset, own[dataset.name], common)]
    return "\n".join(lines) + "\n"


def _section(dataset: Dataset, own: Mapping[str, FlowAsset], common: Mapping[str, FlowAsset]) -> Iterator[str]:
    contract = dataset.contract
    checks = sum(one.checks for one in own.values())
    yield (
        f"{code(dataset.name)}, of {code(contract.owner)}: a partition {_article(contract.partitioning.granularity)}, "
        f"{contract.cadence} at the source, {checks} checks."
    )
    if dataset.references:
        yield f"Its rules also look at {joined(sorted({code(use.dataset) for use in dataset.references}))}."
    yield ""
    yield from source_lines(contract)
    extra = {name: one for name, one in own.items() if name not in common}
    if set(extra) - {"source"}:
        edges = [
            (up.rsplit("/", 1)[-1], one.name)
            for one in own.values()
            for up in one.upstream
            if one.name in extra or up.rsplit("/", 1)[-1] in extra
        ]
        rows = [[code(one.name), _names(one), _what(one), str(one.checks)] for one in extra.values()]
        yield from ("", *_diagram(edges)) if len(extra) > _FEW else ()
        yield ""
        yield table(("asset of its own", "made from", "what it holds", "checks"), rows)


def _common(graphs: Sequence[Mapping[str, FlowAsset]]) -> Mapping[str, FlowAsset]:
    """The assets that every dataset has, with the edges between them that are in every graph; in the flow's order."""
    shared = set.intersection(*(set(graph) for graph in graphs))
    found = {}
    for name in shared:
        ups = set.intersection(*({up.rsplit("/", 1)[-1] for up in graph[name].upstream} for graph in graphs))
        found[name] = replace(graphs[0][name], upstream=tuple(sorted(ups & shared)))
    return {one.name: one for one in sorted(found.values(), key=lambda one: (_depth(one, found), one.name))}


def _depth(asset: FlowAsset, known: Mapping[str, FlowAsset]) -> int:
    return 1 + max((_depth(known[up], known) for up in asset.upstream), default=0)


def _common_edges(
    common: Mapping[str, FlowAsset], own: Mapping[str, Mapping[str, FlowAsset]], together: Iterable[FlowAsset]
) -> Iterator[tuple[str, str]]:
    """Those among the common assets, and those into what is made of all datasets."""
    yield from ((up, one.name) for one in common.values() for up in one.upstream)
    for one in together:
        for layer in common:
            if all(f"{name}/{layer}" in one.upstream for name in own):
                yield layer, one.key
        yield from ((up, one.key) for up in one.upstream if up.split("/")[0] not in own)


def _diagram(edges: Iterable[tuple[str, str]]) -> Iterator[str]:
    yield "```mermaid"
    yield "flowchart LR"
    for start, end in edges:
        yield f"    {_node(start)} --> {_node(end)}"
    yield "```"


def _node(name: str) -> str:
    return f'{re.sub("[^a-z0-9_]", "_", name)}["{name}"]'


def _names(asset: FlowAsset, nothing: str = "outside") -> str:
    return joined(code(up.rsplit("/", 1)[-1]) for up in sorted(asset.upstream)) or nothing


def _layers(asset: FlowAsset) -> str:
    """What an asset of all datasets is made of: the layers, once each."""
    return joined(code(one) for one in sorted({up.rsplit("/", 1)[-1] for up in asset.upstream}))


def _what(asset: FlowAsset) -> str:
    """The description's first paragraph, without the dataset's name before it."""
    text = " ".join(asset.description.split("\n\n")[0].split())
    _, found, rest = text.partition(": ")
    text = rest if found and "/" in asset.key and asset.group == asset.key.split("/")[0] and rest else text
    return plain(text[:1].upper() + text[1:])


def _automations(automations: Iterable[Automation], named: Mapping[str, Dataset]) -> list[list[str]]:
    """A row each; those that differ in the dataset alone share one."""
    rows: dict[tuple[str, str], list[str]] = {}
    for one in automations:
        name, what = one.name, one.description
        for dataset in named.values():
            if one.name.endswith(f"_{dataset.name}"):
                name = one.name.removesuffix(dataset.name) + "…"
                unit = dataset.contract.partitioning.granularity
                what = what.replace(dataset.contract.title, "a dataset").replace(f"every {unit}", "every partition")
        rows.setdefault((name, one.when), [code(name), one.when, plain(what)])
    return list(rows.values())


def _article(unit: str) -> str:
    return f"an {unit}" if unit == "hour" else f"a {unit}"
