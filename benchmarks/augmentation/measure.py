"""Samples a second through the augmentation: decaseg against nnU-Net's own pipeline (batchgeneratorsv2), side by side.

    PYTHONPATH=src PEERS/bin/python benchmarks/augmentation/measure.py [--rounds 3] [--samples 48] [--each]

PEERS is the environment that benchmarks/peers sets up (nnunetv2, batchgeneratorsv2, the same torch). Both get the same
4-channel samples with four labels, as large as nnU-Net cuts them for a 128^3 patch (its rotation margin), nnU-Net's
probabilities and ranges, and two cores: batchgeneratorsv2 as two processes of one thread, as nnU-Net's workers are, or
as one process of two threads; decaseg as one process of two threads that is handed two samples at a time, the batch
of nnU-Net's plan for such a patch. The variants take turns, each in processes of its
own that stay alive and are warm. Handing a sample in (a copy, since both change it in place) is not timed.

Samples a second are by the clock on the wall; seconds of processor time a sample are printed too, since those say
most on a crowded machine. `--each` times one change after the other, each drawn for every sample, instead of the whole
pipeline.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from multiprocessing.connection import Connection
from typing import Any

PATCH = (128, 128, 128)
CHANNELS = 4
ROTATION = 30.0
# name: (which library, processes, threads each)
VARIANTS = {
    "batchgeneratorsv2, 2 processes": ("nnunet", 2, 1),
    "batchgeneratorsv2, 2 threads": ("nnunet", 1, 2),
    "batchgeneratorsv2, 2 processes, labels by nearest neighbour": ("nnunet nearest", 2, 1),
    "decaseg, 2 threads": ("decaseg", 1, 2),
    "batchgeneratorsv2, 1 thread": ("nnunet", 1, 1),
    "decaseg, 1 thread": ("decaseg", 1, 1),
}
CHANGES = ("rotation and scaling", "crop and mirror", "noise", "blur", "brightness", "contrast", "low resolution",
           "inverted gamma", "gamma")  # fmt: skip
Step = Callable[[int, Any, Any], object]


def sample(shape: tuple[int, ...]) -> tuple[Any, Any]:
    """A smooth image (1, C, ...), and labels 0 to 3 of about a tumour's size (1, ...)."""
    import torch
    from torch.nn import functional

    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(1, CHANNELS, 16, 16, 16, generator=generator)
    image = functional.interpolate(coarse, size=shape, mode="trilinear")
    image += 0.1 * torch.randn(image.shape, generator=generator)
    label = sum((image[:, 0] > height).to(torch.int16) for height in (0.6, 0.8, 1.0))
    return image, label


def nnunet_shape() -> tuple[int, ...]:
    """What nnU-Net cuts from a case for our patch: see configure_rotation_dummyDA_mirroring_and_inital_patch_size."""
    from math import radians

    from nnunetv2.training.data_augmentation.compute_initial_patch_size import get_patch_size

    turn = (-radians(ROTATION), radians(ROTATION))
    return tuple(int(n) for n in get_patch_size(PATCH, turn, turn, turn, (0.85, 1.25)))


def nnunet_pipeline(change: str | None, nearest: bool) -> Step:
    """Its training transforms as its trainer builds them, or one of them with probability 1."""
    from math import radians

    from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    turn = (-radians(ROTATION), radians(ROTATION))
    whole = nnUNetTrainer.get_training_transforms(PATCH, turn, None, (0, 1, 2), False)
    spatial, *random, mirror, _ = whole.transforms
    if nearest:
        spatial.mode_seg = "nearest"
    if change == "rotation and scaling":
        spatial.p_rotation = spatial.p_scaling = 1
        whole = spatial
    elif change == "crop and mirror":
        spatial.p_rotation = spatial.p_scaling = 0
        whole = ComposeTransforms([spatial, mirror])
    elif change is not None:
        whole = random[CHANGES.index(change) - 2]
        whole.apply_probability = 1

    def step(number: int, image: Any, label: Any) -> object:
        import numpy as np
        import torch

        torch.manual_seed(number)
        np.random.seed(number)  # noqa: NPY002 (batchgeneratorsv2 draws from it)
        return [whole(image=one, segmentation=labels[None]) for one, labels in zip(image, label, strict=True)]

    return step


def decaseg_pipeline(change: str | None) -> Step:
    """decaseg's augmentation with the same shares, or one change for every sample."""
    import torch

    from decaseg.data.augment.intensity import Intensity, apply_intensity, draw_intensity
    from decaseg.data.augment.pipeline import Augmentation
    from decaseg.data.augment.spatial import Spatial

    intensity = Intensity()
    if change is None:
        return Augmentation(PATCH, Spatial(rotation_deg=ROTATION), intensity, seed=0)
    if change == "rotation and scaling":
        return Augmentation(PATCH, Spatial(ROTATION, rotation_share=1, scale_share=1, mirror_axes=()), None, seed=0)
    if change == "crop and mirror":
        return Augmentation(PATCH, Spatial(rotation_share=0, scale_share=0), None, seed=0)
    only = replace(intensity.times(0), **{f"{change.replace(' ', '_')}_share": 1.0})

    def step(number: int, image: Any, _: Any) -> object:
        generator = torch.Generator().manual_seed(number)
        return apply_intensity(draw_intensity(only, len(image), CHANNELS, generator), image)

    return step


