"""`decaseg demo`: the whole loop on generated brain tumours, in minutes."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

from decaseg.data.phantom import write_dataset
from decaseg.recipes import Recipe, quick
from decaseg.reporting.progress import progress
from decaseg.storage.bundle import BundleDir
from decaseg.storage.files import read_json
from decaseg.workflows import check, evaluate, export, report, train

CASES = 24
OURS = ("data", "run", "evaluation", "bundle", "bundle_evaluation", "report")


def recipe(minutes: float) -> Recipe:
    """A small network for 2 mm brains: so few minutes on two cores that nothing is learnt by heart."""
    return quick().with_choices(
        minutes=minutes,
        base_filters=16,
        rotation_deg=20.0,
        rotation_share=0.4,
        scale_low=0.8,
        scale_high=1.25,
        scale_share=0.4,
        elastic_share=0.0,
        smooth_labels=False,
        intensity_strength=1.0,
        augment_ramp=60.0,
        weight_decay=0.01,
        lr_end=0.0,
        members=1,
        average_decay=0.99,
        patch=(48, 48, 48),
        batch_size=2,
        foreground_share=0.8,
        steps_per_epoch=40,
        validation_cases=2,
        val_fraction=0.25,
    )


def run(out: Path, minutes: float = 3.0, cases: int = CASES, seed: int = 0, spacing_mm: float = 2.0) -> int:
    """Generates data, checks, trains, evaluates, exports, scores the export, reports; returns 0 or the first failure.

    Everything lands under `out`; a demo made there before is replaced, anything else is left alone and refused.
    """
    started = time.perf_counter()
    _make_room(out)
    data = out / "data"
    _say(1, f"generating {cases} brain-tumour cases at {spacing_mm:g} mm")
    with progress("generating", lines=True) as advance:
        write_dataset(data, cases=cases, seed=seed, spacing_mm=spacing_mm, on_case=advance)
    _say(2, "checking the data (decaseg check)")
    if code := check.run(data):
        return code
    _say(3, f"training for {minutes:g} minutes (decaseg train)")
    if code := train.run(data, out / "run", recipe(minutes)):
        return code
    _say(4, "evaluating the trained model on full volumes it never saw (decaseg evaluate)")
    if code := evaluate.run(out / "run", data, out / "evaluation"):
        return code
    _say(5, "exporting to OpenVINO with a parity gate (decaseg export)")
    if code := export.run(out / "run", out / "bundle", data=data):
        return code
    _say(6, "scoring the export (decaseg evaluate bundle)")
    if code := evaluate.run(out / "bundle", data, out / "bundle_evaluation", look=None):
        return code
    _say(7, "writing the report (decaseg report)")
    if code := report.run(out / "evaluation", out / "run", out / "bundle", out / "report" / "index.html"):
        return code
    trained = read_json(out / "evaluation" / "metrics.json")["mean_dice"]
    exported = read_json(out / "bundle_evaluation" / "metrics.json")["mean_dice"]
    cases_scored = BundleDir(out / "bundle").read()["parity"]["cases"]
    print()
    print(f"done in {(time.perf_counter() - started) / 60:.1f} min, {cases_scored} unseen cases, full volumes")
    print(f"mean Dice of the trained model:    {trained:.4f}")
    print(f"mean Dice of its OpenVINO export:  {exported:.4f}")
    print(f"report: {(out / 'report' / 'index.html').resolve()}")
    return 0


def _make_room(out: Path) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise ValueError(f"--out {out}: is a file; name a folder")
    strange = sorted(p.name for p in out.iterdir() if p.name not in OURS)
    if strange:
        raise ValueError(f"--out {out}: holds {strange[0]}, which no demo wrote; name another folder")
    for name in OURS:
        shutil.rmtree(out / name, ignore_errors=True)


def _say(number: int, what: str) -> None:
    print(f"\n[{number}/7] {what}", file=sys.stderr, flush=True)
