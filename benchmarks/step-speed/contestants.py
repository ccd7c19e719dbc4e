"""One contestant in a process of its own: gets ready, waits for `go` on its input, prints its times as JSON.

Started by `against_peers.py`. All train the same shapes with SGD (momentum 0.99, Nesterov), gradients clipped at 12,
Dice + cross-entropy at every level of the decoder. nnU-Net runs its own `nnUNetTrainer.train_step`, from its own
plans file, in its default way (on a processor: fp32, not compiled); the others are given every setting they like.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from settings import SETTINGS, Setting
from torch import Tensor, nn
from torch.nn import functional

Step = Callable[[], Any]


class PlainUNet(nn.Module):
    """The same network as anyone would write it first: torch's own modules, nothing tuned."""

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        filters, strides = setting.filters, setting.strides

        def block(inputs: int, outputs: int, stride: tuple[int, int, int]) -> nn.Sequential:
            def layer(n: int, s: tuple[int, int, int]) -> list[nn.Module]:
                norm = nn.InstanceNorm3d(outputs, affine=True)
                return [nn.Conv3d(n, outputs, 3, s, 1), norm, nn.LeakyReLU(0.01, inplace=True)]

            return nn.Sequential(*layer(inputs, stride), *layer(outputs, (1, 1, 1)))

        inputs = (setting.in_channels, *filters)
        self.encoder = nn.ModuleList(block(i, o, s) for i, o, s in zip(inputs, filters, strides, strict=False))
        pairs = [(filters[i + 1], filters[i], strides[i + 1]) for i in reversed(range(len(filters) - 1))]
        self.ups = nn.ModuleList(nn.ConvTranspose3d(deep, fine, s, s) for deep, fine, s in pairs)
        self.decoder = nn.ModuleList(block(2 * fine, fine, (1, 1, 1)) for _, fine, _ in pairs)
        self.heads = nn.ModuleList(nn.Conv3d(fine, setting.classes, 1) for _, fine, _ in pairs)

    def forward(self, x: Tensor) -> list[Tensor]:
        skips, outputs = [], []
        for block in self.encoder:
            x = block(x)
            skips.append(x)
        for i, (up, block, head) in enumerate(zip(self.ups, self.decoder, self.heads, strict=True)):
            x = block(torch.cat([up(x), skips[-2 - i]], 1))
            outputs.append(head(x))
        return outputs[::-1]


def fixed_batch(setting: Setting, device: torch.device) -> tuple[Tensor, Tensor]:
    """An image of noise (B, C, X, Y, Z) and classes (B, X, Y, Z) in blocks of 8 voxels; the same for everyone."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(setting.batch, setting.in_channels, *setting.patch, generator=generator)
    coarse = [n // 8 for n in setting.patch]
    blocks = torch.randint(0, setting.classes, (setting.batch, 1, *coarse), generator=generator).float()
    truth = functional.interpolate(blocks, size=setting.patch, mode="nearest")[:, 0].long()
    return image.to(device), truth.to(device)


def plain_loss(outputs: list[Tensor], truth: Tensor) -> Tensor:
    """Dice + cross-entropy at every level, written the plain way."""
    total = torch.zeros((), device=truth.device)
    for i, logits in enumerate(outputs):
        small = functional.interpolate(truth[:, None].float(), size=logits.shape[2:], mode="nearest")[:, 0].long()
        probability = logits.float().softmax(1)[:, 1:]
        member = functional.one_hot(small, logits.shape[1]).permute(0, 4, 1, 2, 3)[:, 1:].float()
        both, sums = (probability * member).sum((0, 2, 3, 4)), (probability + member).sum((0, 2, 3, 4))
        dice = ((2 * both + 1) / (sums + 1)).mean()
        total = total + 0.5**i * (functional.cross_entropy(logits.float(), small) + 1 - dice)
    return total


def training_step(
    model: nn.Module, optimiser: torch.optim.Optimizer, loss_of: Callable[[Any, Tensor], Tensor],
    image: Tensor, truth: Tensor, precision: str,
) -> Step:  # fmt: skip
    """Forward, backward, clip, update, as a function without arguments."""
    device = image.device.type

    def step() -> float:
        with torch.autocast(device, dtype=torch.bfloat16) if precision == "bf16" else nullcontext():
            outputs = model(image)
        optimiser.zero_grad(set_to_none=True)
        loss = loss_of(outputs, truth)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 12)
        optimiser.step()
        return float(loss.detach())

    return step


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=1e-2, weight_decay=3e-5, momentum=0.99, nesterov=True)


def plain(setting: Setting, device: torch.device, words: list[str]) -> tuple[int, Step]:
    image, truth = fixed_batch(setting, device)
    model = PlainUNet(setting).to(device).train()
    return parameters(model), training_step(model, sgd(model), plain_loss, image, truth, precision(words))


def monai(setting: Setting, device: torch.device, words: list[str]) -> tuple[int, Step]:
    """MONAI's DynUNet with its own deep supervision (heads brought to full resolution and stacked) and DiceCELoss."""
    from monai.losses import DiceCELoss
    from monai.networks.nets import DynUNet

    image, truth = fixed_batch(setting, device)
    model: nn.Module = DynUNet(
        3, setting.in_channels, setting.classes, setting.kernels, setting.strides, setting.strides[1:],
        filters=setting.filters, norm_name=("INSTANCE", {"affine": True}), deep_supervision=True,
        deep_supr_num=setting.heads - 1, trans_bias=True,
    ).to(device).train()  # fmt: skip
    if "channels-last" in words:
        model = model.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        image = image.contiguous(memory_format=torch.channels_last_3d)
    dice_ce = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)

    def loss_of(outputs: Tensor, truth: Tensor) -> Tensor:
        levels = [0.5**i * dice_ce(level.float(), truth[:, None]) for i, level in enumerate(outputs.unbind(1))]
        return torch.stack(levels).sum()

    count, optimiser = parameters(model), sgd(model)
    if "compiled" in words:
        model = torch.compile(model)  # type: ignore[assignment]
    return count, training_step(model, optimiser, loss_of, image, truth, precision(words))