def work(library: str, threads: int, orders: Connection) -> None:
    """A process that waits for (change, first number, samples) and answers with seconds, wall's and processor's."""
    import torch

    if library == "decaseg":
        from decaseg.nets.device import set_threads

        set_threads(threads)  # as `decaseg train` does
    torch.set_num_threads(threads)
    cut: dict[tuple[int, ...], Any] = {}
    pipelines: dict[str | None, Step] = {}
    while (order := orders.recv()) is not None:
        change, first, count = order
        shape = nnunet_shape() if change in (None, *CHANGES[:2]) else PATCH
        if shape not in cut:
            cut[shape] = sample(shape)
        if change not in pipelines:
            pipelines[change] = (
                decaseg_pipeline(change) if library == "decaseg" else nnunet_pipeline(change, "nearest" in library)
            )
        spent = processor = 0.0
        batch = threads if library == "decaseg" else 1
        image, label = (torch.cat([t] * batch) for t in cut[shape])
        for number in range(first, first + count, batch):
            image.copy_(cut[shape][0].expand_as(image))
            started, processor_started = time.perf_counter(), time.process_time()
            pipelines[change](number, image, label)
            spent += time.perf_counter() - started
            processor += time.process_time() - processor_started
        orders.send((spent, processor))


class Crew:
    """The processes of one variant."""

    def __init__(self, library: str, processes: int, threads: int):
        self.pipes = []
        context = multiprocessing.get_context("spawn")
        for _ in range(processes):
            ours, theirs = context.Pipe()
            context.Process(target=work, args=(library, threads, theirs), daemon=True).start()
            self.pipes.append(ours)

    def run(self, change: str | None, first: int, samples: int) -> Speed:
        """All processes at once, each its part of the samples."""
        part = samples // len(self.pipes)
        for i, pipe in enumerate(self.pipes):
            pipe.send((change, first + i * part, part))
        answers = [pipe.recv() for pipe in self.pipes]
        processor = sum(processor for _, processor in answers) / (part * len(answers))
        return Speed(sum(part / spent for spent, _ in answers), processor)


@dataclass(frozen=True)
class Speed:
    """Samples a second by the clock on the wall, and seconds of processor time a sample."""

    samples_per_s: float
    processor_s: float


def measure(crews: dict[str, Crew], change: str | None, rounds: int, samples: int) -> dict[str, list[Speed]]:
    """A variant's speed in each round; a first, short round warms up and is not counted."""
    speeds: dict[str, list[Speed]] = {name: [] for name in crews}
    for number in range(rounds + 1):
        for name, crew in crews.items():
            speed = crew.run(change, 10_000 * number, samples if number else max(4, samples // 4))
            if number:
                speeds[name].append(speed)
    return speeds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=48, help="a variant and round (default 48)")
    parser.add_argument("--each", action="store_true", help="one change after the other")
    parser.add_argument("--change", choices=CHANGES, action="append", help="with --each: only this one")
    parser.add_argument("--variants", nargs="+", type=int, metavar="N",
                        help="which of: " + "; ".join(f"{i} {name}" for i, name in enumerate(VARIANTS)))  # fmt: skip
    args = parser.parse_args()
    names = [list(VARIANTS)[i] for i in args.variants or range(4)]
    crews = {name: Crew(*VARIANTS[name]) for name in names}
    import torch

    print(f"{platform.machine()}, torch {torch.__version__}, {args.rounds} rounds of {args.samples} samples")
    print("| change | variant | samples/s | times the first | processor s a sample | times fewer than the first |")
    print("| --- | --- | --- | --- | --- | --- |")
    for change in (args.change or CHANGES) if args.each else (None,):
        speeds = measure(crews, change, args.rounds, args.samples)
        for name in names:
            wall = [one.samples_per_s for one in speeds[name]]
            processor = [one.processor_s for one in speeds[name]]
            times = [a / b.samples_per_s for a, b in zip(wall, speeds[names[0]], strict=True)]
            fewer = [b.processor_s / a for a, b in zip(processor, speeds[names[0]], strict=True)]
            columns = " | ".join(spread(values) for values in (wall, times, processor, fewer))
            print(f"| {change or 'all'} | {name} | {columns} |", flush=True)
        listed = {name: [asdict(one) for one in speeds[name]] for name in names}
        print(json.dumps({"change": change, **listed}), flush=True)
    for crew in crews.values():
        for pipe in crew.pipes:
            pipe.send(None)


def spread(values: list[float]) -> str:
    """Median (least to most) over the rounds."""
    return f"{statistics.median(values):.3g} ({min(values):.3g} to {max(values):.3g})"


if __name__ == "__main__":
    main()
