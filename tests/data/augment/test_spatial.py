import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from decaseg.data.augment import sampling
from decaseg.data.augment.elastic import smooth_shifts
from decaseg.data.augment.spatial import Spatial, SpatialDraw, apply_spatial, draw_spatial
from tests.data.augment.samples import EVERYTHING, batch


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


def places_in_float64(matrix, bend, source, patch):
    """Where scipy is to look: (3, *patch), straight from the definition."""
    offset = np.stack(np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in patch), indexing="ij"))
    centre = [(s - 1) / 2 - (s - p) % 2 / 2 for s, p in zip(source, patch, strict=True)]
    return np.einsum("ij,jxyz->ixyz", matrix, offset + bend) + np.array(centre)[:, None, None, None]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    source=st.tuples(*[st.integers(1, 20)] * 3),
    patch=st.tuples(*[st.integers(1, 14)] * 3),
    elastic=st.booleans(),
)
def test_interpolation_is_scipys(seed, source, patch, elastic):
    """Linear for images and nearest for labels, zeros outside; the source may be smaller than the patch."""
    generator = torch.Generator().manual_seed(seed)
    what = Spatial(rotation_deg=180, rotation_share=1, scale=(0.3, 2), scale_share=1, elastic_share=float(elastic))
    draw = draw_spatial(what, 1, generator)
    image = torch.rand((1, 2, *source), generator=generator, dtype=torch.float64) + 1
    label = torch.randint(1, 200, (1, *source), generator=generator, dtype=torch.uint8)
    moved, labels = apply_spatial(draw, image, label, patch)
    bend = smooth_shifts(draw.lattice.double(), patch)[0].numpy() if elastic else np.zeros((3, *patch))
    places = places_in_float64(draw.matrices[0].double().numpy(), bend, source, patch)
    for channel in range(2):
        expected = map_coordinates(image[0, channel].numpy(), places, order=1, mode="grid-constant", cval=0)
        np.testing.assert_allclose(moved[0, channel].numpy(), expected, atol=1e-5)
    expected = map_coordinates(label[0].numpy(), places, order=0, mode="grid-constant", cval=0)
    clear = (np.abs((places + 0.5) % 1) > 1e-4).all(0) & (np.abs((places + 0.5) % 1) < 1 - 1e-4).all(0)
    np.testing.assert_array_equal(labels[0].numpy()[clear], expected[clear])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("elastic", [False, True])
@pytest.mark.parametrize("source", [(44, 40, 48), (31, 33, 30), (5, 60, 7)])  # around the patch, within it, both
def test_a_patch_in_blocks_is_the_patch_at_once(seed, elastic, source, monkeypatch):
    generator = torch.Generator().manual_seed(seed)
    what = Spatial(rotation_share=1, scale=(0.7, 0.8), scale_share=1, elastic_share=float(elastic))
    draw = draw_spatial(what, 2, generator)
    image = torch.rand((2, 2, *source), generator=generator, dtype=torch.float64)
    label = torch.randint(1, 200, (2, *source), generator=generator, dtype=torch.uint8)
    whole, labels = apply_spatial(draw, image, label, (34, 30, 28))
    monkeypatch.setattr(sampling, "BLOCK", (7, 8, 15))
    how = sampling.turn(draw.matrices[0], None, source, (34, 30, 28), image)
    inside = [all(start >= 0 and start + length <= n for start, length, n in zip(p.first, p.shape, source,
              strict=True)) for p in map(how.at, how.blocks())]  # fmt: skip
    assert len(inside) == 5 * 4 * 2
    if source == (44, 40, 48):
        assert any(inside) and not all(inside)
    parts, part_labels = apply_spatial(draw, image, label, (34, 30, 28))
    # each block counts its places from its own box's corner; shifts of a lattice are float32 sums in another order
    torch.testing.assert_close(parts, whole, atol=1e-6 if elastic else 1e-12, rtol=0)
    assert (part_labels != labels).float().mean() <= (1e-4 if elastic else 0)


