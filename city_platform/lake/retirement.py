"""Letting go of a partition's rows altogether, the newest version's too: what remains are manifests, with their notes.

In this order, so that whoever dies anywhere, or writes at the same time, leaves nothing that names what is gone:

1. the newest manifest of each layer once more under the next number (`Lake.renumber`): who began to publish before
   fails and looks again,
2. a note for every manifest; from here on readers are told that the files were removed,
3. every file of the partition goes that no manifest without a note names: what was published meanwhile stays whole.

Done again after a crash it does what is left, because the files are listed and not remembered; those of the first
layer go last, so that whoever looks for what is left has to look there alone.
"""

from collections.abc import Mapping, Sequence

from city_platform.contracts.partitions import partition_folder
from city_platform.lake.lake import Lake, PublishedMeanwhile
from city_platform.lake.manifest import Manifest


def files_of(lake: Lake, layers: Sequence[str], dataset: str, partition: str) -> Mapping[str, int]:
    """The partition's files in these layers, by key, with their bytes."""
    folders = (f"{layer}/{dataset}/{partition_folder(partition)}/" for layer in reversed(layers))
    return {one.key: one.bytes for folder in folders for one in lake.store.objects(folder)}


def retire(
    lake: Lake, layers: Sequence[str], dataset: str, partition: str, versions: Mapping[str, str]
) -> Mapping[str, int]:
    """Removes the partition's files in these layers; those that went, with their bytes. `versions` are those of layers
    that nobody may have published anew since they were looked at.

    Raises PublishedMeanwhile, before any file went, and the store's errors.
    """
    for layer in layers:
        newest = lake.latest(layer, dataset, partition)
        if newest is None:
            continue
        if not lake.is_pruned(newest):
            newest = lake.renumber(layer, dataset, partition)
        if newest.version != versions.get(layer, newest.version):
            raise PublishedMeanwhile(f"{dataset}/{layer} {partition} was published since its sums were proven")
    for layer in layers:
        for manifest in _standing(lake, layer, dataset, partition):
            lake.mark_pruned(manifest)
    named = {
        file.key
        for layer in layers
        for manifest in _standing(lake, layer, dataset, partition)
        for file in manifest.files
    }
    gone = {key: size for key, size in files_of(lake, layers, dataset, partition).items() if key not in named}
    for key in gone:
        lake.store.delete(key)
    return gone


def _standing(lake: Lake, layer: str, dataset: str, partition: str) -> Sequence[Manifest]:
    """The manifests without a note."""
    return [one.manifest for one in lake.versions(layer, dataset, partition) if one.pruned_at is None]
