"""What `decaseg export` does once a bundle is there: scores and licence into its card, its model into a repository."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from decaseg.exporting.card_facts import evaluation_facts
from decaseg.exporting.model_card import model_card
from decaseg.exporting.model_repository import check_repository, write_model_repository
from decaseg.planning.plan import Plan
from decaseg.storage.bundle import BundleDir
from decaseg.storage.files import read_json, write_json, write_text
from decaseg.storage.rundir import RunDir


@dataclass(frozen=True)
class Publishing:
    """What was asked for; `name` is what the model is called in the repository, None: as the bundle's folder."""

    evaluation: Path | None = None
    licence: str | None = None
    repository: Path | None = None
    name: str | None = None

    def check(self, run: Path, out: Path) -> Publishing:
        """Itself. ValueError for what could not be done afterwards, so that it is said before the work."""
        if self.name is not None and self.repository is None:
            raise ValueError(f"--served-name {self.name}: needs the folder it is put into; add --model-repository DIR")
        if self.repository is not None:
            check_repository(self.repository, self._served(out))
        folder = RunDir(run)
        if self.evaluation is not None and folder.is_run():
            _refuse_others(self.evaluation, folder)
            plan = Plan.from_json(read_json(folder.plan), str(folder.plan))
            evaluation_facts(self.evaluation, {"plan": plan.to_json()})
        return self

    def finish(self, out: Path, code: int) -> int:
        """Adds to the bundle and publishes it, where `code` (export's) says that it may be used; returns `code`."""
        bundle = BundleDir(out)
        if bundle.is_bundle() and (self.evaluation is not None or self.licence is not None):
            document = dict(bundle.read())
            if self.evaluation is not None:
                document["evaluation"] = evaluation_facts(self.evaluation, document)
            if self.licence is not None:
                document["licence"] = self.licence.strip()
            write_json(bundle.document, document)
            write_text(bundle.card, model_card(document))
        if self.repository is not None and code == 0:
            version = write_model_repository(bundle, self.repository, self._served(out))
            notes = version.parent / "README.md"
            print(f"served as {version.parent.name}, version {version.name}: {notes} has the request")
        elif self.repository is not None:
            print(f"{self.repository}: nothing was put there, since the export is not to be used")
        return code

    def _served(self, out: Path) -> str:
        if self.name is not None:
            return self.name
        return re.sub(r"[^A-Za-z0-9_.-]+", "-", out.resolve().name).strip("-._")[:64] or "model"


def _refuse_others(evaluation: Path, run: RunDir) -> None:
    """ValueError where the evaluation says that it is another RUN's."""
    origin = evaluation / "evaluation.json"
    if origin.is_file() and (evaluation / str(read_json(origin).get("run"))).resolve() != run.root.resolve():
        raise ValueError(f"--evaluation {evaluation}: is another RUN's; evaluate {run.root}")
