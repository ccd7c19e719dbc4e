"""A folder that OpenVINO Model Server serves, and any server that speaks KServe's protocol v2 can be told about.

    config.json                    what the server reads: --config_path
    NAME/1/model.xml, model.bin    the network, a folder a version
    NAME/metadata.json             what the server answers of the model: names, shapes, datatypes
    NAME/bundle.json               what a client needs besides: preprocessing, windows, labels
    NAME/README.md                 the request, and what the client must do before and after it

Layout and keys: docs.openvino.ai, "Prepare a Model Repository", "Model Server Parameters"; kserve.github.io, "Open
Inference Protocol". Paths in config.json are relative to it, so the folder can be moved.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from decaseg.exporting.serving_notes import serving_notes
from decaseg.inference.engines.openvino_engine import HINTS, WITHOUT_VNNI
from decaseg.storage.bundle import BundleDir, model_files
from decaseg.storage.files import read_json, sha256_of, write_json, write_text

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")  # it stands in URLs and is a folder
PLATFORMS = {"openvino": "OpenVINO", "onnx": "onnx_onnxv1"}


def write_model_repository(bundle: BundleDir, repository: Path, name: str) -> Path:
    """Adds the bundle's model to the repository as its newest version; returns the version's folder.

    A model that is there already is not added again. Files are hard links where the file system allows, so the model
    is stored once; a bundle that is exported again gets new files, so versions that are served never change. A version
    appears whole. ValueError for a name or a config.json that no server could use.
    """
    check_repository(repository, name)
    document = bundle.read()
    files = [bundle.root / file for file in model_files(document["model_format"])]
    folder = repository / name
    version = _present(folder, files) or _add_version(folder, files)
    write_json(folder / "metadata.json", kserve_metadata(document, name, _versions(folder)))
    write_json(folder / "bundle.json", dict(document))
    write_text(folder / "README.md", serving_notes(document, name))
    _add_to_config(repository / "config.json", name, document)
    return version


def check_repository(repository: Path, name: str) -> None:
    """ValueError where no model of that name could be put there."""
    if not NAME.fullmatch(name):
        raise ValueError(f"--served-name {name}: stands in URLs; use letters, digits, - and _, at most 64")
    if repository.exists() and not repository.is_dir():
        raise ValueError(f"--model-repository {repository}: is a file, not a folder; give another name")
    _read_config(repository / "config.json")


def kserve_metadata(document: Mapping[str, Any], name: str, versions: list[int]) -> dict[str, Any]:
    """What `GET v2/models/NAME` answers: one input, one output, -1 for the batch, which may have any size."""
    network, window = document["plan"]["network"], document["plan"]["patch"]
    tensors = {"inputs": ("image", network["in_channels"]), "outputs": ("logits", network["out_channels"])}
    described = {
        side: [{"name": tensor, "datatype": "FP32", "shape": [-1, channels, *window]}]
        for side, (tensor, channels) in tensors.items()
    }
    platform = PLATFORMS[document["model_format"]]
    return {"name": name, "versions": [str(version) for version in versions], "platform": platform, **described}


def server_config(name: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """The model's entry in config.json: one request at a time, fast, in the precision that passed the gate.

    Without the hint the server's OpenVINO takes bf16 by itself where the processor has it.
    """
    gated = str((document.get("parity") or {}).get("export", "")).partition(" ")[2]
    hint = HINTS.get((gated or document["compute_precision"]).removesuffix(WITHOUT_VNNI), "f32")
    return {
        "name": name,
        "base_path": name,
        "target_device": "CPU",
        "plugin_config": {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": hint},
    }


def _versions(folder: Path) -> list[int]:
    """The versions there, rising; the server takes folders with a number for a name."""
    if not folder.is_dir():
        return []
    return sorted(int(path.name) for path in folder.iterdir() if path.is_dir() and path.name.isdecimal())


def _present(folder: Path, files: list[Path]) -> Path | None:
    """The newest version, where it holds the same files."""
    versions = _versions(folder)
    if not versions:
        return None
    newest = folder / str(versions[-1])
    same = all((newest / f.name).is_file() and sha256_of(newest / f.name) == sha256_of(f) for f in files)
    return newest if same else None


def _add_version(folder: Path, files: list[Path]) -> Path:
    """Links or copies the files into a hidden folder and renames that, since a running server may be looking."""
    version = folder / str((_versions(folder) or [0])[-1] + 1)
    making = folder / f".{version.name}.making"
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True)
    try:
        for file in files:
            try:
                os.link(file, making / file.name)
            except OSError:  # another file system, or one without hard links
                shutil.copyfile(file, making / file.name)
        making.rename(version)
    except BaseException:
        with suppress(OSError):
            shutil.rmtree(making)
        raise
    return version


def _add_to_config(path: Path, name: str, document: Mapping[str, Any]) -> None:
    """Replaces the entry of that name and leaves all else as it is, whoever wrote it."""
    config = _read_config(path)
    entries = [entry for entry in config["model_config_list"] if entry.get("config", {}).get("name") != name]
    write_json(path, config | {"model_config_list": [*entries, {"config": server_config(name, document)}]})


def _read_config(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {"model_config_list": []}
    config = read_json(path)
    entries = config.get("model_config_list") if isinstance(config, dict) else None
    if not isinstance(entries, list) or not all(
        isinstance(e, dict) and isinstance(e.get("config"), dict) for e in entries
    ):
        raise ValueError(f"{path}: is no configuration of OpenVINO Model Server; name another --model-repository")
    return dict(config)
