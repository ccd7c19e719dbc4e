"""Damaged and hostile checkpoints, weights, plans, bundles, ONNX, HDF5 and dataset.json: refused, nothing executed.

A module that leaves a mark where it is imported lies on the path, and payloads name it, or would write a mark
themselves. After every input neither mark may be there.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from decaseg.cli import call
from decaseg.inference.engines.onnx_engine import OnnxEngine
from decaseg.inference.engines.torch_engine import load_network
from decaseg.nets.unet import build
from decaseg.planning.plan import Plan
from decaseg.storage.files import read_json
from decaseg.storage.keras_file import read_keras
from decaseg.training.checkpoint import load_checkpoint, save_checkpoint, save_weights
from decaseg.volume import Volume
from decaseg.workflows.opening import open_model
from tests.attacks.caches import damage
from tests.attacks.campaign import Attack, Bad
from tests.mutants.documents import json_mutant
from tests.mutants.judge import json_parsers
from tests.serving.drawn import write_run
from tests.synthetic import write_dataset

STATE = {"w": torch.arange(2000.0), "optimiser": {"lr": 0.5}}
IMAGE = Volume.of(np.random.default_rng(0).integers(0, 99, (9, 10, 8)).astype(np.int16))
SLOW_EVERY = 10  # HDF5 is read in a process of its own, bundles are compiled: tenths of a second each


class Payload:
    """Calls `what` with `words` where it is unpickled without care."""

    def __init__(self, what: Any, *words: Any) -> None:
        self.what, self.words = what, words

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.what, self.words


def payloads(mark: Path) -> list[Any]:
    """Objects that write `mark` by different doors."""
    code = f"open({str(mark)!r}, 'w').close()"
    trapped = importlib.import_module("trapped")
    return [
        Payload(os.system, f"touch {mark}"),
        Payload(eval, code),
        Payload(exec, code),
        Payload(subprocess.call, ["touch", str(mark)]),
        Payload(shutil.copyfile, "/etc/hostname", str(mark)),
        Payload(os.mkdir, str(mark)),
        Payload(trapped.spring),
        Payload(importlib.import_module, "trapped"),
        Payload(torch.load, str(mark.with_name("inner.pt"))),
        Payload(torch.nn.Linear, 1 << 20, 1 << 20),
    ]


def whole(state: dict[str, Any]) -> bool:
    """Does the state hold what was saved, but for its step?"""
    return bool(torch.equal(state["w"], STATE["w"])) and state["optimiser"] == STATE["optimiser"]


def hostile_checkpoint(mark: Path, rng: np.random.Generator) -> bytes:
    """A payload somewhere in a state, by torch's zip, its old format, bare pickle, or as a global by name alone."""
    made = payloads(mark)
    payload, kind = made[int(rng.integers(0, len(made)))], int(rng.integers(0, 4))
    states = [{"step": payload}, {"step": 1, "w": [payload]}, payload, {"w": torch.zeros(3), payload: 1}]
    state = states[int(rng.integers(0, len(states)))]
    out = io.BytesIO()
    if kind <= 1:
        torch.save(state, out, _use_new_zipfile_serialization=kind == 0)
    elif kind == 2:
        out.write(pickle.dumps(state, int(rng.integers(0, 6))))
    else:  # protocol 0: cTRAPPED\nspring\n imports by the mere name
        names = [
            b"trapped\nspring",
            b"os\nsystem",
            b"trapped.deeper\nx",
            b"builtins\neval",
            b"torch.serialization\nload",
        ]
        out.write(b"c" + names[int(rng.integers(0, len(names)))] + b"\n(S'true'\ntR.")
    sys.modules.pop("trapped", None)  # it was imported, and left its mark, to be written down
    mark.unlink(missing_ok=True)
    return out.getvalue()


