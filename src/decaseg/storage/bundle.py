"""The folder one export writes: every path and the document in it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decaseg.storage.files import read_json, sync_folder

FORMAT = 1
MAKING = ".making"  # in a bundle, what an export has not finished
MODEL_FILES = {"openvino": "model.xml", "onnx": "model.onnx"}
PARTS: dict[type, tuple[str, ...]] = {  # of bundle.json, where they are there
    dict: ("plan", "sha256", "parity", "postprocessing"),
    str: ("model_format", "precision", "compute_precision", "input_check"),
}


def model_files(form: str) -> tuple[str, ...]:
    """The files of a bundle that hold its model."""
    return {"openvino": ("model.xml", "model.bin"), "onnx": ("model.onnx",)}[form]


@dataclass(frozen=True)
class BundleDir:
    """Paths of a BUNDLE; nothing is created by asking for one."""

    root: Path

    @property
    def document(self) -> Path:
        return self.root / "bundle.json"

    @property
    def card(self) -> Path:
        return self.root / "MODEL_CARD.md"

    @property
    def weights(self) -> Path:
        return self.root / "model.bin"

    def model(self, form: str) -> Path:
        return self.root / MODEL_FILES[form]

    @property
    def making(self) -> BundleDir:
        """Where an export makes what is to stand here."""
        return BundleDir(self.root / MAKING)

    def is_free(self) -> bool:
        """Whether an export may write here: there is nothing, a bundle, or what a killed export left of one."""
        if not self.root.exists() or self.is_bundle():
            return True
        return self.root.is_dir() and (self.making.root.is_dir() or not any(self.root.iterdir()))

    def take(self) -> None:
        """Puts what was made in `making` here, in place of the bundle that stands here; bundle.json goes first and
        comes last, so that a kill in between leaves none. OSError leaves the old one as it was."""
        names = [self.document.name, self.card.name, *MODEL_FILES.values(), self.weights.name]
        self._old.mkdir()
        moves = [(self.root / name, self._old / name) for name in names if (self.root / name).exists()]
        moves += [(self.making.root / name, self.root / name) for name in reversed(names)
                  if (self.making.root / name).exists()]  # fmt: skip
        done = []
        try:
            for source, target in moves:
                source.replace(target)
                done.append((source, target))
        except OSError:
            for source, target in reversed(done):
                target.replace(source)
            raise
        sync_folder(self.root)
        self.drop_making()

    def drop_making(self) -> None:
        """Removes what an export left in `making`, after putting back the bundle that it had moved there, if any."""
        if not self.is_bundle() and (self._old / self.document.name).is_file():
            for path in sorted(self._old.iterdir(), key=lambda path: path.name == self.document.name):
                path.replace(self.root / path.name)
        shutil.rmtree(self.making.root, ignore_errors=True)

    @property
    def _old(self) -> Path:
        return self.making.root / "old"

    def remove_models(self) -> None:
        """Removes every model with document and card; the folder too, where nothing else is in it."""
        for path in (self.document, *(self.root / name for name in MODEL_FILES.values()), self.weights, self.card):
            path.unlink(missing_ok=True)
        with suppress(OSError):  # absent, or somebody's files are in it
            self.root.rmdir()

    def is_bundle(self) -> bool:
        return self.document.is_file()

    def read(self) -> Mapping[str, Any]:
        """bundle.json; ValueError, naming it, where it is not one this version reads."""
        document = read_json(self.document)
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise ValueError(f"{self.document}: is not a bundle this version of decaseg reads; export it again")
        if str(document.get("model_format")) not in MODEL_FILES:
            raise ValueError(f"{self.document}: names no known model format; export it again")
        for kind, names in PARTS.items():
            for name in names:
                if not isinstance(document.get(name), kind | None):
                    raise ValueError(f"{self.document}: its {name} is not what an export writes; export it again")
        return document
