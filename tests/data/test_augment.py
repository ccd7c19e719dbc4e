import math

import pytest
import torch

from decaseg.data.augment.intensity import Intensity, apply_intensity, draw_intensity
from decaseg.data.augment.pipeline import Augmentation
from decaseg.data.augment.spatial import Spatial, SpatialDraw, apply_spatial, draw_spatial

CHANGES = ("noise", "blur", "brightness", "contrast", "low_resolution", "inverted_gamma", "gamma")
EVERYTHING = Spatial(rotation_deg=30, rotation_share=1, scale=(0.7, 1.4), scale_share=1, right_angles=True)


def batch(shape=(9, 9, 9), size=2, channels=2):
    generator = torch.Generator().manual_seed(0)
    image = torch.rand((size, channels, *shape), generator=generator) + 0.5
    label = torch.randint(0, 4, (size, *shape), generator=generator, dtype=torch.uint8)
    return image, label


def turned(matrix, image, label, patch):
    return apply_spatial(SpatialDraw(torch.tensor(matrix).float().repeat(len(image), 1, 1)), image, label, patch)


@pytest.mark.parametrize("source", [(12, 14, 10), (9, 11, 8)])
def test_identity_copies_the_middle(source):
    image, label = batch(source)
    moved, labels = apply_spatial(SpatialDraw(torch.eye(3).repeat(2, 1, 1)), image, label, (6, 8, 4))
    start = [(s - p) // 2 for s, p in zip(source, (6, 8, 4), strict=True)]
    cut = tuple(slice(a, a + p) for a, p in zip(start, (6, 8, 4), strict=True))
    assert torch.equal(moved, image[(slice(None), slice(None), *cut)])
    assert torch.equal(labels, label[(slice(None), *cut)])


@pytest.mark.parametrize("source", [(12, 14, 10), (9, 11, 8)])
def test_a_sample_left_alone_is_the_same_whether_its_neighbour_turns_or_not(source):
    image, label = batch(source)
    matrices = torch.stack([torch.eye(3), torch.diag(torch.tensor([-1.0, 1.0, 1.0]))])
    moved, labels = apply_spatial(SpatialDraw(matrices), image, label, (6, 8, 4))
    alone, alone_label = apply_spatial(SpatialDraw(matrices[:1]), image[:1], label[:1], (6, 8, 4))
    torch.testing.assert_close(moved[:1], alone, atol=1e-5, rtol=0)
    assert torch.equal(labels[:1], alone_label)


@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 2), (0, 1, 2)])
@pytest.mark.parametrize("shape", [(8, 6, 10), (9, 7, 5)])
def test_mirroring_is_exact_on_voxels(axes, shape):
    image, label = batch(shape)
    moved, labels = turned([[(-1.0 if i in axes else 1.0) * (i == j) for j in range(3)] for i in range(3)], image,
                           label, shape)  # fmt: skip
    torch.testing.assert_close(moved, image.flip([2 + a for a in axes]), atol=1e-5, rtol=0)
    assert torch.equal(labels, label.flip([1 + a for a in axes]))


@pytest.mark.parametrize("turns", [1, 2, 3])
@pytest.mark.parametrize("plane", [(0, 1), (0, 2), (1, 2)])
@pytest.mark.parametrize("n", [8, 9])
def test_right_angles_are_exact_on_voxels(turns, plane, n):
    image, label = batch((n, n, n))
    matrix = torch.eye(3)
    a, b = plane
    step = torch.eye(3)
    step[a, a] = step[b, b] = 0
    step[a, b], step[b, a] = -1, 1
    for _ in range(turns):
        matrix = matrix @ step
    moved, labels = turned(matrix.tolist(), image, label, (n, n, n))
    candidates = [torch.rot90(image, k, [2 + a, 2 + b]) for k in (turns, -turns)]
    assert any(torch.allclose(moved, c, atol=1e-5) for c in candidates)
    assert any(torch.equal(labels, torch.rot90(label, k, [1 + a, 1 + b])) for k in (turns, -turns))


