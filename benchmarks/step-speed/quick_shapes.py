"""How long the network's part of a training step of `quick` takes in several shapes, in turn.

python benchmarks/step-speed/quick_shapes.py [--rounds 5] [--patch 32 48 32] [--batch 2]
"""

from __future__ import annotations

import argparse
import time

import torch
from torch.nn import functional

from decaseg.nets.device import set_threads
from decaseg.nets.spec import NetworkSpec
from decaseg.nets.unet import build

SHAPES = {  # filters a level, convolutions a level down, up
    "24-48-96-192, 2 down, 2 up": ((24, 48, 96, 192), 2, 2),
    "24-48-96-192, 2 down, 1 up": ((24, 48, 96, 192), 2, 1),
    "24-48-96-192, 1 down, 1 up": ((24, 48, 96, 192), 1, 1),
    "16-48-96-192, 2 down, 2 up": ((16, 48, 96, 192), 2, 2),
    "16-48-96-192, 2 down, 1 up: quick": ((16, 48, 96, 192), 2, 1),
    "16-32-64-128, 2 down, 1 up": ((16, 32, 64, 128), 2, 1),
    "8-48-96-192, 2 down, 1 up": ((8, 48, 96, 192), 2, 1),
    "16-48-96, 2 down, 1 up": ((16, 48, 96), 2, 1),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--patch", type=int, nargs=3, default=(32, 48, 32))
    parser.add_argument("--batch", type=int, default=2)
    wishes = parser.parse_args()
    print(f"{set_threads(None)} threads, torch {torch.__version__}, fp32, batch {wishes.batch}, patch {wishes.patch}")
    torch.manual_seed(0)
    nets = {name: network(*shape).train() for name, shape in SHAPES.items()}
    image = torch.randn(wishes.batch, 1, *wishes.patch).to(memory_format=torch.channels_last_3d)
    truth = torch.randint(0, 3, (wishes.batch, *wishes.patch))
    taken: dict[str, list[float]] = {name: [] for name in nets}
    for turn in range(1 + wishes.rounds):  # the first warms up
        for name, net in nets.items():
            began = time.perf_counter()
            functional.cross_entropy(net(image), truth).backward()
            net.zero_grad(set_to_none=True)
            taken[name] += [time.perf_counter() - began] if turn else []
    print("| shape | least ms | median ms |\n| --- | --- | --- |")
    for name, seconds in taken.items():
        print(f"| {name} | {1000 * min(seconds):.0f} | {1000 * sorted(seconds)[len(seconds) // 2]:.0f} |")


def network(filters: tuple[int, ...], down: int, up: int) -> torch.nn.Module:
    strides = ((1, 1, 1), *((2, 2, 2),) * (len(filters) - 1))
    shape = {"filters": filters, "strides": strides, "kernels": ((3, 3, 3),) * len(filters)}
    net = build(NetworkSpec(in_channels=1, out_channels=3, convs=down, decoder_convs=up, **shape))
    return net.to(memory_format=torch.channels_last_3d)


if __name__ == "__main__":
    main()
