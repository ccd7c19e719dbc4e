"""What is compared: the commands, and the same weights in the form that each of them reads.

Run as a program it is MONAI's contestant: its own transforms and `sliding_window_inference` around the same network in
torch's own fp32, one file after the other.

    python benchmarks/prediction/contestants.py RUN OUT IMAGE …
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import torch
from torch import nn


def nnunet_model(run: Path, plans: Path, results: Path, folder: str) -> None:
    """nnU-Net's folder of a trained model, with the weights of a decaseg RUN.

    nnU-Net's arrays are (Z, Y, X), ours (X, Y, Z), so every kernel is transposed. The images are given in RAS order, in
    which neither flips an axis.
    """
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    document = json.loads(plans.read_text())
    dataset = json.loads(plans.with_name("dataset.json").read_text())
    configuration = PlansManager(document).get_configuration("3d_fullres")
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    theirs = get_network_from_plans(
        configuration.network_arch_class_name, configuration.network_arch_init_kwargs,
        configuration.network_arch_init_kwargs_req_import, len(dataset["channel_names"]), len(dataset["labels"]),
        allow_init=True, deep_supervision=True,
    )  # fmt: skip
    ours = network_of(run)
    pairs = [
        *zip(layers(ours.encoder), layers(theirs.encoder.stages), strict=True),
        *zip(layers(ours.decoder), layers(theirs.decoder.stages), strict=True),
        *zip(ours.ups, theirs.decoder.transpconvs, strict=True),
        (ours.heads[-1], theirs.decoder.seg_layers[-1]),
    ]
    with torch.no_grad():
        for mine, other in pairs:
            weight = mine.weight.permute(0, 1, 4, 3, 2) if mine.weight.ndim == 5 else mine.weight
            other.weight.copy_(weight)
            other.bias.copy_(mine.bias)
    model = results / folder / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    (model / "fold_0").mkdir(parents=True, exist_ok=True)
    (model / "plans.json").write_text(json.dumps(document))
    (model / "dataset.json").write_text(json.dumps(dataset))
    fingerprint = plans.with_name("dataset_fingerprint.json")
    if fingerprint.is_file():
        shutil.copyfile(fingerprint, model / "dataset_fingerprint.json")
    checkpoint = {
        "network_weights": theirs.state_dict(), "trainer_name": "nnUNetTrainer",
        "init_args": {"configuration": "3d_fullres"}, "inference_allowed_mirroring_axes": (0, 1, 2),
    }  # fmt: skip
    torch.save(checkpoint, model / "fold_0" / "checkpoint_final.pth")


def layers(part: nn.Module) -> list[nn.Module]:
    """Convolutions and norms in the order of the forward pass, each once."""
    return [module for module in part.modules() if isinstance(module, nn.Conv3d | nn.InstanceNorm3d)]


def network_of(run: Path) -> nn.Module:
    from decaseg.inference.engines.torch_engine import load_network
    from decaseg.planning.plan import Plan
    from decaseg.storage.rundir import RunDir

    folder = RunDir(run)
    return load_network(folder.weights, Plan.from_json(json.loads(folder.plan.read_text())).network).eval()


def monai(run: Path, out: Path, images: list[Path]) -> None:
    """Label maps by MONAI, as its tutorials do: crop to the foreground, normalise, slide, put back, save."""
    import nibabel
    import numpy as np
    from monai.inferers import sliding_window_inference
    from monai.transforms import CropForeground, EnsureChannelFirst, LoadImage, NormalizeIntensity

    from decaseg.planning.plan import Plan
    from decaseg.storage.rundir import RunDir

    torch.set_num_threads(os.cpu_count() or 1)
    plan = Plan.from_json(json.loads(RunDir(run).plan.read_text()))
    inside = plan.preprocessing.normalisation[0].kind == "zscore_nonzero"
    network = network_of(run)
    load, first = LoadImage(image_only=True), EnsureChannelFirst()
    crop, normalise = CropForeground(allow_smaller=True), NormalizeIntensity(nonzero=inside, channel_wise=True)
    out.mkdir(parents=True, exist_ok=True)
    for path in images:
        image = first(load(path))
        start, end = crop.compute_bounding_box(image)
        place = tuple(slice(int(a), int(b)) for a, b in zip(start, end, strict=True))
        array = normalise(image[(slice(None), *place)])
        with torch.no_grad():
            logits = sliding_window_inference(
                array[None].as_tensor(), plan.patch, 1, network, overlap=0.5, mode="gaussian"
            )
        labels = np.zeros(image.shape[1:], np.uint8)
        labels[place] = logits[0].argmax(0).numpy().astype(np.uint8)
        nibabel.save(nibabel.Nifti1Image(labels, nibabel.load(path).affine), out / path.name)


if __name__ == "__main__":
    monai(Path(sys.argv[1]), Path(sys.argv[2]), [Path(word) for word in sys.argv[3:]])