class Row:
    """One hostile or damaged file of a kind that goes by the index."""

    refusals = (ValueError,)

    def __init__(self, folder: Path, peers: bool) -> None:
        self.folder, self.peers = folder, peers
        self.mark = folder / "mark"
        (folder / "path").mkdir()
        code = f"open({str(self.mark)!r}, 'w').close()\ndef spring(*_):\n    open({str(self.mark)!r}, 'w').close()\n"
        (folder / "path" / "trapped.py").write_text(code)
        sys.path.insert(0, str(folder / "path"))
        self.data = write_dataset(folder / "data", cases=2, shape=(8, 8, 8))
        self.run = write_run(folder / "run")
        self.plan = Plan.from_json(read_json(self.run / "plan.json"), "plan")
        network = build(self.plan.network)
        self.weights = folder / "weights.safetensors"
        save_weights(self.weights, network.state_dict())
        self.checkpoints = folder / "last.pt", folder / "previous.pt"
        for step in (1, 2):
            save_checkpoint(*self.checkpoints, {**STATE, "step": step})
        self.checkpoint, self.previous = (path.read_bytes() for path in self.checkpoints)
        self.bundle = self._bundle()
        self.keras = self._keras()
        self.documents = [read_json(self.data / "dataset.json"), *(read_json(self.run / f"{n}.json")
                                                                   for n in ("plan", "recipe", "splits"))]  # fmt: skip

    def _bundle(self) -> Path:
        bundle = self.folder / "bundle"
        words = ["export", str(self.run), "--out", str(bundle), "--format", "onnx", "--threads", "1"]
        assert call(words) == 0
        self.onnx, self.facts = (bundle / "model.onnx").read_bytes(), dict(read_json(bundle / "bundle.json"))
        return bundle

    def _keras(self) -> bytes:
        import h5py

        path = self.folder / "keras.h5"
        with h5py.File(path, "w") as file:
            file.attrs["layer_names"] = [b"conv"]
            layer = file.create_group("model_weights/conv/conv")
            layer.create_dataset("kernel:0", data=np.ones((3, 3, 3, 1, 2), np.float32))
        return path.read_bytes()

    def __call__(self, index: int, rng: np.random.Generator) -> Iterator[Attack]:
        kinds: dict[str, Callable[[np.random.Generator], str]] = {
            "checkpoint, damaged": self.checkpoint_damaged,
            "checkpoint, hostile": self.checkpoint_hostile,
            "weights, damaged": self.weights_damaged,
            "dataset.json, plan, recipe, splits": self.document,
            "bundle, damaged": self.bundle_damaged,
            "bundle.json, hostile": self.bundle_hostile,
            "RUN, hostile documents": self.run_hostile,
            "ONNX, other files": self.onnx_elsewhere,
        }
        names = list(kinds)
        if index % SLOW_EVERY == 9:
            yield Attack("HDF5, damaged", lambda: self._marked(lambda _: self.hdf5(rng), rng))
            return
        name = names[index % len(names)]
        yield Attack(name, lambda: self._marked(kinds[name], rng))
        if self.peers and name == "checkpoint, hostile":
            path = self.checkpoints[0]
            for peer, only in (("torch.load", True), ("torch.load, weights_only=False", False)):
                path.write_bytes(hostile_checkpoint(self.mark, rng))
                yield Attack(peer, lambda only=only: self._marked(lambda _: self._by_torch(only), rng), peer=True)
        if self.peers and name == "checkpoint, damaged":
            yield Attack("torch.load of a damaged one", lambda: self._damaged_by_torch(rng), peer=True)

    def _marked(self, attack: Callable[[np.random.Generator], str], rng: np.random.Generator) -> str:
        """The attack's word; Bad where something was executed or imported."""
        before = set(sys.modules)
        try:
            return attack(rng)
        finally:
            new = {name for name in set(sys.modules) - before if name.startswith("trapped")}
            if self.mark.exists() or new:
                shutil.rmtree(self.mark) if self.mark.is_dir() else self.mark.unlink(missing_ok=True)
                raise Bad("executed", f"code of the file ran, or {new} were imported")

    def checkpoint_damaged(self, rng: np.random.Generator) -> str:
        """The damaged one falls back to the one before, or, where the damage changed nothing, gives the very state."""
        last, previous = self.checkpoints
        last.write_bytes(damage(self.checkpoint, rng))
        previous.write_bytes(self.previous)
        told: list[str] = []
        state = load_checkpoint(last, previous, told.append)
        if state["step"] != 2 - bool(told) or not whole(state):
            raise Bad("took damage", "a damaged state was gone on from")
        return "previous used, and told" if told else "read, values whole"

    def checkpoint_hostile(self, rng: np.random.Generator) -> str:
        last, previous = self.checkpoints
        last.write_bytes(hostile_checkpoint(self.mark, rng))
        with_previous = rng.random() < 0.5
        previous.write_bytes(self.previous if with_previous else hostile_checkpoint(self.mark, rng))
        state = load_checkpoint(last, previous)
        if not with_previous or state["step"] != 1 or not whole(state):
            raise Bad("took hostile", f"{list(state)}")
        return "previous used, and told"

    def _by_torch(self, weights_only: bool) -> str:
        torch.load(self.checkpoints[0], weights_only=weights_only)
        return "read"

    def _damaged_by_torch(self, rng: np.random.Generator) -> str:
        self.checkpoints[0].write_bytes(damage(self.checkpoint, rng))
        state = torch.load(self.checkpoints[0], weights_only=True)
        if state["step"] != 2 or not whole(state):
            raise Bad("took damage", "other values, and no word")
        return "read, values whole"

    def weights_damaged(self, rng: np.random.Generator) -> str:
        path, good = self.folder / "damaged.safetensors", self.weights.read_bytes()
        path.write_bytes(damage(good, rng))
        found = load_network(path, self.plan.network).state_dict()
        right = load_network(self.weights, self.plan.network).state_dict()
        if any(not torch.equal(found[name], right[name]) for name in right):
            raise Bad("took damage", "another network, and no word")
        return "read, values whole"

    def document(self, rng: np.random.Generator) -> str:
        place = self.data / "dataset.json"
        _, data = json_mutant(self.documents[int(rng.integers(0, len(self.documents)))], rng)
        if rng.random() < 0.1:
            data = b'{"numTraining": ' + b"9" * int(rng.choice([30, 5000])) + b"}"
        place.write_bytes(data)
        return json_parsers(place, data)

    def _write_bundle(self, document: bytes, model: bytes) -> None:
        (self.bundle / "model.onnx").write_bytes(model)
        (self.bundle / "bundle.json").write_bytes(document)

    def bundle_damaged(self, rng: np.random.Generator) -> str:
        """The model's file damaged, its sum as it was."""
        self._write_bundle(json.dumps(self.facts).encode(), damage(self.onnx, rng))
        open_model(self.bundle, threads=1)
        raise Bad("took damage", "a damaged model was opened")

    def bundle_hostile(self, rng: np.random.Generator) -> str:
        """Any document beside a sound model: it is opened and predicts, or is refused."""
        self._write_bundle(json_mutant(self.facts, rng)[1], self.onnx)
        labels = open_model(self.bundle, threads=1).predictor(IMAGE).labels
        if labels.shape != IMAGE.shape:
            raise Bad("wrong geometry", f"{labels.shape}")
        return "predicted"

    def run_hostile(self, rng: np.random.Generator) -> str:
        """One of a RUN's documents is any document: it is opened and predicts, or is refused."""
        place = self.run / f"{rng.choice(['plan', 'recipe', 'provenance'])}.json"
        good = place.read_bytes()
        place.write_bytes(json_mutant(json.loads(good), rng)[1])
        try:
            opened = open_model(self.run, device="cpu", threads=1)
            opened.selection()
            labels = opened.predictor(IMAGE).labels
        finally:
            place.write_bytes(good)
        if labels.shape != IMAGE.shape:
            raise Bad("wrong geometry", f"{labels.shape}")
        return "predicted"

    def onnx_elsewhere(self, rng: np.random.Generator) -> str:
        """Weights in other files, beside the model or far from it."""
        import onnx

        model = onnx.load_model_from_string(self.onnx)
        tensor = model.graph.initializer[int(rng.integers(0, len(model.graph.initializer)))]
        places = ["inside.bin", "../outside.bin", "/etc/passwd", "link.bin", "/dev/zero", "../" * 9 + "etc/passwd",
                  "\0", "http://example.org/w", "*/_ORT_MEM_ADDR_/*", "a" * 5000]  # fmt: skip
        (self.bundle / "inside.bin").write_bytes(bytes(1 << 16))
        tensor.ClearField("raw_data")
        tensor.ClearField("float_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        facts = {"location": places[int(rng.integers(0, len(places)))], "offset": "0"}
        if rng.random() < 0.5:
            facts["length"] = str(rng.choice([4, -1, 2**62]))
        for key, value in facts.items():
            entry = tensor.external_data.add()
            entry.key, entry.value = key, value
        self._write_bundle(b"{}", model.SerializeToString())
        OnnxEngine(self.bundle / "model.onnx", 1)
        raise Bad("took hostile", f"opened {facts}")

    def hdf5(self, rng: np.random.Generator) -> str:
        path = self.folder / "mutant.h5"
        path.write_bytes(damage(self.keras, rng))
        read_keras(path)
        return "read"
