"""Two operations that torch does slowly on a processor, and our ways, on one thread.

    python benchmarks/step-speed/single_operations.py [--rounds 7]

A float32 convolution of one small sample, forward and backward; and a sum with one half of a joined map's gradient, as
a view of every second half and as a whole tensor (what making it whole costs beside it). Times are medians (min to max)
of rounds in which all take turns.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from decaseg.nets.convolution import Conv3d
from decaseg.nets.device import set_threads
from decaseg.storage.processor import processor_name

LAST = torch.channels_last_3d
SMALL = ((16, 32, 32), (64, 64, 16), (64, 128, 8), (128, 256, 9), (256, 256, 4))


def ms(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1e3


def in_turns(ways: list[Callable[[], object]], rounds: int) -> list[str]:
    found: list[list[float]] = [[] for _ in ways]
    for turn in range(rounds + 1):
        for taken, way in zip(found, ways, strict=True):
            spent = ms(way)
            if turn:
                taken.append(spent)
    return [f"{statistics.median(t):.2f} ({min(t):.2f} to {max(t):.2f})" for t in found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    set_threads(1)
    print(f"{processor_name()}, {platform.system()}, torch {torch.__version__}, 1 thread, n = {rounds} rounds\n")
    print("| one sample, fp32, forward and backward | torch ms | decaseg ms |\n| --- | --- | --- |")
    for inputs, outputs, edge in SMALL:
        image = torch.randn(1, inputs, edge, edge, edge).to(memory_format=LAST).requires_grad_()
        theirs = nn.Conv3d(inputs, outputs, 3, padding=1).to(memory_format=LAST)
        ours = Conv3d(inputs, outputs, 3, padding=1).to(memory_format=LAST)
        times = in_turns([lambda c=c, image=image: c(image).sum().backward() for c in (theirs, ours)], rounds)  # type: ignore[misc]
        print(f"| {inputs} to {outputs}, {edge}^3 | {' | '.join(times)} |")
    print("\n| 16 of 32 channels, 96^3 | sum with the view ms | sum with the whole ms | making it whole ms |")
    print("| --- | --- | --- | --- |")
    for kind in (torch.bfloat16, torch.float32):
        one = torch.randn(1, 16, 96, 96, 96).to(kind).to(memory_format=LAST)
        view = torch.randn(1, 32, 96, 96, 96).to(kind).to(memory_format=LAST)[:, 16:]
        whole = view.contiguous(memory_format=LAST)
        ways: list[Callable[[], object]] = [
            lambda one=one, view=view: one + view,  # type: ignore[misc]
            lambda one=one, whole=whole: one + whole,  # type: ignore[misc]
            lambda view=view: view.contiguous(memory_format=LAST),  # type: ignore[misc]
        ]
        print(f"| {str(kind)[6:]} | {' | '.join(in_turns(ways, rounds))} |")


if __name__ == "__main__":
    main()
