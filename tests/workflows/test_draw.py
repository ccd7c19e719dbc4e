"""Scores come first, pictures after them: what stops the drawing loses no score, and `draw` goes on where it was."""

import hashlib
import json
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from decaseg.cli import call
from decaseg.reporting import case_pictures
from decaseg.storage import nifti
from decaseg.storage.files import read_json, write_json
from decaseg.storage.output import only_writer
from tests.synthetic import write_dataset

STILLS = ["--animations", "none"]
SCORES = ("metrics.json", "metrics.csv", "calibration.json")
DRAWING = """
import os, signal, sys, threading
from decaseg.cli import main
from decaseg.workflows import draw

real, made = draw.draw_case, []

def drawn(stem, shown, look):
    if made:
        os.kill(os.getpid(), int(sys.argv[1]))
        threading.Event().wait(60)  # a handler runs at the latest here
    made.append(stem)
    real(stem, shown, look)

draw.draw_case = drawn
main(sys.argv[2:])
"""


def evaluate(tiny, out, *more):
    words = ["--data", f"{tiny}/data", "--out", f"{out}", "--cases", "all", "--threads", "1", *STILLS, *more]
    return call(["evaluate", f"{tiny}/bundle", *words])


def drawn(out):
    return {path.name: path.read_bytes() for path in sorted((out / "overlays").glob("*"))}


def worst_first(out):
    cases = read_json(out / "metrics.json")["cases"]
    means = {case: np.mean([row["dice"] for row in rows.values()]) for case, rows in cases.items()}
    return sorted(means, key=lambda case: (means[case], case))


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory):
    """An evaluation of six cases that nothing disturbed, with stills."""
    out = tmp_path_factory.mktemp("whole") / "e"
    assert evaluate(tiny, out) == 0
    return out


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "e")


def stopping(error, after, seen):
    """A `draw_case` that raises at case number `after` + 1, and writes down what it was called with."""

    def draw_case(stem, shown, look):
        seen.append(stem.name)
        if len(seen) > after:
            raise error
        case_pictures.draw_case(stem, shown, look)

    return draw_case


def test_scores_are_written_and_printed_before_the_first_picture_is_drawn(tiny, tmp_path, monkeypatch, capsys):
    out, seen = tmp_path / "e", []

    def draw_case(stem, *_):
        if not seen:
            assert all((out / name).is_file() for name in SCORES)
            printed = capsys.readouterr()
            assert "mean Dice" in printed.out and f"scores are written: {out}" in printed.out
            assert f"decaseg draw {out} --animations none draws the rest" in printed.err
            assert len(list((out / "predictions").glob("*_pred.nii.gz"))) == 6
        seen.append(stem.name)

    monkeypatch.setattr("decaseg.workflows.draw.draw_case", draw_case)
    assert evaluate(tiny, out) == 0
    assert seen == worst_first(out) and len(seen) == 6
    last = capsys.readouterr().out.splitlines()
    assert last[0].startswith("pictures took ") and last[1] == f"written: {out} (next: decaseg report {out})"


