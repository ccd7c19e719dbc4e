"""The data's fingerprint and the plan that follows from it, as tables in the terminal."""

from __future__ import annotations

import os
from collections.abc import Sequence
from textwrap import fill
from typing import IO

import numpy as np

from decaseg.data.normalise import Normalisation
from decaseg.nets.savings import SAVINGS
from decaseg.nets.spec import NetworkSpec
from decaseg.planning.fingerprint import CaseFacts, ChannelFacts, Fingerprint
from decaseg.planning.memory import parameters
from decaseg.planning.plan import Plan
from decaseg.reporting.table import number, print_columns

WIDE = 110  # columns from which the table says how to choose each number
AXES = ("right-left", "front-back", "up-down")
# Settings behind a row, and the option that is shown for it; `chosen` in plan.json names the settings.
SETTINGS: dict[str, tuple[str, ...]] = {
    "target": ("target",),
    "channels": ("channels",),
    "spacing": ("spacing_mm",),
    "normalisation": ("normalisation", "crop"),
    "patch": ("patch", "patch_cover", "voxels_per_batch", "memory"),
    "batch": ("batch_size", "voxels_per_batch", "memory"),
    "levels": ("poolings", "strides", "kernels", "max_levels"),
    "filters": ("filters", "base_filters", "finest_filters", "max_filters"),
    "network": (
        "residual",
        "norm",
        "nonlinearity",
        "downsample",
        "upsample",
        "convs",
        "decoder_convs",
        "blocks",
        "members",
        "dropout",
    ),
    "mirroring": ("mirror",),
    "memory": ("memory",),
}
STARTED_WITH = {"spacing", "normalisation", "patch", "levels", "filters", "network"}  # rows that `--from RUN` settles
OPTIONS = {"target", "channels", "patch", "batch_size", "base_filters", "memory"}


def print_data(fingerprint: Fingerprint, file: IO[str] | None = None) -> None:
    """Prints what the data are like: geometry, structures and intensities, with how far they vary."""
    cases = fingerprint.cases
    title = f"{fingerprint.dataset}: {len(cases)} training cases; right-left x front-back x up-down"
    print_columns(title, ("", "median", "least", "most"), _geometry(cases), file)
    print_columns("structures", ("", "in cases", "median", "least", "most"), _structures(fingerprint), file)
    inside = [_intensity(channel) for channel in fingerprint.channels]
    print_columns("intensities inside the structures", ("", "mean", "std", "0.5 %", "99.5 %"), inside, file)


def _geometry(cases: Sequence[CaseFacts]) -> list[tuple[str, ...]]:
    rows = []
    for what, values, word in (
        ("spacing, mm", [case.spacing_mm for case in cases], "{:.3g}"),
        ("voxels", [case.full_shape for case in cases], "{:.0f}"),
        ("voxels not 0", [case.shape for case in cases], "{:.0f}"),
    ):
        columns = (np.median(values, axis=0), np.min(values, axis=0), np.max(values, axis=0))
        rows.append((what, *(" x ".join(word.format(n) for n in column) for column in columns)))
    kept = [case.kept_share for case in cases]
    rows.append(("of the volume", *(f"{share:.0%}" for share in (np.median(kept), min(kept), max(kept)))))
    return rows


def _structures(fingerprint: Fingerprint) -> list[tuple[str, ...]]:
    """In millilitres, over the cases that have the structure."""
    rows = []
    for value, name in fingerprint.labels.items():
        if value:
            millilitres = [
                case.label_voxels[value] * float(np.prod(case.spacing_mm)) / 1000
                for case in fingerprint.cases
                if value in case.label_voxels
            ]
            sizes = [np.median(millilitres), min(millilitres), max(millilitres)] if millilitres else []
            seen = f"{len(millilitres)} of {len(fingerprint.cases)}"
            rows.append((f"{value} {name}", seen, *(f"{number(float(size))} ml" for size in sizes)))
    return rows


