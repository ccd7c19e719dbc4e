import json

import numpy as np
import pytest

from decaseg.reporting import progress as reporting
from decaseg.storage import nifti
from decaseg.volume import Volume
from decaseg.workflows.score import run, score
from tests.synthetic import write_dataset


def label(*values, shape=(10, 11, 12)):
    """A label map with a slab of each value, one after the other along the first axis."""
    found = np.zeros(shape, np.uint8)
    for i, value in enumerate(values):
        found[1 + 2 * i : 3 + 2 * i, 2:8, 2:8] = value
    return found


def write(folder, name, array, affine=None):
    nifti.write(folder / f"{name}.nii.gz", Volume.of(array, affine))
    return folder / f"{name}.nii.gz"


@pytest.fixture
def folders(tmp_path):
    """Two cases with the labels 1 and 2: predictions, labels and the folder to write to."""
    for name in ("a", "b"):
        write(tmp_path / "labels", name, label(1, 2))
        write(tmp_path / "predictions", name, label(1, 2))
    return tmp_path / "predictions", tmp_path / "labels", tmp_path / "out"


def test_run_writes_metrics_and_prints_a_table(folders, capsys):
    assert run(*folders, label_names=("1=edema", "2=core")) == 0
    document = json.loads((folders[2] / "metrics.json").read_text())
    assert document["mean_dice"] == 1.0
    assert list(document["structures"]) == ["edema", "core"]
    assert list(document["cases"]) == ["a", "b"]
    assert (folders[2] / "metrics.csv").read_text().startswith("case,structure,dice,hd95_mm,nsd,")
    assert sorted(path.name for path in folders[2].iterdir()) == ["metrics.csv", "metrics.json"]
    assert "edema" in capsys.readouterr().out


def test_json_is_one_document_on_standard_output(folders, capsys):
    write(folders[0], "extra", label(1))
    assert run(*folders, as_json=True) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == json.loads((folders[2] / "metrics.json").read_text())
    assert "not scored, for want of a label: extra" in captured.err


def test_names_come_from_dataset_json_beside_the_labels(tmp_path):
    root = write_dataset(tmp_path / "data", cases=2)
    summary = score(root / "labelsTr", tmp_path_copy(root / "labelsTr", tmp_path / "truth" / "labelsTr"))
    assert list(summary.structures) == ["label 1", "label 2"]  # no dataset.json beside the copy
    summary = score(tmp_path / "truth" / "labelsTr", root / "labelsTr")
    assert list(summary.structures) == ["anterior", "posterior"]
    assert summary.mean_dice == 1.0


def tmp_path_copy(source, destination):
    destination.mkdir(parents=True)
    for path in source.iterdir():
        (destination / path.name).write_bytes(path.read_bytes())
    return destination


def test_an_evaluations_own_folder_can_be_scored_again(tmp_path):
    folder = tmp_path / "predictions"
    write(folder, "a_pred", label(1))
    write(folder, "a_msk", label(1))
    write(folder, "a_img", np.random.default_rng(0).normal(size=(10, 11, 12)).astype(np.float32))
    summary = score(folder, folder)
    assert list(summary.cases) == ["a"] and summary.mean_dice == 1.0


def test_an_evaluations_folder_stands_for_the_predictions_in_it(tmp_path):
    folder = tmp_path / "evaluation"
    write(folder / "predictions", "a_pred", label(1))
    write(folder / "predictions", "a_msk", label(1))
    (folder / "metrics.json").write_text("{}")
    assert score(folder, folder).to_json()["mean_dice"] == 1


def test_a_structure_that_was_missed_counts(folders):
    write(folders[0], "b", label(1))
    summary = score(*folders)
    assert summary.structures["label 2"]["dice"].n == 2
    assert summary.structures["label 2"]["dice"].mean == 0.5
    assert summary.mean_dice == 0.75


def test_a_missing_prediction_is_refused_and_nothing_is_written(folders):
    (folders[0] / "b.nii.gz").unlink()
    with pytest.raises(
        ValueError, match=r"labels/b\.nii\.gz: has no prediction b\.nii\.gz or b_pred\.nii\.gz in .*predictions"
    ):
        run(*folders)
    assert not folders[2].exists()


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (label(1, 2, shape=(10, 11, 13)), "has shape .*resample"),
        (label(1, 2) * np.float32(0.5), "not whole numbers"),
        (np.full((10, 11, 12), np.nan, np.float32), "not whole numbers"),
        (label(1, 2).astype(np.int16) * -1, "holds -2; labels are 0 or more"),
        (label(1, 7), r"holds 7 but the labels are 0, 1, 2; .*--labels 7=NAME"),
        (np.stack([label(1, 2)] * 2), "has 2 channels"),
    ],
)
@pytest.mark.parametrize("side", [0, 1])
def test_a_file_that_is_no_fitting_label_map_is_refused(folders, side, array, message):
    write(folders[side], "b", array)
    with pytest.raises(ValueError, match=message) as error:
        run(*folders, label_names=("1=edema", "2=core"))
    assert "b.nii.gz" in str(error.value) and "\n" not in str(error.value)
    assert not folders[2].exists()


