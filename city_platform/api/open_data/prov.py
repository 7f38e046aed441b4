"""Where a download comes from, for machines: PROV-O as JSON-LD, with DQV for the rules.

Read as www.w3.org/TR/prov-o, www.w3.org/TR/vocab-dqv and, for how a download names it, www.w3.org/TR/prov-aq have them.
What is inside stays inside: no names of files that somebody brought, no reasons and names of stewards, no rows.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from city_platform.api.open_data.shelf import PublicDataset
from city_platform.incidents.codec import rfc3339
from city_platform.incidents.reference import City
from city_platform.lake.manifest import Manifest
from city_platform.layers.origins import Origin, TracedFile
from city_platform.quality.results import Outcome, RuleResult
from city_platform.quality.verdict import Verdict

HAS_PROVENANCE = "http://www.w3.org/ns/prov#has_provenance"  # the link relation of PROV-AQ
NAME = "provenance.jsonld"
CONTEXT = {
    "dct": "http://purl.org/dc/terms/",
    "dqv": "http://www.w3.org/ns/dqv#",
    "foaf": "http://xmlns.com/foaf/0.1/",
    "owl": "http://www.w3.org/2002/07/owl#",
    "prov": "http://www.w3.org/ns/prov#",
    "spdx": "http://spdx.org/rdf/terms#",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
}

Node = Mapping[str, Any]


def address(base: str, dataset: str, stem: str) -> str:
    """Where the provenance of a partition's files is."""
    return f"{base}/{dataset}/{stem}/{NAME}"


def document(
    city: City, dataset: PublicDataset, stem: str, published: Manifest, origin: Origin | None, base: str
) -> Node:
    """The files of a partition, the activities and plans that made them, the checked rows and their sources.

    `base` is the address of the open data, without a slash at its end.
    """
    here = address(base, dataset.name, stem)
    publisher = {"@id": f"{base}#publisher", "@type": ["prov:Agent", "foaf:Agent"], "foaf:name": city.name}
    used = "rows" if origin else "reports"
    graph: list[Node] = [
        publisher,
        *(
            {
                "@id": f"{base}/{dataset.name}/{file.name}",
                "@type": "prov:Entity",
                "dct:title": f"{dataset.title}, {file.partition}, {file.format.label}",
                "owl:versionInfo": published.version,
                **_sha256(file.sha256),
                "prov:generatedAtTime": _time(published.published_at),
                "prov:wasGeneratedBy": {"@id": f"{here}#publishing"},
                "prov:wasDerivedFrom": {"@id": f"{here}#{used}"},
                "prov:wasAttributedTo": {"@id": publisher["@id"]},
            }
            for file in dataset.files
            if file.stem == stem
        ),
        _activity(
            here, "publishing", "Publishing", published.published_at, [used], publisher, "summary" * bool(origin)
        ),
    ]
    if origin is None:
        graph.append(
            {
                "@id": f"{here}#reports",
                "@type": "prov:Entity",
                "dct:title": "What people reported, as it stood when it was published; its public fields alone",
            }
        )
    else:
        graph.append(_plan(here, "summary", "The summary's query", published.inputs["summary"]))
        graph += _behind(here, origin, publisher)
    return {"@context": CONTEXT, "@graph": graph}


def _behind(here: str, origin: Origin, publisher: Node) -> Iterator[Node]:
    """The trusted rows, what checked and cleaned them, and their sources."""
    checked = origin.checked
    verdict = Verdict.from_json(checked.details["verdict"])
    recipe = origin.cleaned.details.get("recipe") or {}
    waived = set(checked.details["waivers"])
    sources = [f"source-{number}" for number in range(1, len(origin.sources) + 1)]
    yield {
        "@id": f"{here}#rows",
        "@type": "prov:Entity",
        "dct:title": "The rows that passed the rules",
        "dct:extent": f"{checked.counts['rows']} rows of {origin.raw.counts['rows']}",
        "owl:versionInfo": checked.version,
        "prov:wasGeneratedBy": {"@id": f"{here}#checking"},
        "prov:wasDerivedFrom": [{"@id": f"{here}#{one}"} for one in sources],
        "dqv:hasQualityMeasurement": [_measured(here, one, one.rule_id in waived) for one in verdict.results],
    }
    yield _activity(
        here, "checking", "Checking against the rules", verdict.evaluated_at, ["cleaned"], publisher, "rules"
    )
    yield _plan(here, "rules", "The rules (DQDL)", verdict.ruleset_hash)
    yield {
        "@id": f"{here}#cleaned",
        "@type": "prov:Entity",
        "dct:title": "The cleaned rows",
        "owl:versionInfo": origin.cleaned.version,
        "prov:wasGeneratedBy": {"@id": f"{here}#cleaning"},
    }
    plan = "recipe" if recipe else ""
    yield _activity(here, "cleaning", "Cleaning", origin.cleaned.published_at, sources, publisher, plan)
    if recipe:
        yield _plan(here, "recipe", f"The recipe, version {recipe['version']}", recipe["hash"])
    for name, source in zip(sources, origin.sources, strict=True):
        yield _source(here, name, source)


def _source(here: str, name: str, source: TracedFile) -> Node:
    address = urlsplit(source.url) if source.url else None
    public = urlunsplit((address.scheme, address.hostname or "", address.path, "", "")) if address else None
    return {
        "@id": f"{here}#{name}",
        "@type": "prov:Entity",
        "dct:title": "A source file",
        "dct:extent": f"{source.rows} rows of this partition",
        **_sha256(source.sha256),
        "dct:dateSubmitted": _time(source.landed_at),
        **({"prov:hadPrimarySource": {"@id": public}} if public else {}),
    }


def _activity(
    here: str, name: str, title: str, ended: datetime, used: Sequence[str], publisher: Node, plan: str
) -> Node:
    association: dict[str, Any] = {"@type": "prov:Association", "prov:agent": {"@id": publisher["@id"]}}
    if plan:
        association["prov:hadPlan"] = {"@id": f"{here}#{plan}"}
    return {
        "@id": f"{here}#{name}",
        "@type": "prov:Activity",
        "dct:title": title,
        "prov:endedAtTime": _time(ended),
        "prov:used": [{"@id": f"{here}#{one}"} for one in used],
        "prov:qualifiedAssociation": association,
    }


def _plan(here: str, name: str, title: str, sha256: str) -> Node:
    return {"@id": f"{here}#{name}", "@type": ["prov:Entity", "prov:Plan"], "dct:title": title, **_sha256(sha256)}


def _measured(here: str, rule: RuleResult, waived: bool) -> Node:
    """Whether a rule held; nothing where there was nothing to check."""
    known = rule.outcome in {Outcome.PASS, Outcome.FAIL}
    said = f"{rule.metric_name} {rule.threshold}".strip()
    return {
        "@type": "dqv:QualityMeasurement",
        "dqv:isMeasurementOf": {"@id": f"{here}#rule-{rule.rule_id}", "@type": "dqv:Metric", "dct:title": said},
        **({"dqv:value": {"@value": rule.outcome is Outcome.PASS, "@type": "xsd:boolean"}} if known else {}),
        "dct:description": rule.outcome.value + (", waived by a steward" if waived else ""),
    }


def _sha256(value: str) -> Node:
    return {
        "spdx:checksum": {
            "@type": "spdx:Checksum",
            "spdx:algorithm": {"@id": "spdx:checksumAlgorithm_sha256"},
            "spdx:checksumValue": {"@value": value, "@type": "xsd:hexBinary"},
        }
    }


def _time(at: datetime) -> Node:
    return {"@value": rfc3339(at), "@type": "xsd:dateTime"}
