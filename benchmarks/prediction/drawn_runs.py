"""RUN folders whose weights are drawn, not trained: for speed and memory the shapes are what counts."""

from __future__ import annotations

from pathlib import Path

from decaseg.data.normalise import Normalisation
from decaseg.data.preprocess import Preprocessing
from decaseg.data.targets import make_target
from decaseg.geometry import Float3, Int3
from decaseg.nets.spec import NetworkSpec
from decaseg.planning.plan import Plan
from decaseg.storage.files import write_json
from decaseg.storage.rundir import RunDir

BRAIN = {1: "edema", 2: "non-enhancing tumor", 3: "enhancing tumour"}
HIPPOCAMPUS = {1: "Anterior", 2: "Posterior"}
ORGANS = {number: f"organ {number}" for number in range(1, 9)}


def plan(
    channels: tuple[str, ...],
    labels: dict[int, str],
    filters: tuple[int, ...],
    patch: Int3,
    normalisation: Normalisation,
    spacing_mm: Float3 = (1.0, 1.0, 1.0),
) -> Plan:
    """A plan with strides of 2 and kernels of 3 at every level, instance norm, as nnU-Net's plain networks."""
    levels = len(filters)
    network = NetworkSpec(
        in_channels=len(channels), out_channels=len(labels) + 1, filters=filters,
        strides=((1, 1, 1), *((2, 2, 2),) * (levels - 1)), kernels=((3, 3, 3),) * levels,
    )  # fmt: skip
    how = Preprocessing(
        channels, tuple(range(len(channels))), len(channels), spacing_mm, (normalisation,) * len(channels)
    )
    return Plan("drawn", {0: "background", **labels}, make_target("all", labels), how, network, patch, 2, (0, 1, 2),
                patch, "")  # fmt: skip


def brain() -> Plan:
    """nnU-Net's 3d_fullres plan for Task01_BrainTumour."""
    filters, patch = (32, 64, 128, 256, 320, 320), (128, 128, 128)
    return plan(("FLAIR", "T1w", "T1gd", "T2w"), BRAIN, filters, patch, Normalisation("zscore_nonzero"))


def hippocampus() -> Plan:
    """nnU-Net's 3d_fullres plan for Task04_Hippocampus."""
    return plan(("MRI",), HIPPOCAMPUS, (32, 64, 128, 256), (40, 56, 40), Normalisation("zscore"))


def ct(base: int = 8, spacing_mm: Float3 = (0.8, 0.8, 1.0)) -> Plan:
    """A CT-like plan with 8 structures and windows of 128^3; 5 levels from `base` filters to 320 at most."""
    filters = tuple(min(base * 2**i, 320) for i in range(5))
    how = Normalisation("ct", mean=50.0, std=150.0, low=-200.0, high=300.0)
    return plan(("CT",), ORGANS, filters, (128, 128, 128), how, spacing_mm)


def write_run(root: Path, plan: Plan, seed: int = 0, train: list[str] | None = None) -> Path:
    """The folder that `train` would have written, as far as prediction reads it; `train` are names of cases.

    The last four of them count as validation cases.
    """
    import torch
    from safetensors.torch import save_file

    from decaseg.nets.unet import build

    torch.manual_seed(seed)
    run = RunDir(root)
    root.mkdir(parents=True, exist_ok=True)
    network = build(plan.network)
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, run.weights)
    write_json(run.plan, plan.to_json())
    write_json(run.recipe, {"name": "drawn"})
    write_json(run.splits, {"train": (train or [])[:-4], "val": (train or [])[-4:]})
    write_json(run.provenance, {"selection": "weights drawn, not trained"})
    return root