@pytest.mark.parametrize(
    "affine",
    [
        np.diag([1, 1, 1.02, 1]),  # spacing
        np.diag([-1, 1, 1, 1]),  # flipped
        np.eye(4) + 0.2 * np.eye(4, k=3),  # moved by 0.2 mm
    ],
)
def test_another_place_in_the_patient_is_refused(folders, affine):
    write(folders[0], "b", label(1, 2), affine)
    with pytest.raises(ValueError, match=r"predictions/b\.nii\.gz: its affine lays it up to .* mm from where"):
        run(*folders)


def test_rounding_in_a_header_is_not_another_place(folders):
    write(folders[0], "b", label(1, 2), np.eye(4) + 1e-4)
    assert run(*folders) == 0


def test_whole_takes_painted_and_full_label_maps(folders):
    write(folders[0], "b", (label(1, 2) > 0).astype(np.uint8))
    summary = score(*folders, target="whole", label_names={1: "edema", 2: "core"})
    assert list(summary.structures) == ["whole"] and summary.mean_dice == 1.0


def test_brats_regions_overlap(tmp_path):
    write(tmp_path / "labels", "a", label(1, 2, 3))
    write(tmp_path / "predictions", "a", label(1, 3, 3))
    words = ("1=edema", "2=non-enhancing tumor", "3=enhancing tumour")
    assert run(tmp_path / "predictions", tmp_path / "labels", tmp_path / "out", "brats", words) == 0
    dice = {
        name: metrics["dice"]["mean"]
        for name, metrics in json.loads((tmp_path / "out" / "metrics.json").read_text())["structures"].items()
    }
    assert dice == {"whole tumor": 1.0, "tumor core": 1.0, "enhancing tumor": pytest.approx(2 / 3)}


def test_the_spacing_of_the_files_is_used(tmp_path):
    affine = np.diag([-2.0, 3.0, 0.5, 1.0])
    write(tmp_path / "labels", "a", label(1), affine)
    write(tmp_path / "predictions", "a", np.roll(label(1), 1, axis=1), affine)
    values = score(tmp_path / "predictions", tmp_path / "labels").cases["a"].structures["label 1"]
    assert values["volume_ml"] == pytest.approx(2 * 6 * 6 * 3 / 1000)
    assert values["hd95_mm"] == 3.0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("edema",), "write 1=edema"),
        (("x=edema",), "write 1=edema"),
        (("1=",), "write 1=edema"),
        (("1=a", "1=b"), "given before"),
        (("1=a", "2=a"), "given before"),
        (("0=background",), "only the background"),
    ],
)
def test_label_names_that_say_nothing_are_refused(folders, words, message):
    with pytest.raises(ValueError, match=message):
        run(*folders, label_names=words)


def test_folders_that_cannot_be_scored_are_refused(folders, tmp_path):
    predictions, labels, out = folders
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="there is no such folder"):
        run(tmp_path / "nowhere", labels, out)
    with pytest.raises(ValueError, match="has no predictions"):
        run(tmp_path / "empty", labels, out)
    with pytest.raises(ValueError, match="has no label maps"):
        run(predictions, tmp_path / "empty", out)
    with pytest.raises(ValueError, match="both label and prediction"):
        run(labels, labels, out)
    with pytest.raises(ValueError, match="is a file, not a folder"):
        run(predictions, labels, labels / "a.nii.gz")
    with pytest.raises(ValueError, match="--target tumour: choose one of"):
        run(predictions, labels, out, "tumour")
    write(predictions, "a_pred", label(1, 2))
    with pytest.raises(ValueError, match="is of the same case, a; keep one"):
        run(predictions, labels, out)


def test_images_taken_for_label_maps_are_refused(tmp_path):
    image = np.arange(1000, dtype=np.int16).reshape(10, 10, 10)
    write(tmp_path / "labels", "a", image)
    write(tmp_path / "predictions", "a", image)
    with pytest.raises(ValueError, match="too many for label maps"):
        score(tmp_path / "predictions", tmp_path / "labels")


def test_empty_everywhere_needs_names(tmp_path):
    for folder in ("labels", "predictions"):
        write(tmp_path / folder, "a", label())
    with pytest.raises(ValueError, match="is empty; name the labels"):
        score(tmp_path / "predictions", tmp_path / "labels")
    assert score(tmp_path / "predictions", tmp_path / "labels", label_names={1: "tumor"}).mean_dice == 1.0


def test_a_long_run_shows_its_progress_on_standard_error_only(folders, capsys, monkeypatch):
    monkeypatch.setattr(reporting, "PATIENCE_S", -1.0)
    assert run(*folders, as_json=True) == 0
    captured = capsys.readouterr()
    json.loads(captured.out)
    assert "scoring" in captured.err