def _intensity(channel: ChannelFacts) -> tuple[str, ...]:
    values = (channel.mean, channel.std, channel.percentile_0_5, channel.percentile_99_5)
    return (channel.name, *(f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}" for value in values))


def print_plan(
    title: str, plan: Plan, precision: str = "fp32", file: IO[str] | None = None, *, goes_on: bool = False
) -> None:
    """Prints the plan: value and reason of each number, whether a person chose it and, in wide terminals, with what.

    `goes_on`: the plan is that of a training which begins with another RUN's weights, and so with its network.
    """
    reasons = [
        (what, value, "as the RUN of --from has it" if goes_on and what in STARTED_WITH else why)
        for what, value, why in _plan_rows(plan, precision)
    ]
    rows = [_with_choice(row, plan.chosen) for row in reasons]
    wide = _columns() >= WIDE
    columns = ("", "", "because", "choose with") if wide else ("", "", "because")
    print_columns(title, columns, [row if wide else row[:3] for row in rows], file)
    if not wide:
        print(fill(f"to choose: {', '.join(row[3] for row in rows)}", min(_columns(), 80)) + "\n", file=file)


def _columns() -> int:
    try:
        return int(os.environ.get("COLUMNS") or os.get_terminal_size().columns)
    except (OSError, ValueError):
        return 80


def _with_choice(row: tuple[str, str, str], chosen: Sequence[str]) -> tuple[str, ...]:
    what, value, why = row
    yours = [name for name in SETTINGS[what] if name in chosen]
    option = _option(SETTINGS[what][0])
    return what, value, f"chosen: {', '.join(_option(name) for name in yours)}" if yours else why, option


def _option(name: str) -> str:
    name = "spacing" if name == "spacing_mm" else name
    return f"--{name.replace('_', '-')}" if name in OPTIONS | {"spacing"} else f"--set {name}"


def _plan_rows(plan: Plan, precision: str) -> list[tuple[str, str, str]]:
    """(what, value, why): the keys of SETTINGS, in their order."""
    how, net = plan.preprocessing, plan.network
    lengths = [n * mm for n, mm in zip(plan.patch, how.spacing_mm, strict=True)]
    mirrored = ", ".join(AXES[axis] for axis in plan.mirror_axes) or "no axis"
    saving = "" if plan.saving == "none" else f", saving: {SAVINGS[plan.saving].words}"
    return [
        ("target", f"{plan.target.kind}: {', '.join(plan.target.names)}", "every label by itself"),
        ("channels", ", ".join(how.channels), "all that the data have"),
        ("spacing", f"{_times(how.spacing_mm)} mm", "median; thick slices: thinnest tenth"),
        ("normalisation", _normalisations(how.normalisation), "by modality and how much is 0"),
        ("patch", f"{_times(plan.patch)} ({' x '.join(f'{mm:.0f}' for mm in lengths)} mm)",
         f"as much of {_times(plan.median_shape)} as fits"),
        ("batch", f"{plan.batch_size} patches", "fits; at most 5 % of the data, but 2"),
        ("levels", _levels(net), "while an axis has 8 voxels"),
        ("filters", f"{'-'.join(map(str, net.filters))}, {parameters(net) / 1e6:.1f} million weights",
         "twice a level; few at the finest" if net.filters[0] < net.filters[min(1, len(net.filters) - 1)] // 2
         else "twice a level"),
        ("network", _network(net), "the recipe" if net.members == 1 else "the recipe; fewer on a slow machine"),
        ("mirroring", mirrored, "where structures have no fixed order"),
        ("memory", f"about {plan.memory_gib(precision):.1f} GiB in {precision}{saving}", "at the peak of training"),
    ]  # fmt: skip


def _normalisations(kinds: Sequence[Normalisation]) -> str:
    words = {
        "zscore": "each case: mean 0, deviation 1",
        "zscore_nonzero": "each case: mean 0, deviation 1 where not 0",
        "zscore_centre": "each case by its middle",
    }
    said = (
        f"clipped to {n.low:.4g} … {n.high:.4g}, minus {n.mean:.4g}, over {n.std:.4g}"
        if n.kind == "ct"
        else words.get(n.kind, n.kind)
        for n in kinds
    )
    return "; ".join(dict.fromkeys(said))


def _levels(net: NetworkSpec) -> str:
    halved = [int(np.log2(n)) for n in net.reduction]
    flat = sum(1 in kernel for kernel in net.kernels)
    kernels = f"; {flat} of them with flat kernels" if flat else ""
    return f"{len(net.strides)}; axes halved {', '.join(map(str, halved))} times{kernels}"


def _network(net: NetworkSpec) -> str:
    kind = "residual U-Net" if net.residual else "U-Net"
    averaged = "" if net.members == 1 else f"the mean of {net.members}: "
    return f"{averaged}{kind}, {net.norm} norm, {net.downsample} down"


def _times(values: Sequence[float]) -> str:
    return " x ".join(f"{value:.3g}" for value in values)
