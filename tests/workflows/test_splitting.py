"""Splits through `decaseg train`: groups, explicit lists, the same image under two ids; each wrong use in one line."""

import json

import numpy as np
import pytest

from decaseg.cli import call
from decaseg.storage import nifti
from decaseg.volume import Volume
from decaseg.workflows import fitting
from tests.synthetic import write_dataset

SMALL = ["--threads", "1", "--device", "cpu", "--base-filters", "4", "--patch", "8", "8", "8"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Six cases, of which case_004 is case_001 again: turned, as float32, in another header."""
    root = write_dataset(tmp_path_factory.mktemp("splitting") / "data", cases=6, shape=(16, 16, 16))
    for folder, dtype in (("imagesTr", np.float32), ("labelsTr", np.uint8)):
        volume = nifti.read(root / folder / "case_001.nii.gz")
        turned = volume.array.astype(dtype)[:, ::-1].transpose(0, 2, 1, 3)
        affine = volume.affine @ np.array([[0, -1, 0, 15], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
        nifti.write(root / folder / "case_004.nii.gz", Volume.of(np.ascontiguousarray(turned), affine))
    return root


@pytest.fixture
def split(data, tmp_path, monkeypatch):
    """From words of `train` to splits.json and provenance's record; the training itself is left out."""
    monkeypatch.setattr(fitting, "fit", lambda *_: True)

    def ask(*words, source=data):
        run = tmp_path / f"run{len(list(tmp_path.iterdir()))}"
        assert call(["train", f"{source}", "--out", f"{run}", *SMALL, *words]) == 0
        return [json.loads((run / name).read_text()) for name in ("splits.json", "provenance.json")]

    return ask


@pytest.mark.parametrize("words", [f"--fold {k}" for k in range(5)] + [f"--seed {s}" for s in range(4)])
def test_the_same_image_under_two_ids_is_told_by_its_voxels_and_kept_together(split, words, capsys):
    lists, record = split(*words.split())
    assert "case_001 and case_004 hold the same image" in capsys.readouterr().err
    assert record["split"]["same_images"] == [["case_001", "case_004"]]
    assert {"case_001", "case_004"} <= set(lists["train"]) or {"case_001", "case_004"} <= set(lists["val"])


def test_groups_by_csv(split, data, tmp_path, capsys):
    (tmp_path / "g.csv").write_text("case,site,patient\n" + "".join(f"case_00{n},x,p{n % 3}\n" for n in range(6)))
    lists, record = split("--group", f"{tmp_path}/g.csv", "--group-by", "patient", "--val-fraction", "0.3")
    # case_001 and case_004 are one image too, and patient 1
    assert lists["val"] in (["case_000", "case_003"], ["case_002", "case_005"], ["case_001", "case_004"])
    assert record["split"]["groups"] == 3 and "split by 3 groups" in capsys.readouterr().err


def test_groups_by_pattern(split, data, tmp_path):
    document = json.loads((data / "dataset.json").read_text())
    names = ["p1_a", "p1_b", "p2_a", "p3_a", "p3_b", "p3_c"]
    for pair, name in zip(document["training"], names, strict=True):
        for kind, folder in (("image", "imagesTr"), ("label", "labelsTr")):
            (tmp_path / "named" / folder).mkdir(parents=True, exist_ok=True)
            (tmp_path / "named" / folder / f"{name}.nii.gz").hardlink_to(data / pair[kind])
            pair[kind] = f"./{folder}/{name}.nii.gz"
    (tmp_path / "named" / "dataset.json").write_text(json.dumps(document))
    for seed in range(4):
        words = ["--group", r"(\w+)_\w", "--seed", f"{seed}"]
        lists, _ = split(*words, source=tmp_path / "named")
        patients = [{name[:2] for name in side} for side in lists.values()]
        assert not patients[0] & patients[1]


def test_lists_in_both_forms(split, tmp_path, capsys):
    names = [f"case_00{n}" for n in range(6)]
    (tmp_path / "one.json").write_text(json.dumps({"train": names[:3], "val": names[3:4]}))
    lists, record = split("--split", f"{tmp_path}/one.json")
    assert lists == {"train": names[:3], "val": names[3:4]}
    assert record["split"]["cases_in_neither"] == 2 and "2 cases stand in neither list" in capsys.readouterr().err
    folds = [{"train": names[1:], "val": names[:1]}] * 7
    folds[6] = {"train": names[:5], "val": names[5:]}
    (tmp_path / "splits_final.json").write_text(json.dumps(folds))
    lists, record = split("--split", f"{tmp_path}/splits_final.json", "--fold", "6")
    assert lists["val"] == ["case_005"] and record["split"]["by"] == "the lists in splits_final.json, fold 6"


WRONG = {
    "--fold 1 --val-fraction 0.2": "--val-fraction and --fold: give one of them",
    "--split {0}/lists.json --val-fraction 0.2": "--val-fraction and --split: give one of them",
    "--split {0}/none.json": "none.json",
    "--split {0}/broken.json": "broken.json",
    "--split {0}/leak.json": "case_001 trains and case_004 validates, but they are the same image",
    "--split {0}/lists.json --group (case)_00[0-3]|(case)_00[45]": "finds no group in the case case_004",
    "--group case": "--group case: puts all 6 cases into one group, case",
    "--group ((": "is no regular expression",
    "--group {0}/none.csv": "none.csv: there is no such file",
    "--group {0}/short.csv": "short.csv: gives no group to the case case_003 (nor to 2 others); add its line",
    "--group {0}/short.csv --group-by age": "has no column 'age' to group by",
    "--group-by patient": "--group-by patient: is a column of the CSV in --group",
    "--group 00. --group-by patient": "--group-by patient: needs a CSV in --group",
    "--fold 5": "--fold 5: the field's standard folds are 0 to 4",
    "--fold 4 --group {0}/four.csv": "--fold needs at least 5 groups of the 6 cases, here are 4",
}  # fmt: skip


@pytest.mark.parametrize("words", WRONG)
def test_a_wrong_use_is_one_line(words, data, tmp_path, capsys):
    names = [f"case_00{n}" for n in range(6)]
    files = {
        "lists.json": json.dumps({"train": names[:3], "val": names[3:4]}),
        "leak.json": json.dumps({"train": names[:4], "val": names[4:]}),
        "broken.json": "{",
        "short.csv": "case,patient\n" + "".join(f"{name},{name}\n" for name in names[:3]),
        "four.csv": "case,patient\n" + "".join(f"{name},{min(n, 3)}\n" for n, name in enumerate(names)),
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    asked = words.format(tmp_path).split()
    assert call(["train", f"{data}", "--out", f"{tmp_path}/run", *SMALL, *asked]) == 2
    errors = capsys.readouterr().err.strip().splitlines()
    assert len(errors) == 1 and errors[0].startswith("decaseg: ") and WRONG[words] in errors[0], errors
