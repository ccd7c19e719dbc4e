import pytest
import torch

from decaseg.data.augment.intensity import Intensity
from decaseg.data.augment.pipeline import Augmentation
from decaseg.data.augment.spatial import Spatial
from tests.data.augment.samples import EVERYTHING, batch


@pytest.mark.parametrize("step", range(6))
def test_labels_stay_labels(step):
    image, label = batch((16, 16, 16))
    label *= 50
    augment = Augmentation((12, 12, 12), EVERYTHING, Intensity(), seed=3)
    _, labels = augment(step, image, label)
    assert labels.dtype == torch.uint8 and set(labels.unique().tolist()) <= {0, 50, 100, 150}


def test_a_step_is_a_function_of_seed_and_number():
    augment, again = (Augmentation((12, 12, 12), EVERYTHING, Intensity(), seed=3) for _ in range(2))

    def at(what, step):
        return what(step, *(t.clone() for t in batch((14, 14, 14))))

    for step in (5, 0, 1):
        for a, b in zip(at(augment, step), at(again, step), strict=True):
            assert torch.equal(a, b)
    assert not torch.equal(at(augment, 0)[0], at(augment, 1)[0])
    other = Augmentation((12, 12, 12), EVERYTHING, Intensity(), seed=4)
    assert not torch.equal(at(augment, 0)[0], at(other, 0)[0])


def test_the_source_has_a_margin_only_where_something_turns():
    assert Augmentation((40, 40, 40), Spatial(rotation_share=0, scale_share=0), None, 0).source_shape == (40, 40, 40)
    assert Augmentation((40, 40, 40), EVERYTHING, None, 0).source_shape == (46, 46, 46)
    assert Augmentation((40, 40, 40), None, None, 0).source_shape == (40, 40, 40)


def test_without_changes_the_patch_is_a_copy_of_the_batch():
    image, label = batch()
    moved, labels = Augmentation((9, 9, 9), None, None, 0)(4, image, label)
    assert torch.equal(moved, image) and torch.equal(labels, label)


def test_a_process_with_some_rows_gets_what_one_process_gets_for_them():
    image, label = batch((14, 14, 14), size=4)
    whole = Augmentation((12,) * 3, EVERYTHING, Intensity().times(3), seed=1)
    half = Augmentation((12,) * 3, EVERYTHING, Intensity().times(3), seed=1, batch_size=4, rows=slice(2, 4))
    for a, b in zip(whole(7, image.clone(), label), half(7, image[2:].clone(), label[2:]), strict=True):
        assert torch.equal(a[2:], b)


def test_the_batch_handed_in_is_not_changed():
    image, label = batch((14, 14, 14))
    kept = image.clone(), label.clone()
    for step in range(4):
        Augmentation((12,) * 3, EVERYTHING, Intensity().times(100), seed=1)(step, image, label)
    assert torch.equal(image, kept[0]) and torch.equal(label, kept[1])


def test_augmentation_grows_over_the_ramp_and_stays_a_function_of_seed_and_step():
    spatial = Spatial(rotation_share=1, scale_share=1, mirror_axes=())
    image, label = torch.rand(64, 1, 12, 12, 12), torch.zeros(64, 12, 12, 12, dtype=torch.uint8)
    ramped = Augmentation((8, 8, 8), spatial, None, 3, ramp_steps=100)
    middle = image[:, :, 2:10, 2:10, 2:10]

    def changed(step):
        moved, _ = ramped(step, image.clone(), label)
        return sum(not torch.equal(a, b) for a, b in zip(moved, middle, strict=True))

    assert changed(0) == 0
    assert 16 <= changed(50) <= 60  # 3 in 4 are expected: half turned, half scaled
    assert changed(100) == changed(1000) == 64
    full = Augmentation((8, 8, 8), spatial, None, 3)
    assert torch.equal(ramped(200, image.clone(), label)[0], full(200, image.clone(), label)[0])
