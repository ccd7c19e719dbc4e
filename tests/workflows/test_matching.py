"""Channels and label values by the model's names: what a wrong order would silently spoil."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from decaseg.data.normalise import Normalisation
from decaseg.data.preprocess import Preprocessing
from decaseg.storage import nifti
from decaseg.storage.dataset import CaseFiles, Dataset
from decaseg.storage.images import read_image, read_label
from decaseg.volume import Volume
from decaseg.workflows.matching import as_known, wanted_channels

MSD = ("FLAIR", "T1w", "t1gd", "T2w")
LABELS = {0: "background", 1: "edema", 2: "non-enhancing tumor", 3: "enhancing tumour"}


def plan(channels=MSD, indices=(0, 1, 2, 3), of=4, labels=LABELS):
    how = Preprocessing(channels, indices, of, (1.0, 1.0, 1.0), (Normalisation("zscore"),) * len(channels))
    return SimpleNamespace(preprocessing=how, labels=labels)


def dataset(root: Path, channels, labels=LABELS, one_file=False, **more) -> Dataset:
    """A case whose channel number n holds n everywhere, and whose label map holds 0 to 4."""
    arrays = [np.full((5, 2, 2), place, np.uint8) for place in range(len(channels))]
    label = np.repeat(np.arange(5, dtype=np.uint8), 4).reshape(5, 2, 2)
    nifti.write(root / "l.nii.gz", Volume.of(label))
    if one_file:
        nifti.write(root / "a.nii.gz", Volume.of(np.stack(arrays)))
        files = CaseFiles("a", root / "a.nii.gz", root / "l.nii.gz")
    else:
        for place, array in enumerate(arrays):
            nifti.write(root / f"{place}.nii.gz", Volume.of(array))
        first, *others = (root / f"{place}.nii.gz" for place in range(len(channels)))
        files = CaseFiles("a", first, root / "l.nii.gz", tuple(others))
    return Dataset(root, "x", tuple(channels), labels, (files,), (), **more)


def order(found: Dataset) -> list[int]:
    return read_image(found.training[0]).array[:, 0, 0, 0].tolist()


@pytest.mark.parametrize("one_file", [False, True])
@pytest.mark.parametrize(
    ("channels", "wanted", "expected"),
    [
        (MSD, plan(), [0, 1, 2, 3]),
        (("t1c", "t1n", "t2f", "t2w"), plan(), [2, 1, 0, 3]),
        (("T2", "FLAIR"), plan(("FLAIR", "T2w"), (0, 3), 4), [1, 0]),
        (("T1", "T2", "FLAIR", "T1ce"), plan(("T2w",), (3,), 4), [1]),
        (("T1", "T2", "FLAIR", "T1ce"), plan(("T2w", "FLAIR"), (1, 0), 2), [2, 1]),
        (("A", "B"), plan(("x", "y"), (0, 1), 2), [0, 1]),
    ],
)
def test_channels_come_in_the_models_order(tmp_path, channels, wanted, expected, one_file):
    assert order(as_known(dataset(tmp_path, channels, one_file=one_file), wanted)) == expected


def test_a_channel_that_is_not_there_is_said(tmp_path):
    with pytest.raises(ValueError, match="has the channels T2w, but the model needs FLAIR"):
        as_known(dataset(tmp_path, ("T2w",)), plan(("FLAIR",), (0,), 1))


def test_label_values_become_the_models(tmp_path, capsys):
    brats = {0: "background", 1: "Non-enhancing tumour", 2: "edema", 4: "enhancing_tumor"}
    found = as_known(dataset(tmp_path, MSD, brats), plan())
    assert dict(found.labels) == LABELS
    assert read_label(found.training[0]).array[0, :, 0, 0].tolist() == [0, 2, 1, 3, 3]
    assert (
        "labels, by name: 1 non-enhancing tumor -> 2, 2 edema -> 1, 4 enhancing tumour -> 3" in capsys.readouterr().err
    )
    assert as_known(replace(found, labels=LABELS), plan()) == replace(found, labels=LABELS)


def test_other_structures_keep_their_numbers_and_an_ignored_value_gives_way(tmp_path):
    other = dataset(tmp_path, MSD, {0: "background", 1: "left", 2: "right"})
    assert as_known(other, plan()) is other
    brats = {0: "background", 1: "non-enhancing tumor", 2: "edema", 4: "enhancing tumour"}
    found = as_known(dataset(tmp_path, MSD, brats, ignore=3), plan())
    assert found.ignore == 255 and read_label(found.training[0]).array[0, :, 0, 0].tolist() == [0, 2, 1, 255, 3]


def test_images_bring_all_channels_in_file_order_or_those_in_use():
    assert wanted_channels(plan(("T2w", "FLAIR"), (1, 0), 2).preprocessing) == ("FLAIR", "T2w")
    assert wanted_channels(plan(("T2w", "FLAIR"), (3, 0), 4).preprocessing) == ("T2w", "FLAIR")