def decaseg(setting: Setting, device: torch.device, words: list[str]) -> tuple[int, Step]:
    from decaseg.losses import deeply_supervised, dice_ce
    from decaseg.nets.device import set_threads
    from decaseg.nets.spec import NetworkSpec
    from decaseg.nets.unet import build
    from decaseg.training.optimise import make_optimiser

    set_threads(None)
    image, truth = fixed_batch(setting, device)
    spec = NetworkSpec(
        setting.in_channels, setting.classes, setting.filters, setting.strides, setting.kernels,
        deep_supervision=setting.heads - 1,
    )  # fmt: skip
    model: nn.Module = build(spec).to(device).train()
    model = model.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    image = image.contiguous(memory_format=torch.channels_last_3d)
    count, optimiser = parameters(model), make_optimiser("sgd", model, 1e-2, 3e-5)
    if "compiled" in words:
        model = torch.compile(model)  # type: ignore[assignment]
    loss_of = lambda outputs, truth: deeply_supervised(dice_ce, outputs, truth)  # noqa: E731
    return count, training_step(model, optimiser, loss_of, image, truth, precision(words))


def precision(words: list[str]) -> str:
    return "bf16" if "bf16" in words else "fp32"


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def nnunet(setting: Setting, device: torch.device) -> tuple[int, Step, Step, Callable[[], None]]:
    """nnU-Net's trainer: parameters, a step on one batch again and again, a step on its loader's next, a closing."""
    from nnunetv2.run.run_training import get_trainer_from_args

    torch.set_num_threads(os.cpu_count() or 1 if device.type == "cpu" else 1)  # as its command line does
    trainer = get_trainer_from_args(setting.folder, "3d_fullres", "all", device=device)
    trainer.initialize()
    assert trainer.batch_size == setting.batch, trainer.batch_size
    loader, other = trainer.get_dataloaders()
    trainer.set_deep_supervision_enabled(True)
    trainer.network.train()
    batch = next(loader)
    assert tuple(batch["data"].shape) == (setting.batch, setting.in_channels, *setting.patch), batch["data"].shape
    wait_until_idle()

    def close() -> None:
        for augmenter in (loader, other):
            if hasattr(augmenter, "_finish"):
                augmenter._finish()

    return (
        parameters(trainer.network),
        lambda: trainer.train_step(batch),
        lambda: trainer.train_step(next(loader)),
        close,
    )


