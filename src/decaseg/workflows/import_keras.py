"""`decaseg import keras`: from a model that Intel's discontinued Keras scripts saved to a RUN."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decaseg.geometry import Int3
from decaseg.importing.graph import check_wiring
from decaseg.importing.intel_data import CROP, Data, plan_of, split_of_2019
from decaseg.importing.intel_unet import Found, recognise
from decaseg.importing.kernels import state_of
from decaseg.planning.plan import Plan
from decaseg.recipes import Recipe, original
from decaseg.reporting.table import print_facts
from decaseg.storage.dataset import Dataset
from decaseg.storage.files import sha256_of, write_bytes, write_json
from decaseg.storage.images import read_image_grid
from decaseg.storage.keras_file import KerasFile, read_keras
from decaseg.storage.layouts import read_dataset
from decaseg.storage.provenance import provenance
from decaseg.storage.rundir import RunDir
from decaseg.storage.sealed import seal

TURNED = "numpy.rot90, as the scripts of 2020"
AS_FILED = "as in the files, as the scripts of 2019"


@dataclass(frozen=True)
class Trained:
    """How the scripts fed the model: `quarter_turn` says whether images were turned by numpy.rot90 first."""

    quarter_turn: bool
    crop: Int3
    why_turn: str
    why_crop: str


def run(
    file: Path,
    out: Path,
    data: Path | None = None,
    patch: Int3 | None = None,
    quarter_turn: bool | None = None,
    layout: str | None = None,
) -> int:
    """Writes the RUN and returns 0. ValueError, naming the file, for one that holds another model.

    `data` is the data set it was trained on: its channels, labels, axes and the scripts' own split are taken from
    there; `layout` names how it lies there (None: as it looks). `patch`, in the order of height, width and depth that
    the scripts had, and `quarter_turn` overrule what the file tells.
    """
    folder = RunDir(out)
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise ValueError(f"--out {out}: exists already; name a new folder")
    dataset = None if data is None else read_dataset(data, layout)
    known = Data() if dataset is None else _data_of(dataset)
    source = read_keras(file)
    try:
        found = recognise(source)
        shape = None if source.config is None else check_wiring(source.config, found)
        trained = _trained(source, shape, patch, quarter_turn)
        recipe = _recipe(found, trained)
        plan = plan_of(found, known, trained.crop, trained.quarter_turn, recipe.batch_size or 1)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None
    recipe = recipe.with_choices(channels=plan.preprocessing.channels, patch=plan.patch)
    splits, selection = _splits(dataset, trained.quarter_turn)
    print_facts(f"{file}: Intel's 3D U-Net", _rows(source, found, plan, known, trained), file=sys.stderr)
    folder.root.mkdir(parents=True, exist_ok=True)
    _save(folder.weights, found, known, trained.quarter_turn)
    write_json(folder.splits, splits)
    write_json(folder.recipe, recipe.to_json())
    origin = _origin(file, source, found, known, trained)
    write_json(
        folder.provenance,
        provenance(seed=None, data_sha256=plan.data_sha256, selection=selection, start=None, imported=origin),
    )
    write_json(folder.plan, plan.to_json())
    _say(folder, data, layout, splits)
    return 0


def _data_of(dataset: Dataset) -> Data:
    grid, _ = read_image_grid(dataset.training[0])
    return Data(dataset.name, dataset.channels, dict(dataset.labels), grid)


def _trained(source: KerasFile, shape: Int3 | None, patch: Int3 | None, quarter_turn: bool | None) -> Trained:
    """The scripts of 2020 fixed the input's shape and turned images; those before left it open and did not."""
    if quarter_turn is not None:
        turned, why_turn = quarter_turn, "as you said"
    elif source.config is None:
        turned, why_turn = False, "a guess: only weights were saved; --rot90 for a model of 2020"
    else:
        turned = shape is not None
        why_turn = f"its input has {'one fixed shape' if turned else 'any shape'}; --rot90, --no-rot90 overrule"
    crop = patch or shape or CROP
    why_crop = "as you said" if patch else "in the file" if shape else "the scripts' default; --patch overrules"
    return Trained(turned, crop, why_turn, why_crop)


