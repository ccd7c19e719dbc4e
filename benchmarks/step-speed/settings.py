"""What is compared: two plans of nnU-Net's, in numbers, and how a step's work is counted."""

from __future__ import annotations

from dataclasses import dataclass, replace

Int3 = tuple[int, int, int]


@dataclass(frozen=True)
class Setting:
    """A network, a patch and a batch; `data` is the folder of the data set, `cases` how many of it are used."""

    name: str
    in_channels: int
    classes: int
    filters: tuple[int, ...]
    patch: Int3
    batch: int
    data: str
    number: int
    cases: int

    @property
    def strides(self) -> tuple[Int3, ...]:
        return ((1, 1, 1), *((2, 2, 2),) * (len(self.filters) - 1))

    @property
    def kernels(self) -> tuple[Int3, ...]:
        return ((3, 3, 3),) * len(self.filters)

    @property
    def heads(self) -> int:
        """Outputs under deep supervision: every level of the decoder, as nnU-Net has it."""
        return len(self.filters) - 1

    @property
    def folder(self) -> str:
        """nnU-Net's name for the data set."""
        return f"Dataset{self.number:03d}_{self.name.capitalize()}"

    def with_batch(self, batch: int | None) -> Setting:
        return self if batch is None else replace(self, batch=batch)


SETTINGS = {
    "hippocampus": Setting(
        "hippocampus", 1, 3, (32, 64, 128, 256), (40, 56, 40), 9, "Task04_Hippocampus", 4, 40,
    ),
    "brain": Setting(
        "brain", 4, 4, (32, 64, 128, 256, 320, 320), (128, 128, 128), 2, "Task01_BrainTumour", 1, 4,
    ),
}  # fmt: skip


def gflop_a_step(setting: Setting) -> float:
    """Convolutions' floating-point operations of one training step, a multiply-add being two, in units of 1e9.

    From the shapes: forward, gradient of the input and gradient of the weight cost the same each; the image needs
    no gradient. Norms, nonlinearities and losses are left out, so shares of the peak are a little too low.
    """
    import torch
    from contestants import PlainUNet
    from torch import nn

    total = 0.0

    def count(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal total
        assert isinstance(module, nn.Conv3d | nn.ConvTranspose3d)
        taps = module.weight[0, 0].numel()
        places = inputs[0] if isinstance(module, nn.ConvTranspose3d) else output
        pairs = module.in_channels * module.out_channels
        once = 2.0 * taps * pairs * places.numel() / places.shape[1]
        total += once * (2 if module.in_channels == setting.in_channels else 3)

    with torch.device("meta"):
        model = PlainUNet(setting)
        for module in model.modules():
            if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
                module.register_forward_hook(count)
        model(torch.empty(setting.batch, setting.in_channels, *setting.patch))
    return total / 1e9