def test_drawn_right_angles_and_mirrors_only_move_voxels():
    what = Spatial(rotation_share=0, scale_share=0, mirror_axes=(0, 1, 2), right_angles=True)
    matrices = draw_spatial(what, 64, torch.Generator().manual_seed(1)).matrices
    assert set(matrices.unique().tolist()) == {-1.0, 0.0, 1.0}
    assert (matrices.abs().sum(1) == 1).all() and (matrices.abs().sum(2) == 1).all()
    assert len({tuple(m.flatten().tolist()) for m in matrices}) > 20


def test_rotations_are_rotations_within_their_range():
    what = Spatial(rotation_deg=20, rotation_share=1, scale_share=0, mirror_axes=())
    matrices = draw_spatial(what, 50, torch.Generator().manual_seed(1)).matrices
    torch.testing.assert_close(matrices @ matrices.mT, torch.eye(3).expand(50, 3, 3), atol=1e-5, rtol=0)
    assert (torch.linalg.det(matrices) > 0.99).all()
    angle = torch.acos((matrices.diagonal(dim1=1, dim2=2).sum(1) - 1) / 2) * 180 / math.pi
    assert angle.max() < 3 * 20 and angle.max() > 15


@pytest.mark.parametrize("draw", range(5))
@pytest.mark.parametrize("source", [(17, 17, 17), (19, 21, 17), (18, 16, 20)])
def test_rotation_keeps_the_centre(draw, source):
    patch = tuple(s - 2 for s in source)
    image = torch.linspace(-1, 1, source[0])[None, None, :, None, None].expand(1, 1, *source).contiguous()
    image = image + 10 * torch.linspace(-1, 1, source[1])[None, None, None, :, None]
    image = image + 100 * torch.linspace(-1, 1, source[2])  # a ramp: its value at the centre is 0
    label = torch.zeros((1, *source), dtype=torch.uint8)
    what = Spatial(rotation_deg=10, rotation_share=1, scale_share=0, mirror_axes=())
    draw = draw_spatial(what, 1, torch.Generator().manual_seed(draw))
    moved, _ = apply_spatial(draw, image, label, patch)
    middle = [slice((p - 1) // 2, p // 2 + 1) for p in patch]
    assert float(moved[0, 0][tuple(middle)].mean()) == pytest.approx(0, abs=1e-2)


@pytest.mark.parametrize("step", range(6))
def test_labels_stay_labels(step):
    image, label = batch((16, 16, 16))
    label *= 50
    augment = Augmentation((12, 12, 12), EVERYTHING, Intensity(), seed=3)
    _, labels = augment(step, image, label)
    assert labels.dtype == torch.uint8 and set(labels.unique().tolist()) <= {0, 50, 100, 150}


def test_image_and_label_move_together():
    _, label = batch((16, 16, 16), size=4)
    label = (torch.arange(16)[:, None, None] > 8).to(torch.uint8).expand(4, 16, 16, 16).contiguous()
    image = label[:, None].float()
    moved, labels = apply_spatial(
        draw_spatial(EVERYTHING, 4, torch.Generator().manual_seed(5)), image, label, (12,) * 3
    )
    clear = (moved[:, 0] - 0.5).abs() > 0.4
    assert clear.float().mean() > 0.5
    assert ((moved[:, 0] > 0.5) == (labels > 0))[clear].float().mean() > 0.99


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


@pytest.mark.parametrize("change", CHANGES)
def test_each_intensity_change_changes_all_its_samples_and_stays_finite(change):
    shares = {f"{name}_share": 0.0 for name in CHANGES}
    what = Intensity(**{**shares, f"{change}_share": 1.0}, low_resolution=(0.5, 0.8), channel_share=1.0)
    image, _ = batch((12, 10, 8))
    changed = apply_intensity(draw_intensity(what, 2, 2, torch.Generator().manual_seed(2)), image.clone())
    assert changed.isfinite().all() and changed.shape == image.shape
    assert all(not torch.equal(a, b) for a, b in zip(changed, image, strict=True))
    untouched = apply_intensity(draw_intensity(Intensity(**shares), 2, 2, torch.Generator()), image.clone())
    assert torch.equal(untouched, image)


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_a_constant_patch_stays_finite(value):
    everything = Intensity().times(100)
    image = torch.full((2, 1, 8, 8, 8), value)
    assert apply_intensity(draw_intensity(everything, 2, 1, torch.Generator()), image).isfinite().all()
