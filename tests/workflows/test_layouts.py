"""Whole commands on data sets that are not the Decathlon's: nothing is converted, and the answers are the same."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from decaseg.cli import call
from decaseg.storage import nifti
from decaseg.storage.layouts import read_dataset
from decaseg.volume import Volume
from tests import layouts
from tests.synthetic import write_dataset
from tests.workflows.conftest import CHANNELS, SMALL, TUMOUR

PLANNED = ["--set", "base_filters=4", "max_levels=2", "--patch", "16", "16", "16"]
SHARED = Path("../shared/data")
KINDS = {
    "nnunet": lambda msd, root: layouts.nnunet(msd, root / "Dataset007_Tumour"),
    "brats23": lambda msd, root: layouts.brats(
        msd, root / "brats", lambda n: f"BraTS-GLI-{n:05d}-000", layouts.BRATS, "-", {1: 2, 2: 1}
    ),
    "brats20": lambda msd, root: layouts.brats(
        msd, root / "brats", lambda n: f"BraTS20_Training_{n:03d}", layouts.BRATS_2021, "_", {1: 2, 2: 1, 3: 4}, ".nii"
    ),
    "bids": lambda msd, root: layouts.bids(msd, root / "bids"),
    "csv": lambda msd, root: layouts.table(msd, root / "cases.csv"),
}


def evaluate(run, data, out, *more):
    words = ["--cases", "all", "--no-pictures", "--threads", "1", "--step", "1", *more]
    return call(["evaluate", f"{run}", "--data", f"{data}", "--out", f"{out}", *words])


def metrics(folder):
    document = json.loads((folder / "metrics.json").read_text())
    return document["mean_dice"], {name: facts["dice"]["mean"] for name, facts in document["structures"].items()}


@pytest.mark.parametrize("kind", KINDS)
def test_check_plan_and_evaluate_say_of_each_layout_what_they_say_of_the_decathlons(
    msd, run, scores, tmp_path, capsys, kind
):
    data = KINDS[kind](msd, tmp_path)
    capsys.readouterr()
    assert call(["check", f"{data}"]) == 0
    said = capsys.readouterr()
    assert f"taken for {read_dataset(data).layout}" in said.err and said.out == ""
    assert call(["plan", f"{data}", "--out", f"{tmp_path / 'plan'}", *PLANNED]) == 0
    mine, theirs = (json.loads((folder / "plan.json").read_text()) for folder in (tmp_path / "plan", run))
    renamed = {"dataset", "data_sha256"} | ({"labels", "target"} if kind.startswith("brats") else set())
    assert {key for key in mine if mine[key] != theirs[key]} <= renamed
    assert set(mine["labels"].values()) == set(theirs["labels"].values())
    # the same network scores the same, whatever the layout's numbers for labels and its order of channels
    assert evaluate(run, data, tmp_path / "evaluation") == 0
    assert metrics(tmp_path / "evaluation") == scores


def test_nnunets_round_trip_gives_the_same_plan_and_split(msd, run, tmp_path):
    data = KINDS["nnunet"](msd, tmp_path)
    assert call(["train", f"{data}", "--out", f"{tmp_path / 'run'}", *SMALL]) == 0
    for name in ("splits.json", "plan.json"):
        mine, theirs = (json.loads((folder / name).read_text()) for folder in (tmp_path / "run", run))
        assert mine | {"data_sha256": ""} == theirs | {"data_sha256": ""}


def test_regions_train_and_what_is_ignored_neither_trains_nor_scores(msd, tmp_path, capsys):
    """nnU-Net's region-based training, with half of each label map to be ignored and full of nonsense otherwise."""
    labels = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": [3], "ignore": 4}
    data = layouts.nnunet(msd, tmp_path / "data", labels=labels, regions_class_order=[1, 2, 3])
    for path in (data / "labelsTr").iterdir():
        volume = nifti.read(path)
        path.unlink()
        volume.array[:, :, :6] = 4
        nifti.write(path, volume)
    assert call(["check", f"{data}"]) == 0
    assert "4 is ignored" in capsys.readouterr().err
    assert call(["train", f"{data}", "--out", f"{tmp_path / 'run'}", *SMALL]) == 0
    target = json.loads((tmp_path / "run" / "plan.json").read_text())["target"]
    assert target["kind"] == "regions" and target["ignored"] == 4 and target["paint"] == [1, 2, 3]
    assert evaluate(tmp_path / "run", data, tmp_path / "evaluation") == 0
    before = metrics(tmp_path / "evaluation")
    assert set(before[1]) == {"whole", "core", "enhancing"}
    # what stands under the ignored voxels in the prediction changes no score of `score` either
    predictions = tmp_path / "predictions"
    predictions.mkdir()
    for path in (data / "labelsTr").iterdir():
        truth = nifti.read(path)
        truth.array[:, :, :6] = np.random.default_rng(0).integers(0, 4, truth.array[:, :, :6].shape)
        nifti.write(predictions / path.name, truth)
    assert call(["score", f"{predictions}", f"{data / 'labelsTr'}", "--out", f"{tmp_path / 'score'}"]) == 0
    assert metrics(tmp_path / "score")[0] == 1.0
    document = json.loads((tmp_path / "score" / "metrics.json").read_text())
    assert all(facts["specificity"]["mean"] == 1.0 for facts in document["structures"].values())