@pytest.mark.parametrize("elastic", [False, True])
@pytest.mark.parametrize("source", [(44, 40, 48), (31, 33, 30)])
def test_smooth_labels_in_blocks_are_the_fullest_masks_of_the_whole(elastic, source, monkeypatch):
    """A block sees only the labels of its box, and some boxes hold none."""
    generator = torch.Generator().manual_seed(0)
    draw = draw_spatial(Spatial(rotation_share=1, scale_share=1, elastic_share=float(elastic)), 1, generator)
    label = torch.zeros((1, *source), dtype=torch.uint8)
    label[0, 4:14, 5:20, 6:16], label[0, 9:14, 9:20, 8:12], label[0, 14:18, 5:20, 6:16] = 7, 2, 5
    monkeypatch.setattr(sampling, "BLOCK", (7, 8, 15))
    _, found = apply_spatial(draw, torch.zeros((1, 1, *source)), label, (34, 30, 28), smooth_labels=True)
    masks = torch.stack([(label[0] == value) for value in (2, 5, 7)]).double()[None]
    shares, _ = apply_spatial(draw, masks, label, (34, 30, 28))
    held = torch.cat([1 - shares.sum(1, keepdim=True), shares], 1)[0]
    clear = held.sort(0).values.diff(dim=0)[-1] > 1e-3
    expected = torch.tensor([0, 2, 5, 7], dtype=torch.uint8)[held.argmax(0)]
    assert torch.equal(found[0][clear], expected[clear]) and clear.float().mean() > 0.95
    assert set(found.unique().tolist()) == {0, 2, 5, 7}


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    source=st.tuples(*[st.integers(1, 45)] * 3),
    patch=st.tuples(*[st.integers(1, 40)] * 3),
    right_angles=st.booleans(),
    smooth=st.booleans(),
)
def test_scaling_axis_by_axis_is_scipys(seed, source, patch, right_angles, smooth):
    """Nothing turned but by right angles: linear for images, zeros outside; labels nearest, or the fullest mask."""
    generator = torch.Generator().manual_seed(seed)
    what = Spatial(rotation_share=0, scale=(0.4, 2), scale_share=1, right_angles=right_angles)
    draw = draw_spatial(what, 1, generator)
    image = torch.rand((1, 2, *source), generator=generator, dtype=torch.float64) + 1
    label = torch.randint(1, 4, (1, *source), generator=generator, dtype=torch.uint8)
    moved, labels = apply_spatial(draw, image, label, patch, smooth)
    places = places_in_float64(draw.matrices[0].double().numpy(), np.zeros((3, *patch)), source, patch)

    def linear(volume):
        return map_coordinates(volume, places, order=1, mode="grid-constant", cval=0)

    for channel in range(2):
        np.testing.assert_allclose(moved[0, channel].numpy(), linear(image[0, channel].numpy()), atol=1e-5)
    if smooth:
        shares = [linear((label[0] == value).double().numpy()) for value in (1, 2, 3)]
        held = np.stack([1 - sum(shares), *shares])
        clear = np.diff(np.sort(held, axis=0)[-2:], axis=0)[0] > 1e-4
        expected = held.argmax(0)
    else:
        expected = map_coordinates(label[0].numpy(), places, order=0, mode="grid-constant", cval=0)
        clear = (np.abs((places + 0.5) % 1 - 0.5) < 0.4999).all(0)
    np.testing.assert_array_equal(labels[0].numpy()[clear], expected[clear])


def test_scaling_axis_by_axis_is_what_turning_by_next_to_nothing_gives():
    generator = torch.Generator().manual_seed(0)
    image, label = torch.rand((1, 2, 50, 60, 40), generator=generator), torch.zeros(1, 50, 60, 40)
    scaled = torch.diag(torch.tensor([0.8, -0.8, 0.8]))
    turned = scaled.clone()
    turned[0, 1] = 1e-9
    stretched, _ = apply_spatial(SpatialDraw(scaled[None]), image, label, (50, 40, 40))
    by_places, _ = apply_spatial(SpatialDraw(turned[None]), image.double(), label, (50, 40, 40))
    torch.testing.assert_close(stretched.double(), by_places, atol=2e-5, rtol=0)


