"""The plan: every number that follows from the data and a few choices, in one file that travels with the model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from decaseg.data.normalise import Normalisation
from decaseg.data.preprocess import Preprocessing
from decaseg.data.targets import Target, make_target
from decaseg.geometry import Float3, Int3, float3, int3
from decaseg.nets.spec import NetworkSpec, style_of
from decaseg.planning.coherence import refuse_incoherent
from decaseg.planning.fingerprint import CaseFacts, Fingerprint, directed_axes
from decaseg.planning.memory import memory_gib
from decaseg.planning.topology import (
    VALUES_PER_VOXEL,
    Planner,
    Topology,
    kernels_for,
    plan_topology,
    round_up,
    shrink_to_fit,
    strides_for,
)
from decaseg.planning.wishes import Wishes, chosen_normalisation

FORMAT = 1
MIN_KEPT_SHARE = 0.75  # nnU-Net: when cropping to nonzero removes a quarter, statistics are taken inside only
MAX_FLATNESS = 3
MIN_BATCH = 2
MINUTES_A_MEGAVOXEL = 0.35  # of all cases: more time for one network pays less (benchmarks/time-to-accuracy)
MOST_MEMBERS = 8
STEPS_A_MEMBER = 2000  # with fewer each, one network that gets all steps does as well, and predicts in less time
MAX_BATCH_SHARE = 0.05  # nnU-Net: one batch shows at most 5 % of the data set's voxels
# What training without saving keeps, fp32: about 120 bytes a voxel and base filter for two patches, and half a GiB for
# the libraries. Only chooses a size for `--memory`; what is then promised is `memory.memory_gib`.
ACTIVATION_BYTES = 120.0
LIBRARIES_GIB = 0.5


@dataclass(frozen=True)
class Plan:
    """Names the data, what is done to them, the network, and how patches are cut; all arrays in RAS order."""

    dataset: str
    labels: Mapping[int, str]
    target: Target
    preprocessing: Preprocessing
    network: NetworkSpec
    patch: Int3
    batch_size: int
    mirror_axes: tuple[int, ...]
    median_shape: Int3
    data_sha256: str
    saving: str = "none"  # how training saves memory, see nets/savings.py
    chosen: tuple[str, ...] = ()  # settings behind these numbers that a person gave; the rest follows from the data

    def memory_gib(self, precision: str = "fp32", processes: int = 1) -> float:
        """What training needs at its peak, each of `processes` that share its batches."""
        return memory_gib(self.network, self.patch, -(-self.batch_size // processes), self.saving, precision)

    @property
    def flat_axis(self) -> int | None:
        """The axis across thick slices, out of which augmentation must not turn; None where slices are not thick.

        nnU-Net's rule: the patch's longest axis has more than 3 times the voxels of the one with the largest spacing.
        """
        across = int(np.argmax(self.preprocessing.spacing_mm))
        thick = self.preprocessing.spacing_mm[across] > min(self.preprocessing.spacing_mm)
        return across if thick and max(self.patch) > MAX_FLATNESS * self.patch[across] else None

    def to_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "dataset": self.dataset,
            "labels": {str(k): v for k, v in self.labels.items()},
            "target": self.target.to_json(),
            "preprocessing": self.preprocessing.to_json(),
            "network": self.network.to_json(),
            "patch": list(self.patch),
            "batch_size": self.batch_size,
            "mirror_axes": list(self.mirror_axes),
            "median_shape": list(self.median_shape),
            "data_sha256": self.data_sha256,
            "saving": self.saving,
            "chosen": list(self.chosen),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any], source: str = "plan.json") -> Plan:
        """Reads what `to_json` wrote; ValueError, naming `source`, for anything else."""
        try:
            if document["format"] != FORMAT:
                raise ValueError(f"format {document['format']} is not {FORMAT}, made by another version of decaseg")
            plan = cls(
                dataset=str(document["dataset"]),
                labels={int(k): str(v) for k, v in document["labels"].items()},
                target=Target.from_json(document["target"]),
                preprocessing=Preprocessing.from_json(document["preprocessing"]),
                network=NetworkSpec.from_json(document["network"]),
                patch=int3(document["patch"]),
                batch_size=int(document["batch_size"]),
                mirror_axes=tuple(int(a) for a in document["mirror_axes"]),
                median_shape=int3(document["median_shape"]),
                data_sha256=str(document["data_sha256"]),
                saving=str(document.get("saving", "none")),
                chosen=tuple(str(name) for name in document.get("chosen", ())),
            )
            refuse_incoherent(
                plan.preprocessing, plan.network, plan.target, plan.patch, plan.batch_size, plan.mirror_axes
            )
            return plan
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            detail = f"lacks {error}" if isinstance(error, KeyError) else str(error)
            raise ValueError(
                f"{source}: is not a plan this version can use ({detail}); train or export again"
            ) from None


def make_plan(fingerprint: Fingerprint, wishes: Wishes, start: Plan | None = None) -> Plan:
    """The plan that follows from the data, with each number a person chose in its place.

    With `start`, whose weights are to be trained on: its network, spacing, normalisation and patch, since the weights
    know nothing else; from the data only what does not touch them (batch, outputs), and mirrored where both allow it.
    """
    channels, indices = _choose_channels(fingerprint, wishes.channels)
    target = make_target(wishes.target, fingerprint.labels, fingerprint.regions, fingerprint.ignore)
    if start is None:
        spacing = wishes.spacing_mm or _target_spacing(fingerprint)
        normalisation = _normalisation(fingerprint, indices, wishes)
        how = Preprocessing(channels, indices, fingerprint.file_channels, spacing, normalisation, wishes.crop)
    else:
        _refuse_what_weights_settle(wishes)
        _same_channels(channels, start)
        how = replace(
            start.preprocessing, channels=channels, channel_indices=indices, file_channels=fingerprint.file_channels
        )
    shapes = [
        [n * s / t for n, s, t in zip(_used(case, how), case.spacing_mm, how.spacing_mm, strict=True)]
        for case in fingerprint.cases
    ]
    median_shape = int3(np.median(shapes, axis=0).round())
    maps, budget = len(channels) + target.out_channels, _budget(wishes)
    if start is None:
        topology = _topology(wishes, how.spacing_mm, median_shape, maps, budget)
        members = wishes.members or _members(wishes.minutes, shapes)
        network = _network(topology, wishes, len(channels), target.out_channels, members)
    else:
        topology = _as_started(wishes, start)
        network = replace(start.network, out_channels=target.out_channels)
    if wishes.patch and topology.patch != wishes.patch:
        raise ValueError(
            f"--patch {' '.join(map(str, wishes.patch))}: each axis must be a multiple of what the network pools; "
            f"use --patch {' '.join(map(str, topology.patch))}"
        )
    fitting = budget / topology.values(network.filters, maps)
    return Plan(
        dataset=fingerprint.dataset,
        labels=dict(fingerprint.labels),
        target=target,
        preprocessing=how,
        network=network,
        patch=topology.patch,
        batch_size=wishes.batch_size or _batch_size(topology.patch, fitting, shapes),
        mirror_axes=_mirror_axes(fingerprint, wishes.mirror, start),
        median_shape=median_shape,
        data_sha256=fingerprint.sha256,
    )


def _topology(wishes: Wishes, spacing_mm: Float3, median_shape: Int3, maps: int, budget: float) -> Topology:
    """Of the patch that was asked for, else of the largest one in what may be covered that fits the budget."""
    plan = _planner(wishes, spacing_mm)
    if wishes.patch:
        return plan(wishes.patch)
    batch = wishes.batch_size or MIN_BATCH

    def fits(topology: Topology) -> bool:
        return topology.values(_filters(topology, wishes), maps) * batch <= budget

    largest = [max(1, round(n * wishes.patch_cover)) for n in median_shape]
    return shrink_to_fit(largest, plan, fits)


def _planner(wishes: Wishes, spacing_mm: Float3) -> Planner:
    """Poolings by the rules, or those that a person asked for."""
    strides = wishes.strides or (strides_for(wishes.poolings, spacing_mm) if wishes.poolings else None)

    def plan(patch: Sequence[int]) -> Topology:
        if strides is None:
            found = plan_topology(patch, spacing_mm, wishes.max_levels)
        else:
            found = Topology(round_up(patch, strides), strides, kernels_for(strides, spacing_mm))
        if wishes.kernels is None:
            return found
        _one_a_level("kernels", len(wishes.kernels), found)
        return replace(found, kernels=wishes.kernels)

    return plan


def _one_a_level(setting: str, given: int, topology: Topology) -> None:
    if given != len(topology.strides):
        raise ValueError(
            f"--set {setting}=: {given} are given, the network has {len(topology.strides)} levels; give one a level, "
            "or say with --set strides how many there are"
        )


def _used(case: CaseFacts, how: Preprocessing) -> Int3:
    return case.shape if how.crop_to_nonzero else case.full_shape


def _refuse_what_weights_settle(wishes: Wishes) -> None:
    for name in ("spacing_mm", "normalisation", "filters", "poolings", "strides", "kernels"):
        if getattr(wishes, name) is not None:
            option = "--spacing" if name == "spacing_mm" else f"--set {name}"
            raise ValueError(f"--from: its weights know one {name.removesuffix('_mm')} alone; leave {option} out")
    if not wishes.crop:
        raise ValueError("--from: its weights know images cropped as theirs were; leave --set crop out")


def _as_started(wishes: Wishes, start: Plan) -> Topology:
    strides = start.network.strides
    return Topology(round_up(wishes.patch or start.patch, strides), strides, start.network.kernels)


def _network(topology: Topology, wishes: Wishes, channels: int, outputs: int, members: int) -> NetworkSpec:
    levels = len(topology.strides)
    style = style_of(wishes) | {"deep_supervision": min(wishes.deep_supervision, max(0, levels - 2))}
    filters = _filters(topology, wishes)
    return NetworkSpec(channels, outputs, filters, topology.strides, topology.kernels, members, **style)


def _members(minutes: float | None, shapes: Sequence[Sequence[float]]) -> int:
    """Networks to average: one for each time that is enough for one, since two halves beat a whole twice as long.

    >>> hippocampi = [(36, 50, 35)] * 208  # 13 million voxels
    >>> [_members(minutes, hippocampi) for minutes in (5, 15, 90)]
    [1, 3, 8]
    """
    if minutes is None:
        return 1
    megavoxels = float(np.prod(np.array(shapes), axis=1).sum()) / 1e6
    return max(1, min(MOST_MEMBERS, int(minutes / (MINUTES_A_MEGAVOXEL * megavoxels))))


def members_for(members: int, steps: float) -> int:
    """How many of `members` networks to train where the budget has time for so many steps.

    >>> [members_for(3, steps) for steps in (1500, 4500, 9000)]
    [1, 2, 3]
    """
    return max(1, min(members, int(steps / STEPS_A_MEMBER)))


def _same_channels(channels: Sequence[str], start: Plan) -> None:
    known = start.preprocessing.channels
    if len(channels) != len(known):
        raise ValueError(
            f"--from: its network takes {len(known)} channels ({', '.join(known)}), here are {len(channels)} "
            f"({', '.join(channels)}); choose as many with --channels"
        )


def _choose_channels(fingerprint: Fingerprint, wanted: Sequence[str] | None) -> tuple[tuple[str, ...], tuple[int, ...]]:
    names = [channel.name for channel in fingerprint.channels]
    if not wanted:
        return tuple(names), tuple(range(len(names)))
    lower = [name.lower() for name in names]
    for name in wanted:
        if name.lower() not in lower:
            raise ValueError(f"--channels {name}: the data set has {', '.join(names)}; choose among those")
    indices = tuple(dict.fromkeys(lower.index(name.lower()) for name in wanted))
    return tuple(names[i] for i in indices), indices


def _target_spacing(fingerprint: Fingerprint) -> Float3:
    """The median spacing; for thick slices their 10th percentile, so that the thinner ones keep their detail."""
    spacing = np.array(fingerprint.median_spacing_mm())
    shape = np.array(fingerprint.median_shape())
    thick = int(np.argmax(spacing))
    others = [axis for axis in range(3) if axis != thick]
    if spacing[thick] > 3 * spacing[others].max() and shape[thick] * 3 < shape[others].min():
        tenth = np.percentile([case.spacing_mm[thick] for case in fingerprint.cases], 10)
        spacing[thick] = max(tenth, spacing[others].max())
    return float3(round(float(s), 6) for s in spacing)


def _filters(topology: Topology, wishes: Wishes) -> tuple[int, ...]:
    if wishes.filters is not None:
        _one_a_level("filters", len(wishes.filters), topology)
        return wishes.filters
    doubled = [min(wishes.base_filters * 2**i, wishes.max_filters) for i in range(len(topology.strides))]
    return min(wishes.finest_filters or doubled[0], doubled[0]), *doubled[1:]


def _budget(wishes: Wishes) -> float:
    """Values (see `Topology.values`) that a batch may keep; wider networks get smaller patches for it."""
    values = wishes.voxels_per_batch * 32 * VALUES_PER_VOXEL
    if wishes.memory_gib is not None:
        activations_gib = max(wishes.memory_gib - LIBRARIES_GIB, 0.05)
        values = min(values, activations_gib * 2**30 / ACTIVATION_BYTES * VALUES_PER_VOXEL)
    return values


def _batch_size(patch: Int3, fitting: float, shapes: Sequence[Sequence[float]]) -> int:
    """As many patches as are `fitting` and 5 % of the data allow, at least 2 (nnU-Net's rule)."""
    whole_set = float(np.prod(np.array(shapes), axis=1).sum())
    return max(MIN_BATCH, min(int(fitting), round(MAX_BATCH_SHARE * whole_set / float(np.prod(patch)))))


def _normalisation(fingerprint: Fingerprint, indices: Sequence[int], wishes: Wishes) -> tuple[Normalisation, ...]:
    inside = float(np.median([case.kept_share for case in fingerprint.cases])) < MIN_KEPT_SHARE
    words = wishes.normalisation or ()
    if len(words) not in (0, 1, len(indices)):
        raise ValueError(
            f"--set normalisation=: {len(words)} are given for {len(indices)} channels; give one, or one each"
        )
    found = []
    for place, index in enumerate(indices):
        facts = fingerprint.channels[index]
        measured = Normalisation("ct", facts.mean, facts.std, facts.percentile_0_5, facts.percentile_99_5)
        modality = re.sub(r" \d+$", "", facts.name.lower())  # `CT 2`: nnU-Net lets names repeat
        if words:
            found.append(chosen_normalisation(words[place % len(words)], measured))
        elif modality in ("ct", "computed tomography"):
            found.append(measured)
        else:
            found.append(Normalisation("zscore_nonzero" if inside else "zscore"))
    return tuple(found)


def _mirror_axes(fingerprint: Fingerprint, mirror: str, start: Plan | None) -> tuple[int, ...]:
    if mirror == "auto":  # weights that never saw an axis mirrored tell places by it
        known = start.mirror_axes if start else (0, 1, 2)
        free = [axis for axis, directed in enumerate(directed_axes(fingerprint.cases)) if not directed]
        return tuple(axis for axis in free if axis in known)
    letters = {"none": "", "all": "xyz"}.get(mirror, mirror)
    return tuple(axis for axis, letter in enumerate("xyz") if letter in letters)
