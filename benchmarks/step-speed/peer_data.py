"""The same few real cases, prepared for nnU-Net by nnU-Net's own commands and for decaseg; done once a folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from settings import Setting


def environment(work: Path) -> dict[str, str]:
    """This process's environment with the folders nnU-Net reads from it."""
    folders = {f"nnUNet_{name}": str(work / f"nnunet_{name}") for name in ("raw", "preprocessed", "results")}
    return {**os.environ, **folders}


def prepare(setting: Setting, data: Path, work: Path) -> None:
    """Fills `work` with what the contestants read. ValueError when `data` lacks the data set."""
    source = data / setting.data
    if not (source / "dataset.json").is_file():
        raise ValueError(
            f"--data {data}: holds no {setting.data}/dataset.json; name the folder that holds {setting.data}"
        )
    dataset = json.loads((source / "dataset.json").read_text())
    cases = dataset["training"][: setting.cases]
    _decathlon(source, work / "decathlon" / setting.data, dataset, cases)
    preprocessed = work / "nnunet_preprocessed" / setting.folder
    plans = preprocessed / "nnUNetPlans.json"
    if not (work / f"{setting.name}.ready").exists():
        shutil.rmtree(preprocessed, ignore_errors=True)
        _raw(source, work / "nnunet_raw" / setting.folder, dataset, cases)
        command = Path(sys.executable).with_name("nnUNetv2_plan_and_preprocess")
        subprocess.run(
            [command, "-d", str(setting.number), "-c", "3d_fullres", "-np", "2", "-npfp", "2"],
            check=True, env=environment(work), stdout=sys.stderr,
        )  # fmt: skip
        shutil.copyfile(plans, plans.with_name("as_planned.json"))
        (work / f"{setting.name}.ready").touch()
    _set_shapes(plans, setting)


def _decathlon(source: Path, target: Path, dataset: dict, cases: list[dict]) -> None:
    """The cases as a small data set of the Decathlon's layout, by links."""
    for case in cases:
        for name in case.values():
            place = target / name
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.exists():
                place.symlink_to((source / name).resolve())
    small = dataset | {"training": cases, "numTraining": len(cases), "test": [], "numTest": 0}
    (target / "dataset.json").write_text(json.dumps(small))


def _raw(source: Path, target: Path, dataset: dict, cases: list[dict]) -> None:
    """The cases in nnU-Net's layout: one file a channel."""
    import nibabel

    (target / "imagesTr").mkdir(parents=True, exist_ok=True)
    (target / "labelsTr").mkdir(parents=True, exist_ok=True)
    for number, case in enumerate(cases):
        image = nibabel.load(source / case["image"])
        array = image.dataobj[:]
        channels = [array] if array.ndim == 3 else [array[..., i] for i in range(array.shape[3])]
        for index, channel in enumerate(channels):
            path = target / "imagesTr" / f"case_{number:03d}_{index:04d}.nii.gz"
            nibabel.save(nibabel.Nifti1Image(channel, image.affine), path)
        label = nibabel.load(source / case["label"])
        path = target / "labelsTr" / f"case_{number:03d}.nii.gz"
        nibabel.save(nibabel.Nifti1Image(label.dataobj[:].astype("uint8"), image.affine), path)
    document = {
        "channel_names": dataset["modality"],
        "labels": {name: int(value) for value, name in dataset["labels"].items()},
        "numTraining": len(cases),
        "file_ending": ".nii.gz",
    }
    (target / "dataset.json").write_text(json.dumps(document))


def _set_shapes(plans: Path, setting: Setting) -> None:
    """Gives nnU-Net's plan for these few cases the shapes of its plan for the whole task, and says what it changes."""
    document = json.loads(plans.with_name("as_planned.json").read_text())
    configuration = document["configurations"]["3d_fullres"]
    network = configuration["architecture"]["arch_kwargs"]
    levels = len(setting.filters)
    wanted = {
        "n_stages": levels,
        "features_per_stage": list(setting.filters),
        "kernel_sizes": [list(k) for k in setting.kernels],
        "strides": [list(s) for s in setting.strides],
        "n_conv_per_stage": [2] * levels,
        "n_conv_per_stage_decoder": [2] * (levels - 1),
    }
    changed = [f"{k} {network[k]} to {v}" for k, v in wanted.items() if network[k] != v]
    for key, value in (("patch_size", list(setting.patch)), ("batch_size", setting.batch)):
        if configuration[key] != value:
            changed.append(f"{key} {configuration[key]} to {value}")
        configuration[key] = value
    network.update(wanted)
    plans.write_text(json.dumps(document, indent=1))
    print(f"nnU-Net's plan for {setting.cases} cases: " + ("; ".join(changed) or "as it is"), file=sys.stderr)