@pytest.mark.parametrize("elastic", [0, 1])
def test_in_float32_places_are_within_a_two_thousandth_of_a_voxel(elastic):
    generator = torch.Generator().manual_seed(0)
    draw = draw_spatial(Spatial(rotation_share=1, scale_share=1, elastic_share=elastic), 1, generator)
    image, label = torch.rand((1, 1, 90, 90, 90), generator=generator), torch.zeros(1, 90, 90, 90)
    exact, _ = apply_spatial(draw, image.double(), label, (70, 80, 80))
    moved, _ = apply_spatial(draw, image, label, (70, 80, 80))
    off = (moved.double() - exact).abs()  # neighbours differ by 1 at most, so a value is off by no more than its place
    assert off.max() < 5e-4 and off.mean() < 2e-5


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), size=st.integers(1, 4), values=st.sets(st.integers(1, 255), min_size=1, max_size=5))
def test_a_batch_is_its_samples_and_labels_keep_their_values(seed, size, values):
    what = Spatial(rotation_share=0.5, scale_share=0.5, elastic_share=0.5)
    draw = draw_spatial(what, size, torch.Generator().manual_seed(seed))
    image, _ = batch((11, 10, 9), size)
    label = torch.tensor(sorted(values), dtype=torch.uint8)[torch.randint(len(values), (size, 11, 10, 9))]
    moved, labels = apply_spatial(draw, image, label, (8, 9, 7))
    assert moved.shape == (size, 2, 8, 9, 7) and labels.shape == (size, 8, 9, 7)
    assert labels.dtype == torch.uint8 and set(labels.unique().tolist()) <= {0, *values}
    for row in range(size):
        alone = SpatialDraw(draw.matrices[row : row + 1], draw.lattice[row : row + 1])
        single, single_label = apply_spatial(alone, image[row : row + 1], label[row : row + 1], (8, 9, 7))
        assert torch.equal(moved[row], single[0]) and torch.equal(labels[row], single_label[0])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_across_thick_slices_nothing_turns_zooms_or_bends(axis):
    what = Spatial(rotation_deg=40, rotation_share=1, scale=(0.5, 2), scale_share=1, right_angles=True,
                   elastic_share=1, flat_axis=axis)  # fmt: skip
    draw = draw_spatial(what, 50, torch.Generator().manual_seed(0))
    across, others = torch.zeros(3), [a for a in range(3) if a != axis]
    across[axis] = 1
    torch.testing.assert_close(draw.matrices[:, axis].abs(), across.expand(50, 3))  # a mirror at most
    torch.testing.assert_close(draw.matrices[:, :, axis].abs(), across.expand(50, 3))
    assert (draw.lattice[:, axis] == 0).all() and (draw.lattice[:, others] != 0).any()
    plane = draw.matrices[:, others][:, :, others]
    zooms = torch.linalg.det(plane).abs().sqrt()
    assert zooms.min() < 0.7 and zooms.max() > 1.5
    turns = plane / zooms[:, None, None]
    torch.testing.assert_close(turns @ turns.mT, torch.eye(2).expand(50, 2, 2), atol=1e-5, rtol=1e-5)
    assert (plane[:, 0, 1].abs() > 0.05).any()


def _ball(shape, centre, radius):
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1)
    return ((grid - np.array(centre)) ** 2).sum(-1) <= radius**2


def test_smooth_labels_are_the_label_with_the_largest_interpolated_share():
    label = torch.zeros(1, 13, 12, 11, dtype=torch.uint8)
    label[0][torch.tensor(_ball((13, 12, 11), (5, 6, 5), 3.5))] = 2
    label[0][torch.tensor(_ball((13, 12, 11), (8, 6, 5), 2.5))] = 7
    matrix = draw_spatial(EVERYTHING, 1, torch.Generator().manual_seed(3)).matrices
    patch = (9, 8, 7)
    _, smooth = apply_spatial(SpatialDraw(matrix), label[:, None].float(), label, patch, smooth_labels=True)
    offsets = np.stack(np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in patch), indexing="ij"))
    centre = [(p - 1) / 2 + (s - p) // 2 for s, p in zip((13, 12, 11), patch, strict=True)]
    where = np.einsum("ij,jxyz->ixyz", matrix[0].numpy(), offsets) + np.array(centre)[:, None, None, None]
    # scipy's zeros begin one voxel outside, as ours do, when the volume carries a rim of them
    rim = np.pad(label[0].numpy(), 1)
    shares = [map_coordinates((rim == v).astype(float), where + 1, order=1) for v in (2, 7)]
    background = 1 - sum(shares)
    expected = np.select([shares[1] > np.maximum(shares[0], background), shares[0] > background], [7, 2], 0)
    clear = np.sort(np.stack([background, *shares]), axis=0)
    sure = clear[-1] - clear[-2] > 1e-4  # ties round either way
    assert sure.mean() > 0.95
    assert set(np.unique(expected)) == {0, 2, 7}
    assert (smooth[0].numpy() == expected)[sure].all()


def test_smooth_labels_of_an_empty_label_map_are_empty():
    image, label = batch()
    _, smooth = apply_spatial(
        draw_spatial(EVERYTHING, 2, torch.Generator().manual_seed(1)), image, label * 0, (6, 6, 6), smooth_labels=True
    )
    assert not smooth.any()
