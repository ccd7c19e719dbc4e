"""`decaseg draw`: pictures of an evaluation's cases that have none yet, the lowest Dice first."""

from __future__ import annotations

import shlex
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from decaseg.reporting.amounts import duration
from decaseg.reporting.case_pictures import Shown, check_drawing, draw_case, drop_pictures, is_drawn
from decaseg.reporting.look import Look
from decaseg.reporting.material import Row, read_scores
from decaseg.reporting.overlay import case_caption
from decaseg.reporting.progress import progress
from decaseg.reporting.viewer.exhibit import Case, Exhibition, label_map, named_values
from decaseg.storage import nifti
from decaseg.storage.files import sha256_of
from decaseg.storage.output import only_writer
from decaseg.workflows.view import Wishes, evaluation_in, gather


def run(folder: Path, look: Look | None = None, again: bool = False) -> int:
    """Draws what DIR, an evaluation's folder or one that holds it as `evaluation/`, has no pictures of; returns 0.

    `again`: of all its cases, also where pictures are. ValueError where they would not be of the scores that are there.
    """
    look = look or Look()
    check_drawing(look)
    found = evaluation_in(folder)
    if found is None:
        raise ValueError(f"{folder}: has no metrics.json; name the folder that decaseg evaluate wrote")
    begun = time.perf_counter()
    with only_writer(found, "overlays", option="DIR"):
        drawn, cases = draw_rest(found, look, again)
    if drawn:
        took = duration(time.perf_counter() - begun)
        print(f"drawn: {drawn} of {cases} cases in {took}, in {found / 'overlays'} (next: decaseg report {found})")
    else:
        print(f"{found}: all {cases} cases have these pictures; --again draws them anew")
    return 0


def draw_rest(folder: Path, look: Look, again: bool = False) -> tuple[int, int]:
    """Draws the cases whose pictures are not all there; how many those were, and how many cases there are.

    One case is held in memory at a time. Whatever stops it, Ctrl-C and SIGTERM included, is raised after a line on
    standard error that says what draws the rest. The folder is the caller's alone.
    """
    exhibition, scores = gather(folder, Wishes()), read_scores(folder)
    stems = {case.name: folder / "overlays" / case.name for case in exhibition.cases}
    rest = [case for case in exhibition.cases if again or not is_drawn(stems[case.name], look)]
    _check_scored(rest, scores.other.get("predictions_sha256"))
    if again:
        for case in rest:  # all before the first is drawn: what a stop leaves to be done is what has no pictures
            drop_pictures(stems[case.name])
    done = 0
    try:
        with _ended_politely(), progress("drawing", lines=True) as advance:
            for case in rest:
                draw_case(stems[case.name], _shown(case, exhibition, scores.cases[case.name]), look)
                done += 1
                advance(done, len(rest))
    except BaseException:
        command = rest_command(folder, look)
        print(f"pictures of {done} of {len(rest)} cases are drawn, all scores are safe; the rest: {command}",
              file=sys.stderr, flush=True)  # fmt: skip
        raise
    return len(rest), len(exhibition.cases)


def rest_command(folder: Path, look: Look) -> str:
    """What a person types for the pictures that are missing.

    >>> rest_command(Path("my scores"), Look(animations=("gif",)))
    "decaseg draw 'my scores' --animations gif"
    """
    return shlex.join(["decaseg", "draw", str(folder), *look.options])


def _check_scored(cases: Sequence[Case], hashes: Any) -> None:
    """ValueError where a prediction is not the one that was scored: its caption would lie.

    Scores that came before `predictions_sha256` did are believed.
    """
    for case in cases:
        if case.prediction is None:
            raise ValueError(f"{case.image}: has no prediction beside it; run decaseg evaluate again")
        scored = hashes.get(case.name) if isinstance(hashes, Mapping) else None
        if scored is not None and sha256_of(case.prediction) != scored:
            raise ValueError(
                f"{case.prediction}: is not the prediction that metrics.json has the scores of, as after an evaluation "
                "that was stopped; run decaseg evaluate again"
            )


def _shown(case: Case, exhibition: Exhibition, rows: Mapping[str, Row]) -> Shown:
    image = nifti.read(case.image)
    assert case.prediction is not None  # _check_scored
    prediction = label_map(case.prediction, image)
    truth = None if case.truth is None else label_map(case.truth, image)
    names = exhibition.names or named_values([m for m in (prediction, truth) if m], {}, case)
    channel = exhibition.channel if exhibition.channel < image.array.shape[0] else 0
    return Shown(image, prediction, truth, names, case_caption(case.name, rows), channel)


@contextmanager
def _ended_politely() -> Iterator[None]:
    """SIGTERM is what Ctrl-C is inside the `with`: schedulers send it, and a person should read what it left."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # which alone hears signals
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


__all__: Sequence[str] = ("draw_rest", "rest_command", "run")
