"""Slabs equal the full way; windows equal MONAI's; empty windows are background."""

from itertools import pairwise, product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data.utils import dense_patch_slices
from monai.inferers import sliding_window_inference
from monai.inferers.utils import _get_scan_interval
from scipy.ndimage import zoom

from decaseg.data.normalise import Normalisation
from decaseg.data.preprocess import Preprocessing, Undo
from decaseg.data.targets import make_target
from decaseg.geometry import Box
from decaseg.inference.empty import present_voxels
from decaseg.inference.restore import Wanted, restore
from decaseg.inference.windows import Slab, Windows, along, slabs, slide, whole
from decaseg.volume import Grid

ALL = make_target("all", {1: "a", 2: "b"})
BRATS = make_target("brats", {1: "edema", 2: "non-enhancing tumor", 3: "enhancing tumor"})


def network(classes=3, channels=2):
    torch.manual_seed(0)
    layers = torch.nn.Conv3d(channels, 6, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv3d(6, classes, 3, padding=1)
    model = torch.nn.Sequential(*layers).eval()

    def infer(windows):
        with torch.inference_mode():
            return model(torch.from_numpy(windows)).numpy()

    return model, infer


def monai_starts(size, window, overlap):
    """Where MONAI puts its windows, by its own functions."""
    interval = _get_scan_interval(size, window, 3, (overlap,) * 3)
    places = dense_patch_slices(size, window, interval, return_slice=False)
    return tuple(tuple(sorted({int(place[a][0]) for place in places})) for a in range(3))


@pytest.mark.parametrize("size", [(17, 21, 13), (30, 9, 26), (11, 12, 40)])
@pytest.mark.parametrize("overlap", [0.5, 0.25])
def test_equals_monais_windows_wherever_they_lie(size, overlap):
    model, infer = network()
    window, image = (8, 9, 10), torch.rand(2, *size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = sliding_window_inference(
            image[None], window, 1, model, overlap=overlap, mode="gaussian", sigma_scale=0.125
        )[0].numpy()
    theirs = Windows.at(size, window, monai_starts(size, window, overlap))
    found = whole(slabs(image.numpy(), theirs, infer), size)
    np.testing.assert_allclose(found, expected, atol=2e-5)
    # Ours are spread evenly, as nnU-Net's; theirs end with a larger overlap. They differ just where the places do.
    ours = slide(image.numpy(), window, infer, 1 - overlap)
    alike = Windows.over(size, window, 1 - overlap).starts == theirs.starts
    assert np.allclose(ours, expected, atol=2e-5) == alike


@given(
    size=st.tuples(*[st.integers(1, 25)] * 3),
    window=st.tuples(*[st.integers(2, 9)] * 3),
    step=st.sampled_from([0.3, 0.5, 1.0]),
    batch_size=st.integers(1, 4),
)
@settings(deadline=None, max_examples=60)
def test_slabs_follow_each_other_and_hold_what_averaging_everything_would(size, window, step, batch_size):
    def infer(windows):
        ramp = np.arange(np.prod(window), dtype=np.float32).reshape(window) / 50
        return np.stack([windows[:, 0] * 2, windows[:, 0] + ramp], axis=1)

    image = np.random.default_rng(0).normal(size=(1, *size)).astype(np.float32)
    windows = Windows.over(size, window, step)
    parts = [Slab(s.axis, s.start, s.logits.copy()) for s in slabs(image, windows, infer, batch_size)]
    ends = [s.start + s.logits.shape[1 + s.axis] for s in parts]
    assert [s.start for s in parts] == [0, *ends[:-1]] and ends[-1] == size[windows.axis]
    np.testing.assert_allclose(whole(iter(parts), size), naive(image, windows, infer), atol=1e-4)


def naive(image, windows, infer):
    """The textbook's way: everything in memory."""
    from decaseg.inference.windows import gaussian_weights

    pads = [(b, p - n - b) for b, p, n in zip(windows.before, windows.padded, windows.size, strict=True)]
    image = np.pad(image, [(0, 0), *pads])
    total, weights = np.zeros((2, *windows.padded)), np.zeros(windows.padded)
    for start in product(*windows.starts):
        place = tuple(slice(s, s + w) for s, w in zip(start, windows.window, strict=True))
        total[(slice(None), *place)] += infer(image[(slice(None), *place)][None])[0] * gaussian_weights(windows.window)
        weights[place] += gaussian_weights(windows.window)
    return (total / weights)[(slice(None), *(slice(b, b + n) for b, n in zip(windows.before, windows.size)))]  # noqa: B905


def test_only_a_windows_thickness_of_class_maps_is_held():
    windows = Windows.over((20, 200, 30), (10, 10, 10), 0.5)
    assert windows.axis == 1  # along which slabs are smallest
    held = [s.logits.base.shape for s in slabs(np.zeros((1, 20, 200, 30), np.float32), windows, lambda w: w)]
    assert set(held) == {(1, 20, 10, 30)}


@pytest.mark.parametrize("target", [ALL, BRATS], ids=["softmax", "regions"])
@pytest.mark.parametrize("wanted_shape", [(13, 9, 22), (30, 41, 7), (12, 40, 20)])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_restoring_slab_by_slab_equals_scipys_resampling_of_everything(target, wanted_shape, axis):
    shape = (12, 20, 11)
    grid = Grid(wanted_shape, np.eye(4))
    undo = Undo(grid, wanted_shape, Box((0, 0, 0), wanted_shape), shape)
    logits = np.random.default_rng(0).normal(size=(3, *shape)).astype(np.float32)
    factors = [w / n for w, n in zip(wanted_shape, shape, strict=True)]
    full = np.stack([zoom(one, factors, order=1, mode="nearest", grid_mode=True) for one in logits])
    cuts = [0, 1, 4, 5, shape[axis]]
    parts = [Slab(axis, a, logits[along(axis, a, b)]) for a, b in pairwise(cuts)]
    everything = Wanted(probabilities=True, uncertainty=True)
    found = restore(iter(parts), target, undo, everything)
    if target is ALL:
        shares = np.exp(full) / np.exp(full).sum(axis=0)
        expected, labels = shares[1:], full.argmax(axis=0)
        entropy = -(shares * np.log(shares)).sum(axis=0) / np.log(3)
    else:
        expected = 1 / (1 + np.exp(-full))
        labels = np.select([one > 0 for one in full[::-1]], target.paint[::-1], 0)
        bits = -(expected * np.log2(expected) + (1 - expected) * np.log2(1 - expected))
        entropy = bits.max(axis=0)
    np.testing.assert_allclose(found.probabilities.array, expected, atol=1e-5)
    np.testing.assert_allclose(found.uncertainty.array[0], entropy, atol=1e-5)
    assert (found.labels.array[0] == labels).mean() > 0.9999
    at_once = restore([Slab(axis, 0, logits)], target, undo, everything)
    np.testing.assert_array_equal(at_once.labels.array, found.labels.array)
    np.testing.assert_array_equal(at_once.probabilities.array, found.probabilities.array)


def test_slabs_that_leave_a_gap_or_come_short_are_refused():
    undo = Undo(Grid((6, 4, 4), np.eye(4)), (6, 4, 4), Box((0, 0, 0), (6, 4, 4)), (6, 4, 4))
    logits = np.zeros((3, 3, 4, 4), np.float32)
    for parts in ([Slab(0, 0, logits)], [Slab(0, 0, logits), Slab(0, 4, logits)], [Slab(0, 0, logits)] * 3, []):
        with pytest.raises(ValueError, match="do not belong"):
            restore(parts, ALL, undo)


def test_windows_that_hold_nothing_are_background_and_cost_nothing():
    present = np.zeros((8, 30, 8), bool)
    present[3, 4, 3] = True
    calls = []

    def infer(windows):
        calls.append(len(windows))
        return np.stack([windows[:, 0], windows[:, 0] + 1], axis=1)

    told = []
    parts = slabs(np.zeros((1, 8, 30, 8), np.float32), Windows.over((8, 30, 8), (8, 8, 8), 0.5), infer, 1,
                  lambda done, total: told.append((done, total)), present, (20.0, -20.0))  # fmt: skip
    found = whole(parts, (8, 30, 8)).argmax(axis=0)
    assert sum(calls) == 2 and told[-1] == (7, 7)
    assert (found[:, :12] == 1).all() and not found[:, 12:].any()


@pytest.mark.parametrize(
    ("kind", "image", "present"),
    [
        (Normalisation("zscore_nonzero"), [0, 0, -1.5, 2], [0, 0, 1, 1]),
        (Normalisation("zscore"), [-0.7, -0.7, -0.69, 3], [0, 0, 1, 1]),
        (Normalisation("ct", 0, 1, -2, 2), [-2, -2, 0, 2], [0, 0, 1, 1]),
        (Normalisation("ct", 0, 1, -2, 2), [2, 2, 2, 2], [0, 0, 0, 0]),
    ],
)
def test_what_surrounds_the_body_is_empty(kind, image, present):
    how = Preprocessing(("A",), (0,), 1, (1.0, 1.0, 1.0), (kind,))
    array = np.array(image, np.float32).reshape(1, 4, 1, 1)
    np.testing.assert_array_equal(present_voxels(array, how).ravel(), np.array(present, bool))
