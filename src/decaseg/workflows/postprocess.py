"""`decaseg postprocess`: chooses on the RUN's own validation cases what is cleaned of its predictions, if anything."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from decaseg.inference.choose_postprocess import MIN_CASES, Choice, Judged, choose
from decaseg.metrics.case import without_ignored
from decaseg.reporting.progress import progress
from decaseg.reporting.table import print_facts
from decaseg.storage.files import sha256_of, write_json
from decaseg.storage.layouts import read_dataset
from decaseg.storage.rundir import RunDir
from decaseg.workflows.evaluate import choose_cases, read_pair
from decaseg.workflows.matching import as_known
from decaseg.workflows.opening import open_model


def run(
    source: Path,
    data: Path,
    tta: bool = False,
    step: float = 0.5,
    device: str = "auto",
    threads: int | None = None,
    as_json: bool = False,
    layout: str | None = None,
) -> int:
    """Predicts the validation cases whole, tries operations on the label maps, writes RUN/postprocessing.json; 0.

    What is written there is used from then on by evaluate, predict and export. ValueError where `source` is no RUN or
    `data` has none of its validation cases.
    """
    folder = RunDir(source)
    if not folder.is_run():
        raise ValueError(f"{source}: is no RUN (no plan.json and recipe.json in it); name the folder train wrote")
    opened = open_model(source, tta=tta, step=step, device=device, threads=threads, postprocessing=False)
    dataset = as_known(read_dataset(data, layout), opened.plan)
    files, _ = choose_cases(opened, dataset, "val")
    target, judged = opened.plan.target, list[Judged]()
    with progress("predicting", lines=True) as advance:
        for number, case in enumerate(files, 1):
            image, truth = read_pair(case, dataset.known_values)
            try:
                labels = opened.predictor(image).labels
            except ValueError as error:
                raise ValueError(f"{case.image}: {error}") from None
            found, true = without_ignored(labels.array, truth.array, dataset.ignore)
            judged.append(Judged.of(labels.with_array(found), truth.with_array(true)))
            advance(number, len(files))
    with progress("trying operations", lines=True) as advance:
        choice = choose(judged, target, advance)
    document = choice.to_json() | {
        "chosen_on": [case.case for case in files],
        "tta": tta,
        "step": step,
        "weights_sha256": sha256_of(folder.weights),
    }
    write_json(folder.postprocessing, document)
    if as_json:
        print(json.dumps(document, ensure_ascii=False, allow_nan=False))
    else:
        _say(choice, len(files), f"decaseg evaluate {source} --data {data} --out {source.parent / 'evaluation'}")
    return 0


def _say(choice: Choice, cases: int, then: str) -> None:
    rows = [
        (f"{trial.structure}: {trial.does}", f"{trial.gain:+.4f}", "adopted" if trial.adopted else trial.reason)
        for trial in sorted(choice.trials, key=lambda trial: (not trial.adopted, -trial.gain))
        if trial.adopted or trial.reason != "changes nothing"
    ]
    if rows:
        print_facts(f"change of mean Dice over {cases} validation cases", rows)
    if cases < MIN_CASES:
        print(f"{cases} validation cases are too few to choose by; it takes {MIN_CASES}", file=sys.stderr)
    if not choice.chosen.does_something:
        print(f"nothing helps: predictions stay as they are (next: {then})")
        return
    before, after = (sum(means.values()) / len(means) for means in (choice.before, choice.after))
    print(
        f"chosen: {choice.chosen.words()}\nmean Dice {before:.4f} -> {after:.4f} on the {cases} cases that chose it; "
        f"evaluate, predict and export use it from now on (next: {then})"
    )