def wait_until_idle(limit_s: float = 300.0) -> None:
    """Until child processes (loaders filling their queues) have for two seconds used under a tenth of a core; Linux.

    They never rest wholly: nnU-Net's loaders look every few milliseconds whether their queue has room again.
    """

    def used() -> int:
        total = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == os.getpid():
                total += int(fields[11]) + int(fields[12])
        return total

    started, before = time.perf_counter(), -1
    while time.perf_counter() - started < limit_s:
        now = used()
        if before >= 0 and now - before < 20:  # ticks of 10 ms
            return
        before = now
        time.sleep(2.0)


def timed(step: Step, warm_up: int, steps: int, device: torch.device) -> list[float]:
    taken = []
    for _ in range(warm_up + steps):
        started = time.perf_counter()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - started)
    return taken[warm_up:]


def decaseg_train(setting: Setting, work: Path, device: torch.device, steps: int) -> tuple[int, list[float]]:
    """`decaseg train` itself: preprocessed cases, patches, augmentation, average of the weights, log; s a step.

    Its default recipe with nnU-Net's shapes and optimiser. Every step is an epoch, so that the log times each; the
    first is not counted.
    """
    run = work / f"run-{os.getpid()}"
    choices = {
        "steps_per_epoch": 1, "validation_cases": 0, "optimiser": "sgd", "deep_supervision": setting.heads - 1,
        "max_levels": len(setting.filters), "weight_decay": 3e-5,
    }  # fmt: skip
    command = [
        sys.executable, "-m", "decaseg", "train", str(work / "decathlon" / setting.data), "--out", str(run),
        "--patch", *map(str, setting.patch), "--batch-size", str(setting.batch), "--lr", "0.01",
        "--epochs", str(steps + 1), "--device", device.type, "--cache", str(work / "cache"),
    ]  # fmt: skip
    for key, value in choices.items():
        command += ["--set", f"{key}={value}"]
    try:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"decaseg train failed:\n{error.stderr[-2000:]}") from None
    plan = json.loads((run / "plan.json").read_text())
    network = plan["network"]
    assert plan["batch_size"] == setting.batch, f"trained with batches of {plan['batch_size']}"
    assert tuple(plan["patch"]) == setting.patch, plan["patch"]
    assert tuple(network["filters"]) == setting.filters, network["filters"]
    elapsed = [e["elapsed_s"] for e in events(run) if e["event"] == "epoch"]
    assert len(elapsed) == steps + 1, elapsed
    from decaseg.nets.spec import NetworkSpec
    from decaseg.nets.unet import build

    with torch.device("meta"):
        count = parameters(build(NetworkSpec.from_json(network)))
    return count, [after - before for before, after in pairwise(elapsed)]


def events(run: Path) -> Iterator[dict[str, Any]]:
    from decaseg.storage.rundir import RunDir

    for line in RunDir(run).log.read_text().splitlines():
        yield json.loads(line)


def main() -> None:
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the libraries print goes to the error stream
    order = json.loads(sys.argv[1])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # lets loaders be stopped too
    setting = SETTINGS[order["setting"]].with_batch(order["batch"])
    device, words = torch.device(order["device"]), order["variant"].replace(",", "").split()
    warm_up, steps, loop_steps = order["warm_up"], order["steps"], order["loop_steps"]

    def wait_for_go() -> None:
        print("ready", file=answer, flush=True)
        if not sys.stdin.readline():
            raise SystemExit("nobody is waiting for this any more")

    result: dict[str, Any] = {}
    if words[0] == "nnunet":
        result["parameters"], step, loop_step, close = nnunet(setting, device)
        wait_for_go()
        result["step"] = timed(step, warm_up, steps, device)
        result["loop"] = timed(loop_step, 0, loop_steps, device)  # warm from the steps before
        close()
    elif "train" in words:
        wait_for_go()
        result["parameters"], result["loop"] = decaseg_train(setting, Path(order["work"]), device, loop_steps)
    else:
        make = {"plain": plain, "monai": monai, "decaseg": decaseg}[words[0]]
        result["parameters"], step = make(setting, device, words)
        wait_for_go()
        result["step"] = timed(step, warm_up, steps, device)
    print(json.dumps(result), file=answer, flush=True)


if __name__ == "__main__":
    main()