def test_a_csv_says_where_cases_belong_and_a_patient_is_never_torn_apart(msd, tmp_path):
    said = layouts.table(msd, tmp_path / "said" / "cases.csv", lambda n: {"split": "val" if n == 2 else "train"})
    assert call(["train", f"{said}", "--out", f"{tmp_path / 'run'}", *SMALL]) == 0
    splits = json.loads((tmp_path / "run" / "splits.json").read_text())
    assert splits["val"] == ["case_002"] and len(splits["train"]) == 5
    grouped = layouts.table(msd, tmp_path / "grouped" / "cases.csv", lambda n: {"group": f"patient {n // 2}"})
    for seed in range(3):
        folder = tmp_path / f"grouped {seed}"
        assert call(["train", f"{grouped}", "--out", f"{folder}", *SMALL, "--seed", f"{seed}"]) == 0
        splits = json.loads((folder / "splits.json").read_text())
        assert len(splits["val"]) == 2 and len({int(case[-1]) // 2 for case in splits["val"]}) == 1


def test_channels_on_two_grids_are_refused_with_both_names(msd, tmp_path, capsys):
    data = KINDS["bids"](msd, tmp_path)
    path = data / "sub-02" / "anat" / "sub-02_T1w.nii.gz"
    volume = nifti.read(path)
    path.unlink()
    nifti.write(path, Volume.of(volume.array[0], np.diag([1, 1, 1.5, 1])))
    capsys.readouterr()
    assert call(["check", f"{data}"]) == 1
    line = capsys.readouterr().out.strip()
    assert str(path) in line and "sub-02_FLAIR.nii.gz" in line and len(line.splitlines()) == 1
    assert call(["train", f"{data}", "--out", f"{tmp_path / 'run'}", *SMALL]) == 2
    assert str(path) in capsys.readouterr().err


@pytest.fixture(scope="module")
def scores(msd, run, tmp_path_factory):
    """The network's scores on every case in the Decathlon's layout."""
    out = tmp_path_factory.mktemp("scores")
    assert evaluate(run, msd, out) == 0
    return metrics(out)


def predicted(folder):
    return {path.name.removesuffix(".nii.gz"): nifti.read(path).array for path in sorted(folder.glob("*.nii.gz"))}


@pytest.mark.parametrize(
    ("kind", "where", "matched"),
    [
        ("nnunet", "imagesTr", "channels, by number: FLAIR = 0000, T1w = 0001"),
        ("brats23", "", "channels, by name: FLAIR = t2f, T1w = t1n, t1gd = t1c, T2w = t2w"),
        ("brats20", "", "channels, by name: FLAIR = flair, T1w = t1, t1gd = t1ce, T2w = t2"),
        ("bids", "", "channels, by name: FLAIR = FLAIR, T1w = T1w, t1gd = t1gd, T2w = T2w"),
    ],
)
def test_predict_groups_files_into_cases(msd, run, tmp_path, capsys, kind, where, matched):
    data = KINDS[kind](msd, tmp_path)
    assert call(["predict", f"{run}", f"{msd / 'imagesTr'}", "--out", f"{tmp_path / 'whole'}", "--threads", "1"]) == 0
    capsys.readouterr()
    assert call(["predict", f"{run}", f"{data / where}", "--out", f"{tmp_path / 'out'}", "--threads", "1"]) == 0
    assert matched in capsys.readouterr().err
    found, expected = predicted(tmp_path / "out"), predicted(tmp_path / "whole")
    assert set(found) == {files.case for files in read_dataset(data).training}
    for mine, theirs in zip(found.values(), expected.values(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_predict_takes_named_files_and_says_what_a_case_lacks(msd, run, tmp_path, capsys):
    data = KINDS["brats23"](msd, tmp_path)
    case = data / "BraTS-GLI-00003-000"
    words = "--out", f"{tmp_path / 'out'}", "--threads", "1"
    assert call(["predict", f"{run}", *map(str, sorted(case.iterdir())), *words]) == 0
    assert set(predicted(tmp_path / "out")) == {"BraTS-GLI-00003-000"}
    (case / "BraTS-GLI-00003-000-t1c.nii.gz").unlink()
    assert call(["predict", f"{run}", f"{case}", *words]) == 2
    assert "the model needs t1gd; add the file" in capsys.readouterr().err
    images = tmp_path / "images"
    shutil.copytree(KINDS["nnunet"](msd, tmp_path) / "imagesTr", images, symlinks=True)
    (images / "case_001_0002.nii.gz").unlink()
    assert call(["predict", f"{run}", f"{images}", *words]) == 2
    assert "case case_001 has the channels 0000, 0001, 0003" in capsys.readouterr().err


@pytest.mark.skipif(not SHARED.is_dir(), reason="the real data are not here")
def test_real_hippocampi_give_the_same_plan_and_scores_in_every_layout(tmp_path):
    """6 real cases, by links: nothing is copied."""
    source, msd = SHARED / "Task04_Hippocampus", tmp_path / "msd"
    document = json.loads((source / "dataset.json").read_text())
    document["training"] = document["training"][:6]
    msd.mkdir()
    for name in ("imagesTr", "labelsTr"):
        (msd / name).symlink_to((source / name).resolve())
    (msd / "dataset.json").write_text(json.dumps(document))
    run = tmp_path / "run"
    assert call(["train", f"{msd}", "--out", f"{run}", *SMALL]) == 0
    assert evaluate(run, msd, tmp_path / "e") == 0
    plan = json.loads((run / "plan.json").read_text())
    for name, write in (("nnunet", layouts.nnunet), ("bids", layouts.bids), ("csv", layouts.table)):
        data = write(msd, tmp_path / name / ("cases.csv" if name == "csv" else "data"))
        assert call(["plan", f"{data}", "--out", f"{tmp_path / name}", *PLANNED]) == 0
        again = json.loads((tmp_path / name / "plan.json").read_text())
        # BIDS has its own word for the contrast; which folder the data lay in is no number of the plan
        changed = {key for key in plan if plan[key] != again[key]} - {"dataset", "data_sha256", "preprocessing"}
        assert not changed
        assert again["preprocessing"] | {"channels": []} == plan["preprocessing"] | {"channels": []}
        assert evaluate(run, data, tmp_path / name / "evaluation") == 0
        assert metrics(tmp_path / name / "evaluation") == metrics(tmp_path / "e")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the real data are not here")
def test_real_tumours_give_the_same_plan_and_scores_as_brats(tmp_path):
    """Two real cases of four channels, cut to 32 voxels, with BraTS' values in BraTS' folders."""
    rng = np.random.default_rng(0)
    msd = tmp_path / "msd"
    write_dataset(msd, cases=2, shape=(4, 4, 4), labels=TUMOUR, channels=CHANNELS)
    source = read_dataset(SHARED / "Task01_BrainTumour")
    for number, files in enumerate(source.training[:2]):
        image, label = nifti.read(files.image), nifti.read(files.label)
        places = np.argwhere(label.array[0])
        start = np.clip(places[rng.integers(len(places))] - 16, 0, np.array(image.shape) - 32)
        box = (slice(None), *(slice(s, s + 32) for s in start))
        nifti.write(msd / "imagesTr" / f"case_{number:03d}.nii.gz", Volume.of(image.array[box], image.affine))
        nifti.write(msd / "labelsTr" / f"case_{number:03d}.nii.gz", Volume.of(label.array[0][box[1:]], image.affine))
    assert call(["train", f"{msd}", "--out", f"{tmp_path / 'run'}", *SMALL]) == 0
    assert evaluate(tmp_path / "run", msd, tmp_path / "e") == 0
    data = KINDS["brats23"](msd, tmp_path)
    assert evaluate(tmp_path / "run", data, tmp_path / "e2") == 0
    assert metrics(tmp_path / "e2") == metrics(tmp_path / "e")


def test_a_network_that_uses_some_channels_finds_them_in_another_order(msd, tmp_path):
    """Trained on the last two of four; the CSV has three others between and before them; pictures are drawn."""
    run = tmp_path / "run"
    assert call(["train", f"{msd}", "--out", f"{run}", *SMALL, "--channels", "T2w", "t1gd"]) == 0
    assert evaluate(run, msd, tmp_path / "expected") == 0
    lines = ["case,T1ce,T1,T2,label"]
    data = KINDS["brats23"](msd, tmp_path)
    for files in read_dataset(msd).training:
        number = int(files.case[-1])
        stem = f"{data}/BraTS-GLI-{number:05d}-000/BraTS-GLI-{number:05d}-000"
        lines.append(f"{files.case},{stem}-t1c.nii.gz,{stem}-t1n.nii.gz,{stem}-t2w.nii.gz,{files.label}")
    (tmp_path / "cases.csv").write_text("\n".join(lines))
    (tmp_path / "dseg.tsv").write_text("index\tname\n" + "".join(f"{n}\t{name}\n" for n, name in enumerate(TUMOUR, 1)))
    words = ["--cases", "val", "--threads", "1", "--step", "1"]
    assert (
        call(["evaluate", f"{run}", "--data", f"{tmp_path / 'cases.csv'}", "--out", f"{tmp_path / 'e'}", *words]) == 0
    )
    document = json.loads((tmp_path / "e" / "metrics.json").read_text())
    expected = json.loads((tmp_path / "expected" / "metrics.json").read_text())
    assert document["shown"]["channels"] == ["T2w", "t1gd"] and document["shown"]["channel"] == 0
    for case, rows in document["cases"].items():
        assert rows == expected["cases"][case]


def renumbered(msd, root):
    """The cases under their own names in a CSV, with channels and label values in another order."""
    cases, numbers = [], {1: 3, 2: 1, 3: 2}
    for files in read_dataset(msd).training:
        places = {name: layouts.put(files.image, root / f"{files.case}-{name}.nii.gz", channel)
                  for channel, name in enumerate(CHANNELS)}  # fmt: skip
        label = layouts.put(files.label, root / f"{files.case}-seg.nii.gz", values=numbers)
        cases.append(",".join([files.case, *(str(places[name]) for name in reversed(CHANNELS)), str(label)]))
    (root / "cases.csv").write_text("\n".join([",".join(["case", *reversed(CHANNELS), "label"]), *cases]) + "\n")
    names = [f"{numbers[value]}\t{name}" for value, name in enumerate(TUMOUR, 1)]
    (root / "dseg.tsv").write_text("\n".join(["index\tname", "0\tbackground", *names]) + "\n")
    return root / "cases.csv"


def test_benchmark_scores_as_evaluate_does_whatever_the_order_of_channels_and_labels(msd, run, tmp_path, capfd):
    data = renumbered(msd, tmp_path / "other")
    words = ["--threads", "1", "--no-pictures"]
    assert call(["evaluate", f"{run}", "--data", f"{data}", "--out", f"{tmp_path / 'e'}", *words]) == 0
    expected = json.loads((tmp_path / "e" / "metrics.json").read_text())["mean_dice"]
    capfd.readouterr()
    words = ["--rounds", "1", "--threads", "1", "--json", "--layout", "csv"]
    assert call(["benchmark", f"{run}", "--data", f"{data}", *words]) == 0
    (model,) = json.loads(capfd.readouterr().out)["models"]
    assert model["dice"]["mean"] == pytest.approx(expected)


def of_two_layouts(msd, root):
    """A folder that is a Decathlon's and, by --layout, a BraTS one of other case names."""
    data = KINDS["brats23"](msd, root)
    for name in ("dataset.json", "imagesTr", "labelsTr", "imagesTs"):
        if (msd / name).exists():
            (data / name).symlink_to(msd / name)
    assert read_dataset(data).training[0].case == "case_000"
    return data


def test_resume_remembers_the_layout_and_another_one_is_refused(msd, tmp_path, capsys):
    data = of_two_layouts(msd, tmp_path)
    words = ["train", f"{data}", "--out", f"{tmp_path / 'run'}", *SMALL]
    assert call([*words, "--layout", "brats"]) == 0
    capsys.readouterr()
    assert call([*words, "--resume", "--epochs", "2"]) == 0
    assert f"--data {data} --layout brats" in capsys.readouterr().out
    assert call([*words, "--resume", "--epochs", "2", "--layout", "decathlon"]) == 2
    assert "lacks BraTS-GLI-0000" in capsys.readouterr().err


def test_import_keras_takes_the_layout_that_is_named(msd, tmp_path, capsys):
    from tests.importing.intel_in_keras import intel_unet, save_as_tensorflow

    data = of_two_layouts(msd, tmp_path)
    save_as_tensorflow(intel_unet(2, 1, 1), tmp_path / "m.hdf5")
    words = ["--data", f"{data}", "--patch", "16", "16", "16", "--layout", "brats"]
    assert call(["import", "keras", f"{tmp_path}/m.hdf5", "--out", f"{tmp_path}/run", *words]) == 0
    splits = json.loads((tmp_path / "run" / "splits.json").read_text())
    assert all(case.startswith("BraTS-GLI-") for case in [*splits["train"], *splits["val"]])
    assert f"--data {data} --layout brats" in capsys.readouterr().out
