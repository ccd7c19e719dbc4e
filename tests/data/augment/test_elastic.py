import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from decaseg.data.augment.elastic import INJECTIVE, draw_elastic, smooth_shifts
from decaseg.data.augment.pipeline import Augmentation
from decaseg.data.augment.spatial import Spatial, SpatialDraw, apply_spatial


def lattice(seed: int, batch: int = 1, share: float = 1.0, strength: float = 1.0, cells: int = 4) -> torch.Tensor:
    return draw_elastic(share, strength, cells, batch, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("patch", [(12, 20, 16), (9, 7, 30)])
def test_shifts_are_simpleitks_b_splines(patch):
    drawn = lattice(0)
    shifts = smooth_shifts(drawn, patch)[0].double().numpy()
    oracle = sitk.BSplineTransform(3, 3)
    # SimpleITK's domain in our voxels: from the first voxel's outer edge to that of the last; its axes run x, y, z.
    oracle.SetTransformDomainOrigin([-0.5] * 3)
    oracle.SetTransformDomainPhysicalDimensions([float(n) for n in patch])
    oracle.SetTransformDomainMeshSize([4] * 3)
    in_voxels = drawn[0].double().numpy() * (np.array(patch) / 4)[:, None, None, None]
    oracle.SetParameters(np.concatenate([axis.transpose(2, 1, 0).ravel() for axis in in_voxels]).tolist())
    for place in np.ndindex(*patch):
        if sum(place) % 7 == 0:
            expected = np.array(oracle.TransformPoint([float(p) for p in place])) - place
            np.testing.assert_allclose(shifts[:, *place], expected, atol=1e-4)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), patch=st.tuples(*[st.integers(6, 24)] * 3))
def test_nothing_folds_and_no_shift_passes_its_bound(seed, patch):
    shifts = smooth_shifts(lattice(seed).sign() * INJECTIVE, patch)[0]  # the hardest lattice: every shift at its bound
    for axis, n in enumerate(patch):
        assert shifts[axis].abs().max() <= n / 4 * INJECTIVE + 1e-5
    places = torch.stack(torch.meshgrid(*(torch.arange(n).float() for n in patch), indexing="ij")) + shifts
    steps = [places.diff(dim=a)[:, : patch[0] - 1, : patch[1] - 1, : patch[2] - 1] for a in (1, 2, 3)]
    volume = torch.linalg.det(torch.stack(steps).permute(2, 3, 4, 0, 1))
    assert (volume > 0).all()


def test_equal_shifts_move_the_whole_patch_by_whole_voxels():
    drawn = torch.zeros(1, 3, 7, 7, 7)
    drawn[:, 0] = 1 / 3  # of a lattice step, which is 12 / 4 = 3 voxels
    image = torch.rand((1, 2, 16, 16, 16), dtype=torch.float64)
    label = torch.randint(0, 4, (1, 16, 16, 16))
    moved, labels = apply_spatial(SpatialDraw(torch.eye(3)[None], drawn), image, label, (12, 12, 12))
    torch.testing.assert_close(moved, image[:, :, 3:15, 2:14, 2:14], atol=1e-5, rtol=0)
    assert torch.equal(labels, label[:, 3:15, 2:14, 2:14])


def test_only_the_share_is_bent_and_strength_zero_bends_nothing():
    bent = lattice(1, batch=400, share=0.25).flatten(1).any(1)
    assert 60 < bent.sum() < 140
    assert not lattice(1, batch=50, strength=0.0).any()
    assert lattice(1, batch=400, strength=0.5).abs().max() <= 0.5 * INJECTIVE


def test_a_bent_step_is_a_function_of_seed_and_number():
    what = Spatial(rotation_share=0, scale_share=0, mirror_axes=(), elastic_share=1)
    image, label = torch.rand(2, 1, 14, 14, 14), torch.randint(0, 3, (2, 14, 14, 14))
    first, again, other = (Augmentation((12,) * 3, what, None, seed)(5, image, label) for seed in (3, 3, 4))
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])
    assert set(first[1].unique().tolist()) <= {0, 1, 2}


def test_a_strength_that_folds_is_refused():
    with pytest.raises(ValueError, match=r"elastic_strength=1\.5"):
        Spatial(elastic_strength=1.5)