def _recipe(found: Found, trained: Trained) -> Recipe:
    """`original` with the network's sizes: what `train --from` and the report read."""
    network = found.network
    return original().with_choices(
        target="all" if found.background else "whole",
        base_filters=network.filters[0],
        max_filters=max(network.filters),
        upsample=network.upsample,
        val_fraction=0.2 if trained.quarter_turn else 0.15,
    )


def _splits(dataset: Dataset | None, quarter_turn: bool) -> tuple[dict[str, list[str]], str]:
    """splits.json, and in words what scores on it are worth."""
    best = "Intel's scripts kept the epoch with the lowest loss on validation cases"
    if dataset is None:
        return {"train": [], "val": []}, f"{best}; which cases trained is not known, so scores may be memory"
    cases = [files.case for files in dataset.training]
    if quarter_turn:
        words = f"{best}; those of 2020 drew them anew in each epoch, so every case may have trained"
        return {"train": sorted(cases), "val": []}, words
    train, val, test = split_of_2019(cases)
    words = (
        f"{best}; its {len(test)} test cases, as the scripts' default seed and shares draw them, are val here and were "
        f"neither trained nor chosen on; the {len(val)} that chose the epoch count as trained"
    )
    return {"train": sorted((*train, *val)), "val": sorted(test)}, words


def _origin(file: Path, source: KerasFile, found: Found, known: Data, trained: Trained) -> dict[str, Any]:
    """For provenance: which file, and what was taken for granted about it."""
    return {
        "file": file.name,
        "sha256": sha256_of(file),
        "keras_version": source.keras_version or None,
        "wiring_checked": source.config is not None,
        "quarter_turn": trained.quarter_turn,
        "trained_axes": known.axes.orientation,
        "background_output_left_out": found.background,
    }


def _save(path: Path, found: Found, known: Data, quarter_turn: bool) -> None:
    from safetensors.numpy import save

    state = state_of(found, known.axes, quarter_turn)
    write_bytes(path, save(state, seal(save(state))))


def _rows(source: KerasFile, found: Found, plan: Plan, known: Data, trained: Trained) -> list[tuple[str, str, str]]:
    """(what, value, where from) for people."""
    version = f"Keras {source.keras_version}" if source.keras_version else "weights of an unnamed Keras"
    wiring = "checked layer by layer" if source.config is not None else "not in the file: only weights were saved"
    rows = [
        ("saved by", version, f"{found.naming}, {len(found.wanted)} layers with weights"),
        ("wiring", wiring, "order of layers, activations, what joins what"),
        ("files' axes", known.axes.orientation, "of --data" if known.grid else "as BraTS has them; --data overrules"),
        ("turned", TURNED if trained.quarter_turn else AS_FILED, trained.why_turn),
        ("crop", " x ".join(map(str, trained.crop)), trained.why_crop),
    ]
    network, target = plan.network, plan.target
    filters = "-".join(map(str, network.filters))
    outputs = "one sigmoid a structure" + ("; Keras' first output, the background, is left out" * found.background)
    return [
        *rows,
        ("channels", ", ".join(plan.preprocessing.channels), f"the first of {plan.preprocessing.file_channels}"),
        ("network", f"filters {filters}, {network.upsample} up", "from the kernels' shapes"),
        ("outputs", ", ".join(target.names), outputs),
    ]


def _say(folder: RunDir, data: Path | None, layout: str | None, splits: dict[str, Any]) -> None:
    print(f"written: {folder.root}")
    if data is None:
        print(f"next: decaseg predict {folder.root} IMAGE --out FOLDER")
        return
    where = str(data) if layout is None else f"{data} --layout {layout}"
    cases = "" if splits["val"] else " --cases all"
    print(f"next: decaseg evaluate {folder.root} --data {where} --out {folder.root.parent / 'evaluation'}{cases}")
