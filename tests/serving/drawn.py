"""Models whose weights are drawn, not trained: quick to make, and their label maps hold every label."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from decaseg.cli import call
from decaseg.data.normalise import Normalisation
from decaseg.data.preprocess import Preprocessing
from decaseg.data.targets import make_target
from decaseg.nets.spec import NetworkSpec
from decaseg.nets.unet import build
from decaseg.planning.plan import Plan
from decaseg.storage.files import write_json
from decaseg.storage.rundir import RunDir

PATCH = (16, 16, 16)


def write_run(root: Path, channels: tuple[str, ...] = ("MRI",), labels: dict[int, str] | None = None) -> Path:
    """A RUN as far as prediction and export read it."""
    labels = labels or {1: "anterior", 2: "posterior"}
    count = len(channels)
    spec = NetworkSpec(in_channels=count, out_channels=len(labels) + 1, filters=(4, 8), strides=((1,) * 3, (2,) * 3),
                       kernels=((3,) * 3,) * 2)  # fmt: skip
    how = Preprocessing(channels, tuple(range(count)), count, (1.0, 1.0, 1.0), (Normalisation("zscore"),) * count)
    target = make_target("all", labels)
    plan = Plan("drawn", {0: "background", **labels}, target, how, spec, PATCH, 2, (0, 1, 2), PATCH, "")
    torch.manual_seed(0)
    run = RunDir(root)
    root.mkdir(parents=True)
    save_file({name: value.contiguous() for name, value in build(spec).state_dict().items()}, run.weights)
    write_json(run.plan, plan.to_json())
    write_json(run.recipe, {"name": "drawn"})
    write_json(run.splits, {"train": [], "val": []})
    write_json(run.provenance, {"selection": "weights drawn, not trained"})
    return root


def write_bundle(root: Path, **wishes) -> Path:
    """Its export to OpenVINO, without the parity gate."""
    run = write_run(root / "run", **wishes)
    assert call(["export", str(run), "--out", str(root / "bundle"), "--threads", "1"]) == 0
    return root / "bundle"
