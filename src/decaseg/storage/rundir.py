"""The folder one training writes: every path of a run is a property here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class RunDir:
    """Paths of a RUN; nothing is created by asking for one."""

    root: Path

    @property
    def plan(self) -> Path:
        return self.root / "plan.json"

    @property
    def fingerprint(self) -> Path:
        return self.root / "fingerprint.json"

    @property
    def recipe(self) -> Path:
        return self.root / "recipe.json"

    @property
    def splits(self) -> Path:
        return self.root / "splits.json"

    @property
    def provenance(self) -> Path:
        return self.root / "provenance.json"

    @property
    def log(self) -> Path:
        return self.root / "log.jsonl"

    @property
    def tensorboard(self) -> Path:
        return self.root / "tensorboard"

    @property
    def checkpoint(self) -> Path:
        return self.root / "checkpoints" / "last.pt"

    @property
    def previous_checkpoint(self) -> Path:
        return self.root / "checkpoints" / "previous.pt"

    @property
    def weights(self) -> Path:
        return self.root / "weights.safetensors"

    @property
    def postprocessing(self) -> Path:
        return self.root / "postprocessing.json"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def report(self) -> Path:
        return self.root / "report" / "index.html"

    @property
    def lock(self) -> Path:
        return self.root / ".lock"

    def is_run(self) -> bool:
        return self.plan.is_file() and self.recipe.is_file()

    def events(self) -> Iterator[dict[str, Any]]:
        """The log's events in order; a line torn by a kill is passed over."""
        if not self.log.is_file():
            return
        with self.log.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                try:
                    event = json.loads(line)
                except json.JSONDecodeError:
                    continue
                if isinstance(event, dict):
                    yield event
