"""Every layout as people have it: what is found, under which names, and what is said of a folder that is none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from decaseg.storage import nifti
from decaseg.storage.images import read_image, read_label
from decaseg.storage.layouts import LAYOUTS, read_dataset
from decaseg.volume import Volume
from tests import layouts
from tests.synthetic import write_dataset

TUMOUR = ("edema", "non-enhancing tumor", "enhancing tumour")
CHANNELS = ("FLAIR", "T1w", "t1gd", "T2w")


@pytest.fixture(scope="module")
def msd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("msd")
    return write_dataset(root, cases=3, shape=(10, 12, 8), labels=TUMOUR, channels=CHANNELS)


def empty(root: Path, *names: str) -> Path:
    """Files of one voxel under these names."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        nifti.write(root / name, Volume.of(np.ones((2, 2, 2), np.uint8)))
    return root


WRITERS = {
    "nnunet": lambda msd, root: layouts.nnunet(msd, root),
    "brats 2023": lambda msd, root: layouts.brats(
        msd, root, lambda n: f"BraTS-GLI-{n:05d}-000", layouts.BRATS, "-", {1: 2, 2: 1}
    ),
    "brats 2021": lambda msd, root: layouts.brats(
        msd, root, lambda n: f"BraTS2021_{n:05d}", layouts.BRATS_2021, "_", {1: 2, 2: 1, 3: 4}
    ),
    "brats 2020": lambda msd, root: layouts.brats(
        msd, root, lambda n: f"BraTS20_Training_{n:03d}", layouts.BRATS_2021, "_", {1: 2, 2: 1, 3: 4}, ".nii"
    ),
    "bids": lambda msd, root: layouts.bids(msd, root),
    "csv": lambda msd, root: layouts.table(msd, root / "cases.csv"),
    "csv;": lambda msd, root: layouts.table(msd, root / "cases.csv", sep=";"),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_each_layout_gives_the_same_cases_voxel_by_voxel(msd: Path, tmp_path: Path, kind: str) -> None:
    original, found = read_dataset(msd), read_dataset(WRITERS[kind](msd, tmp_path))
    assert found.layout == LAYOUTS[kind.split()[0].rstrip(";")].words and found.remarks == ()
    assert found.channels == original.channels
    assert set(found.structures.values()) == set(TUMOUR)
    named = {name: value for value, name in found.labels.items()}
    for old, new in zip(original.training, found.training, strict=True):
        np.testing.assert_array_equal(read_image(new).array, read_image(old).array)
        before, after = read_label(old).array, read_label(new).array
        for value, name in original.structures.items():
            np.testing.assert_array_equal(after == named[name], before == value)


def test_case_ids_are_the_users_own(msd: Path, tmp_path: Path) -> None:
    assert [f.case for f in read_dataset(layouts.nnunet(msd, tmp_path / "a")).training] == [
        "case_000",
        "case_001",
        "case_002",
    ]
    bids = read_dataset(layouts.bids(msd, tmp_path / "b", session=True))
    assert [f.case for f in bids.training] == ["sub-01_ses-1", "sub-01_ses-2", "sub-02_ses-3"]
    assert bids.groups == {"sub-01_ses-1": "sub-01", "sub-01_ses-2": "sub-01", "sub-02_ses-3": "sub-02"}


def test_brats_knows_its_years_and_patients(tmp_path: Path) -> None:
    parts = [f"-{what}.nii.gz" for what in ("t1c", "t1n", "t2f", "t2w", "seg")]
    cases = ("BraTS-GLI-00005-100", "BraTS-GLI-00005-101", "BraTS-GLI-00008-100")
    found = read_dataset(empty(tmp_path / "2024", *(f"{c}/{c}{p}" for c in cases for p in parts)))
    assert found.labels[4] == "resection cavity"
    assert len(set(found.groups.values())) == 2  # two time points of one patient must not be torn apart
    old = [f"HGG/Brats18_A_1/Brats18_A_1_{what}.nii.gz" for what in ("flair", "t1", "t1ce", "t2", "seg")]
    assert dict(read_dataset(empty(tmp_path / "2018", *old)).labels) == {
        0: "background", 1: "non-enhancing tumor", 2: "edema", 4: "enhancing tumour"
    }  # fmt: skip
    child = empty(tmp_path / "child", *(f"BraTS-PED-00001-000/BraTS-PED-00001-000{p}" for p in parts))
    with pytest.raises(ValueError, match=r"write dseg\.tsv beside the cases"):
        read_dataset(child)
    (child / "dseg.tsv").write_text("index\tname\n1\tenhancing tumour\n4\tedema\n")
    assert read_dataset(child).labels[4] == "edema"


def test_what_a_case_lacks_keeps_its_name_or_becomes_a_test_case(tmp_path: Path) -> None:
    names = [f"BraTS2021_0000{n}/BraTS2021_0000{n}_{what}.nii.gz"
             for n in range(3) for what in ("flair", "t1", "t1ce", "t2", "seg")]  # fmt: skip
    names.remove("BraTS2021_00001/BraTS2021_00001_t1ce.nii.gz")
    names.remove("BraTS2021_00002/BraTS2021_00002_seg.nii.gz")
    found = read_dataset(empty(tmp_path, *names))
    assert [f.case for f in found.test] == ["BraTS2021_00002"] and "BraTS2021_00002" in found.remarks[0]
    missing = tmp_path / "BraTS2021_00001" / "BraTS2021_00001_t1ce.nii.gz"
    assert missing in found.case("BraTS2021_00001").images and not missing.exists()
    # nnU-Net: an image without a label map, and a label map without its image
    root = empty(tmp_path / "nnunet", "imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz", "labelsTr/b.nii.gz")
    (root / "dataset.json").write_text(json.dumps({"channel_names": {"0": "CT", "1": "CT"}, "labels": {"x": 1}}))
    pairs = read_dataset(root)
    assert pairs.channels == ("CT", "CT 2") and [f.case for f in pairs.training] == ["a", "b"]
    assert pairs.case("a").label == root / "labelsTr" / "a.nii.gz"


def test_nnunets_regions_ignore_label_and_older_lists(tmp_path: Path) -> None:
    root = empty(tmp_path, "imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz")
    labels = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": [3], "ignore": 4}
    document = {"channel_names": {"0": "T1"}, "labels": labels, "regions_class_order": [1, 2, 3]}
    (root / "dataset.json").write_text(json.dumps(document))
    found = read_dataset(root)
    assert [(r.name, r.labels, r.paint) for r in found.regions] == [
        ("whole", (1, 2, 3), 1), ("core", (2, 3), 2), ("enhancing", (3,), 3)
    ]  # fmt: skip
    assert found.ignore == 4 and found.known_values == {0, 1, 2, 3, 4} and 4 not in found.labels
    assert found.labels[3] == "enhancing" and "4 is ignored" in found.described
    for order in ([1, 2], None, [1, 2, 2], [1, 1.5, 3]):
        (root / "dataset.json").write_text(json.dumps(document | {"regions_class_order": order}))
        with pytest.raises(ValueError, match="regions_class_order"):
            read_dataset(root)
    (root / "dataset.json").write_text(json.dumps({"file_ending": ".mha"}))
    with pytest.raises(ValueError, match=r"file_ending is '.mha'"):
        read_dataset(root)
    # version 1 lists files that are not there by those names; and `dataset` says where each case lies
    listed = {"modality": {"0": "T1"}, "labels": {"0": "b", "1": "x"},
              "training": [{"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}]}  # fmt: skip
    (root / "dataset.json").write_text(json.dumps(listed))
    assert read_dataset(root).layout == LAYOUTS["nnunet"].words
    where = {"z": {"images": ["imagesTr/a_0000.nii.gz"], "label": "labelsTr/a.nii.gz"}}
    (root / "dataset.json").write_text(json.dumps({"channel_names": {"0": "T1"}, "labels": {"x": 1}, "dataset": where}))
    assert [f.case for f in read_dataset(root).training] == ["z"]


def test_bids_finds_contrasts_label_maps_and_names(tmp_path: Path) -> None:
    root = empty(
        tmp_path,
        "sub-01/anat/sub-01_FLAIR.nii.gz", "sub-01/anat/sub-01_T1w.nii.gz", "sub-01/anat/sub-01_ce-gd_T1w.nii.gz",
        "sub-02/anat/sub-02_FLAIR.nii.gz", "sub-02/anat/sub-02_T1w.nii.gz", "sub-03/anat/sub-03_FLAIR.nii.gz",
        "sub-03/anat/sub-03_T1w.nii.gz",
        "derivatives/m/sub-01/anat/sub-01_space-T1w_label-lesion_mask.nii.gz",
        "derivatives/m/sub-01/anat/sub-01_desc-brain_mask.nii.gz",
        "derivatives/m/sub-02/anat/sub-02_space-T1w_label-lesion_mask.nii.gz",
    )  # fmt: skip
    found = read_dataset(root)
    assert found.channels == ("FLAIR", "T1w") and dict(found.labels) == {0: "background", 1: "lesion"}
    assert [f.case for f in found.training] == ["sub-01", "sub-02"] and [f.case for f in found.test] == ["sub-03"]
    assert found.remarks == ("not every case has t1gd: not used",)
    empty(root, "derivatives/n/sub-01/anat/sub-01_dseg.nii.gz", "derivatives/n/sub-02/anat/sub-02_dseg.nii.gz")
    assert read_dataset(root).training[0].label == root / "derivatives/n/sub-01/anat/sub-01_dseg.nii.gz"
    empty(root, "derivatives/o/sub-01/anat/sub-01_dseg.nii.gz")
    with pytest.raises(ValueError, match=r"could both be the label map of sub-01; .*CSV"):
        read_dataset(root)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "has no cases"),
        ("case,image,label\n", "has no cases"),
        ("case,label\na,l.nii.gz\n", "its columns are case, label"),
        ("case,image,label\na,,l.nii.gz\n", "line 2 has no image"),
        ("case,image,label\na,i.nii.gz,l.nii.gz\na,j.nii.gz,k.nii.gz\n", "case a of line 2 again"),
        ("case,image,label,split\na,i.nii.gz,l.nii.gz,maybe\n", "split 'maybe'"),
        ("case,image,label\na,i.nii.gz,l.nii.gz,x\n", "4 cells"),
        ("case,image,label\n../a,i.nii.gz,l.nii.gz\n", "cannot be a file's name"),
        ("case,image,label\na,i.nii.gz,\n", "no line has a label"),
        ("case,case,image,label\na,a,i.nii.gz,\n", "same name"),
    ],
)
def test_every_fault_of_a_csv_is_one_line(tmp_path: Path, text: str, fault: str) -> None:
    (tmp_path / "cases.csv").write_text(text)
    with pytest.raises(ValueError, match=fault) as caught:
        read_dataset(tmp_path / "cases.csv")
    assert str(caught.value).startswith(f"{tmp_path / 'cases.csv'}: ") and ";" in str(caught.value)


def test_a_csv_has_groups_splits_and_values_for_names(tmp_path: Path) -> None:
    empty(tmp_path, "a.nii.gz", "b.nii.gz", "c.nii.gz", "l.nii.gz")
    lines = "Case;CT;label;Group;split;age", "A;a.nii.gz;l.nii.gz;p1;train;40", "B;b.nii.gz;l.nii.gz;p1;val;40"
    (tmp_path / "x.csv").write_text("\ufeff" + "\n".join((*lines, "C;c.nii.gz;;;;9")))
    found = read_dataset(tmp_path / "x.csv")
    assert found.channels == ("CT",) and dict(found.labels) == {0: "background", 1: "structure"}
    assert [(f.case, f.group, f.split) for f in found.training] == [("A", "p1", "train"), ("B", "p1", "val")]
    assert [f.case for f in found.test] == ["C"] and "age" in found.remarks[0]


def test_what_is_none_and_what_is_two(msd: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no dataset\.json.*BraTS.*sub-.*name the folder") as caught:
        read_dataset(tmp_path)
    assert len(str(caught.value).splitlines()) == 1
    (tmp_path / "mine.csv").write_text("case,image,label\n")
    with pytest.raises(ValueError, match=r"name the file itself: .*mine\.csv"):
        read_dataset(tmp_path)
    with pytest.raises(ValueError, match="--layout brats2: choose one of"):
        read_dataset(msd, "brats2")
    with pytest.raises(ValueError, match="so it is not a BIDS folder"):
        read_dataset(tmp_path, "bids")
    both = layouts.bids(msd, tmp_path / "both")
    layouts.brats(msd, both, lambda n: f"BraTS2021_{n:05d}", layouts.BRATS_2021, "_")
    found = read_dataset(both)
    assert found.layout == LAYOUTS["brats"].words and found.remarks == (
        "it could be read otherwise too: --layout bids",
    )
    assert read_dataset(both, "bids").layout == LAYOUTS["bids"].words
