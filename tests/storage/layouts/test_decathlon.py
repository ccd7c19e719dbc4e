"""dataset.json as the Decathlon writes it, as people have it, and as nobody should."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from decaseg.storage.layouts import read_dataset

GOOD: dict[str, Any] = {
    "name": "Brain",
    "relase": "1.0",
    "modality": {"1": "T1w", "0": "FLAIR"},
    "labels": {"0": "background", "2": "core", "1": "edema"},
    "training": [{"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}],
    "test": ["./imagesTs/b.nii.gz"],
}


def written(root: Path, **changes: Any) -> Path:
    (root / "dataset.json").write_text(json.dumps(GOOD | changes))
    return root


def test_reads_what_the_decathlon_writes(tmp_path: Path) -> None:
    dataset = read_dataset(written(tmp_path))
    assert dataset.channels == ("FLAIR", "T1w")
    assert dict(dataset.labels) == {0: "background", 1: "edema", 2: "core"}
    assert dataset.structures == {1: "edema", 2: "core"}
    case = dataset.case("a")
    assert (case.image, case.label) == (tmp_path / "imagesTr/a.nii.gz", tmp_path / "labelsTr/a.nii.gz")
    assert dataset.case("b").label is None
    with pytest.raises(ValueError, match="no case 'c'"):
        dataset.case("c")


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": {"background": 0, "edema": 1}},
        {"labels": {"1": "edema"}},
        {"modality": ["FLAIR", "T1w"]},
        {"training": [{"image": "imagesTr\\a.nii.gz", "label": ".\\labelsTr\\a.nii.gz"}]},
        {"training": [{"image": "imagesTr/a.nii", "label": "labelsTr/x.nii.gz"}], "numTraining": 7},
        {"test": [{"image": "imagesTs/b.nii.gz"}]},
        {"test": None, "extra": [1]},
        {"training": ["./imagesTr/a.nii.gz"]},
        {"training": [".\\imagesTr\\a.nii.gz"], "labels": {"background": 0, "edema": 1, "core": 2}},
    ],
)
def test_reads_what_people_have(tmp_path: Path, changes: dict[str, Any]) -> None:
    dataset = read_dataset(written(tmp_path, **changes))
    assert dataset.labels[1] == "edema" and dataset.labels[0] == "background"
    assert [files.case for files in dataset.training] == ["a"]
    image, label = dataset.training[0].image, dataset.training[0].label
    assert label is not None and image.parent.name == "imagesTr" and label.parent.name == "labelsTr"


def test_windows_editors_write_a_mark_first(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(GOOD).encode())
    assert read_dataset(tmp_path).channels == ("FLAIR", "T1w")


def test_a_comma_too_many_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text('{"labels": {"1": "a"},\n "modality": {\n  "0": "MRI",\n }\n}')
    with pytest.raises(ValueError, match=r"comma in line 3 after which nothing follows; take it out"):
        read_dataset(tmp_path)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"labels": None}, 'no "labels"'),
        ({"labels": {"0": "background"}}, "only the background"),
        ({"labels": {"1": "a", "01": "b"}}, "named twice"),
        ({"labels": {"1": "a", "2": "a"}}, "same name"),
        ({"labels": {"edema": 1.5}}, "not a number"),
        ({"labels": {"whole": [1, 2]}}, "not a number"),
        ({"labels": {"²": "a"}}, "not a number"),
        ({"labels": {"300": "a"}}, "outside 0 to 255"),
        ({"labels": {"-1": "a"}}, "outside 0 to 255"),
        ({"modality": {}}, 'no "modality"'),
        ({"modality": {"x": "MRI"}}, "number the channels"),
        ({"modality": {"²": "MRI"}}, "number the channels"),
        ({"modality": {"0": "MRI", "1": "MRI"}}, "same name"),
        ({"training": []}, "no training cases"),
        ({"training": {"a": "b"}}, "not a list"),
        ({"training": ["a.nii.gz"]}, "has no label"),
        ({"training": [{"image": 3, "label": "a"}]}, "must name an image"),
        ({"training": [None]}, "must name an image"),
        ({"training": GOOD["training"] * 2}, "listed twice"),
        ({"training": [{"image": "a.nii.gz", "label": "./a.nii.gz"}]}, "one file as image and label"),
        ({"training": [{"image": "../a.nii.gz", "label": "b"}]}, "leads out"),
        ({"training": [{"image": "/etc/a.nii.gz", "label": "b"}]}, "leads out"),
        ({"training": [{"image": "", "label": "b"}]}, "leads out"),
        ({"training": [{"image": "a\nb", "label": "b"}]}, "not a file name"),
        ({"training": [{"image": "\ud800", "label": "b"}]}, "not a file name"),
    ],
)
def test_every_fault_is_one_line_with_the_file(tmp_path: Path, changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValueError, match=fault) as caught:
        read_dataset(written(tmp_path, **changes))
    assert str(caught.value).startswith(f"{tmp_path / 'dataset.json'}: ")
    assert len(str(caught.value).splitlines()) == 1 and ";" in str(caught.value)


def test_no_data_set_at_all(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such folder"):
        read_dataset(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"no dataset\.json"):
        read_dataset(tmp_path)
    (tmp_path / "dataset.json").write_text("[]")
    with pytest.raises(ValueError, match="JSON object"):
        read_dataset(tmp_path)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from([*GOOD, "channel_names"]), anything))
def test_whatever_stands_in_it_the_answer_is_a_data_set_or_a_value_error(
    tmp_path_factory: pytest.TempPathFactory, changes: dict[str, Any]
) -> None:
    root = tmp_path_factory.mktemp("set")
    try:
        dataset = read_dataset(written(root, **changes))
    except ValueError as error:
        assert str(root) in str(error)
    else:
        assert dataset.training and dataset.channels and len(dataset.labels) > 1