@pytest.mark.parametrize(
    ("error", "code", "last"),
    [
        (KeyboardInterrupt(), 130, "pictures of 2 of 6 cases are drawn"),
        (OSError(28, "No space left on device", "e.png"), 2, "decaseg: e.png: No space left on device; check the path"),
        (ValueError("x: cannot be drawn; leave it out"), 2, "decaseg: x: cannot be drawn; leave it out"),
    ],
)
def test_what_stops_the_drawing_leaves_the_scores_and_says_what_draws_the_rest(
    tiny, whole, tmp_path, monkeypatch, capsys, error, code, last
):
    out, seen = tmp_path / "my scores", []
    monkeypatch.setattr("decaseg.workflows.draw.draw_case", stopping(error, 2, seen))
    assert evaluate(tiny, out, "--palette", "safe", "--json") == code
    printed = capsys.readouterr()
    rest = f"decaseg draw '{out}' --palette safe --animations none"
    told = [line for line in printed.err.splitlines() if line]
    assert told[-2 if code == 2 else -1] == f"pictures of 2 of 6 cases are drawn, all scores are safe; the rest: {rest}"
    assert told[-1].startswith(last)
    written = read_json(out / "metrics.json")
    assert json.loads(printed.out) == written and written["cases"] == read_json(whole / "metrics.json")["cases"]
    assert list(drawn(out)) == sorted(f"{case}.png" for case in seen[:2])
    monkeypatch.undo()
    before = drawn(out)
    assert call(["draw", str(out), "--palette", "safe", *STILLS]) == 0
    assert "drawn: 4 of 6 cases in" in capsys.readouterr().out
    assert drawn(out) == before | drawn(out) and len(drawn(out)) == 6  # the two were left alone


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)])
def test_signals_while_drawing(tiny, whole, tmp_path, number, code):
    out = tmp_path / "e"
    words = ["evaluate", f"{tiny}/bundle", "--data", f"{tiny}/data", "--out", str(out), "--cases", "all", *STILLS,
             "--threads", "1"]  # fmt: skip
    done = subprocess.run([sys.executable, "-c", DRAWING, str(int(number)), *words], capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert f"scores are written: {out}" in done.stdout and "a stop loses no scores" in done.stderr
    assert ("the rest: decaseg draw" in done.stderr) == (code == 130) and "Traceback" not in done.stderr
    assert (out / "metrics.json").read_bytes() == (whole / "metrics.json").read_bytes()
    assert list(drawn(out)) == [f"{worst_first(out)[0]}.png"]
    assert call(["draw", str(out), *STILLS]) == 0
    assert drawn(out) == drawn(whole)  # as if nothing had happened


def test_old_pictures_never_stand_beside_new_scores(tiny, folder, monkeypatch, capsys):
    """Whatever kind they are of, and whether new ones are drawn or not."""
    (folder / "overlays" / "case_000_3d.mp4").write_bytes(b"old")
    (folder / "overlays" / "mine.txt").write_bytes(b"not ours")
    assert evaluate(tiny, folder, "--no-pictures") == 0
    assert set(drawn(folder)) == {"mine.txt"}
    assert call(["draw", str(folder), *STILLS]) == 0
    monkeypatch.setattr("decaseg.workflows.draw.draw_case", stopping(KeyboardInterrupt(), 0, []))
    assert evaluate(tiny, folder) == 130
    assert set(drawn(folder)) == {"mine.txt"}


def test_an_evaluation_stopped_over_an_older_one_keeps_that_ones_scores_and_pictures(tiny, folder, monkeypatch, capsys):
    before = drawn(folder)
    scores = (folder / "metrics.json").read_bytes()

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("decaseg.workflows.evaluate.summarise", stop)
    assert evaluate(tiny, folder, "--step", "1") == 130
    assert drawn(folder) == before and (folder / "metrics.json").read_bytes() == scores


def test_draw_draws_what_is_missing_and_no_more(folder, capsys):
    before, (first, second, *_) = drawn(folder), worst_first(folder)
    (folder / "overlays" / f"{second}.png").unlink()
    (folder / "overlays" / f"{first}.png").write_bytes(b"looked at")
    (folder / "overlays" / ".x.0123abcd.tmp.png").write_bytes(b"left by a kill")
    assert call(["draw", str(folder), *STILLS]) == 0
    assert "drawn: 1 of 6 cases" in capsys.readouterr().out
    assert drawn(folder) == before | {f"{first}.png": b"looked at"}
    assert call(["draw", str(folder.parent / "e"), *STILLS]) == 0
    assert "all 6 cases have these pictures; --again" in capsys.readouterr().out
    assert call(["draw", str(folder), *STILLS, "--again"]) == 0
    assert drawn(folder) == before


def test_the_worst_case_is_drawn_first(folder, monkeypatch):
    document, seen = read_json(folder / "metrics.json"), []
    for number, dice in enumerate((0.8, 0.7, 0.2, 0.9, 0.1, 0.3)):
        for scores in document["cases"][f"case_{number:03d}"].values():
            scores["dice"] = dice
    write_json(folder / "metrics.json", document)
    monkeypatch.setattr("decaseg.workflows.draw.draw_case", lambda stem, *_: seen.append(stem.name))
    assert call(["draw", str(folder), *STILLS, "--again"]) == 0
    assert seen == worst_first(folder) and seen[:3] == ["case_004", "case_002", "case_005"] and len(seen) == 6


def test_again_in_another_palette_is_all_of_that_palette_even_after_a_stop(folder, monkeypatch, capsys):
    before = drawn(folder)
    (folder / "overlays" / "case_000.gif").write_bytes(b"in the old palette")
    monkeypatch.setattr("decaseg.workflows.draw.draw_case", stopping(KeyboardInterrupt(), 1, []))
    words = ["draw", str(folder), "--palette", "safe", *STILLS]
    assert call([*words, "--again"]) == 130
    assert len(drawn(folder)) == 1
    monkeypatch.undo()
    assert call(words) == 0
    found = drawn(folder)
    assert set(found) == set(before) and not any(found[name] == before[name] for name in before)


def test_a_prediction_that_was_not_scored_is_not_drawn_under_its_scores(folder, capsys):
    """As after an evaluation that was stopped over this one: some predictions are the new ones."""
    case = worst_first(folder)[0]
    path, before = folder / "predictions" / f"{case}_pred.nii.gz", drawn(folder)
    volume = nifti.read(path)
    nifti.write(path, volume.with_array(np.ones_like(volume.array)))
    assert call(["draw", str(folder), *STILLS, "--again"]) == 2
    told = capsys.readouterr().err.strip()
    assert len(told.splitlines()) == 1 and str(path) in told and "run decaseg evaluate again" in told
    assert drawn(folder) == before
    document = read_json(folder / "metrics.json")
    assert document["predictions_sha256"].pop(case) != hashlib.sha256(path.read_bytes()).hexdigest()
    write_json(folder / "metrics.json", document | {"predictions_sha256": None})  # as scores of before have none
    assert call(["draw", str(folder), *STILLS, "--again"]) == 0
    path.unlink()
    assert call(["draw", str(folder), *STILLS, "--again"]) == 2
    assert "has no prediction beside it" in capsys.readouterr().err


def test_two_at_once_are_one_and_a_folder_without_images_is_refused(folder, tmp_path, capsys):
    with only_writer(folder):
        assert call(["draw", str(folder), *STILLS]) == 2
    assert f"DIR {folder}: another process is writing there" in capsys.readouterr().err
    assert call(["draw", str(tmp_path / "none"), *STILLS]) == 2
    assert "has no metrics.json" in capsys.readouterr().err and not (tmp_path / "none").exists()
    folder.rename(tmp_path / "evaluation")
    assert call(["draw", str(tmp_path), *STILLS]) == 0  # holds it as evaluation/
    shutil.rmtree(tmp_path / "evaluation" / "predictions")
    assert call(["draw", str(tmp_path), *STILLS]) == 2
    assert "score does not" in capsys.readouterr().err


def test_pictures_and_viewers_have_the_channels_that_the_model_has(tmp_path, capsys):
    """Of a data set whose files hold the same channels in another order: the picture is the same."""
    words = ["--set", "base_filters=4", "max_levels=2", "steps_per_epoch=2", "epochs=1", "--threads", "1"]
    one = write_dataset(tmp_path / "one", cases=3, shape=(18, 20, 16), channels=("FLAIR", "T1w"))
    other = shutil.copytree(one, tmp_path / "other")
    document = read_json(other / "dataset.json")
    write_json(other / "dataset.json", document | {"modality": {"0": "T1w", "1": "FLAIR"}})
    for path in (other / "imagesTr").iterdir():
        volume = nifti.read(path)
        nifti.write(path, volume.with_array(volume.array[::-1].copy()))
    assert call(["train", str(one), "--out", f"{tmp_path}/run", *words]) == 0
    for data in (one, other):
        words = ["--data", str(data), "--out", f"{tmp_path}/e-{data.name}", "--threads", "1", *STILLS]
        assert call(["evaluate", f"{tmp_path}/run", *words]) == 0
    mine, theirs = tmp_path / "e-one", tmp_path / "e-other"
    assert read_json(theirs / "metrics.json")["shown"]["channels"] == ["FLAIR", "T1w"]
    for path in (mine / "predictions").iterdir():
        np.testing.assert_array_equal(nifti.read(theirs / "predictions" / path.name).array, nifti.read(path).array)
    assert drawn(mine) == drawn(theirs) and drawn(mine)
