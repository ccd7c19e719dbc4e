"""The models that come with the package: their folders, what they are, and how a name finds them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decaseg.storage.files import read_json

ROOT = Path(__file__).resolve().parent.parent / "models"
RUN = "run"
BUNDLES = ("fp16", "int8")  # the first is what the bare name stands for


@dataclass(frozen=True)
class Shipped:
    """One model: `root` holds a RUN in `run`, a BUNDLE a precision, and `model.json`, which says what it is."""

    root: Path

    @property
    def name(self) -> str:
        return self.root.name

    @property
    def run(self) -> Path:
        return self.root / RUN

    @property
    def default(self) -> Path:
        """The bundle that the bare name stands for."""
        return self.root / BUNDLES[0]

    @property
    def card(self) -> Path:
        return self.root / "MODEL_CARD.md"

    def facts(self) -> dict[str, Any]:
        """model.json: summary, input, training, scores, licence."""
        document = read_json(self.root / "model.json")
        assert isinstance(document, dict)
        return document

    def precisions(self) -> list[str]:
        """The precisions there are bundles for."""
        return [precision for precision in BUNDLES if (self.root / precision / "bundle.json").is_file()]


def shipped(root: Path = ROOT) -> dict[str, Shipped]:
    """Every model of the package by name."""
    return {path.parent.name: Shipped(path.parent) for path in sorted(root.glob("*/model.json"))}


def folder_of(model: Path, run: bool = False, root: Path = ROOT) -> Path | None:
    """The folder that a name such as `flair-whole-tumor` or `flair-whole-tumor/int8` stands for, else None.

    `run`: where the bare name is to mean the RUN (to train on, or for torch). What is really there under that path
    comes first: names never hide files.
    """
    if model.exists() or model.is_absolute() or not 1 <= len(model.parts) <= 2:
        return None
    found = shipped(root).get(model.parts[0])
    if found is None:
        return None
    if len(model.parts) == 1:
        return found.run if run else found.default
    return found.root / model.parts[1] if model.parts[1] in (RUN, *found.precisions()) else None


def known_names(root: Path = ROOT) -> str:
    """For messages: the names, or that there are none."""
    return ", ".join(shipped(root)) or "none"
