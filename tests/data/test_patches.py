from collections import Counter
from itertools import islice

import numpy as np
import pytest

from decaseg.data.cases import TrainingCase
from decaseg.data.patches import PatchSampler, read_ahead


def case(number, shape=(20, 22, 18), spot=None):
    """A case whose voxels tell where they are; `spot` is its one labelled voxel."""
    image = (np.arange(np.prod(shape)) % 1000 + 1).astype(np.float16).reshape(1, *shape)
    label = np.zeros(shape, np.uint8)
    places = {}
    if spot:
        label[spot] = 1
        places[1] = np.array([spot], np.int32)
    return TrainingCase(f"c{number}", image, label, places)


def sampler(cases, shape=(8, 8, 8), batch_size=2, share=0.5, seed=7):
    return PatchSampler(cases, shape, batch_size, share, seed)


def same(a, b):
    return a.cases == b.cases and np.array_equal(a.image, b.image) and np.array_equal(a.label, b.label)


def test_a_batch_is_a_function_of_seed_and_number():
    cases = [case(i, spot=(5, 6, 7)) for i in range(5)]
    one, other = sampler(cases), sampler(cases)
    for n in reversed(range(6)):  # asked for in another order, after others
        other.batch(n)
    assert all(same(one.batch(n), other.batch(n)) for n in range(6))
    assert not same(one.batch(0), one.batch(1))
    assert not same(one.batch(0), sampler(cases, seed=8).batch(0))


def test_reading_ahead_gives_the_same_batches_from_any_step():
    cases = [case(i, spot=(5, 6, 7)) for i in range(5)]
    source = sampler(cases)
    ahead = read_ahead(source, first_step=4, depth=3)
    for n, batch in enumerate(islice(ahead, 5), 4):
        assert batch.step == n and same(batch, source.batch(n))
    ahead.close()


def test_reading_ahead_raises_what_went_wrong():
    broken = sampler([TrainingCase("x", np.zeros((1, 9, 9, 9), np.float16), np.zeros((9, 9), np.uint8), {})])
    with pytest.raises(ValueError):
        next(read_ahead(broken, 0, 3))


@pytest.mark.parametrize(("cases", "batch_size"), [(5, 2), (3, 4), (7, 1)])
def test_every_case_is_seen_equally_often(cases, batch_size):
    source = sampler([case(i) for i in range(cases)], batch_size=batch_size)
    seen = Counter(name for n in range(cases * 4) for name in source.batch(n).cases)
    assert set(seen.values()) == {4 * batch_size} and len(seen) == cases


def test_order_of_cases_changes_from_pass_to_pass():
    source = sampler([case(i) for i in range(8)], batch_size=8)
    assert len({source.batch(n).cases for n in range(5)}) == 5


def test_image_and_label_are_cut_from_the_same_place():
    one = case(0)
    labelled = TrainingCase("c", one.image, (one.image[0] % 200).astype(np.uint8), {})
    for n in range(10):
        batch = sampler([labelled]).batch(n)
        np.testing.assert_array_equal(batch.label, batch.image[:, 0] % 200)
        assert batch.image.dtype == np.float32 and (batch.image > 0).all()  # inside, so nothing is padded


def test_a_small_volume_stands_in_the_middle_of_zeros():
    small = case(0, shape=(4, 30, 5))
    batch = sampler([small], shape=(8, 8, 8), batch_size=1).batch(0)
    inside = batch.image[0, 0] != 0
    assert inside[2:6, :, 2:7].all() and inside.sum() == 4 * 8 * 5
    start = int(np.flatnonzero(small.image[0, 0, :, 0] == batch.image[0, 0, 2, 0, 2])[0])
    np.testing.assert_array_equal(batch.image[0, 0, 2:6, :, 2:7], small.image[0][:, start : start + 8])


def test_foreground_patches_centre_on_a_labelled_voxel():
    for n in range(20):
        batch = sampler([case(0, spot=(10, 11, 9))], share=1.0).batch(n)
        assert (batch.label[:, 4, 4, 4] == 1).all()


def kept_of(batch, inner):
    """The middle of each patch, which is what a network sees where nothing is turned."""
    starts = [(n - k) // 2 for n, k in zip(batch.label.shape[1:], inner, strict=True)]
    return batch.image[(slice(None), 0, *(slice(s, s + k) for s, k in zip(starts, inner, strict=True)))]


@pytest.mark.parametrize("share", [0.0, 1.0])
@pytest.mark.parametrize("length", [9, 11, 14, 30])
def test_what_is_kept_goes_through_the_whole_case_and_never_leaves_it(length, share):
    """A margin for turning must not keep the borders of a case out of training, nor put windows' places elsewhere."""
    volume = np.arange(1, length**3 + 1, dtype=np.float32).reshape(1, length, length, length)
    everywhere = np.argwhere(np.ones((length,) * 3)).astype(np.int32)
    one = TrainingCase("c", volume, np.ones((length,) * 3, np.uint8), {1: everywhere})
    source = PatchSampler([one], (12, 12, 12), 4, share, 3, kept=(8, 8, 8))
    seen = np.zeros(length**3 + 1, bool)
    starts = set()
    for n in range(600):
        inner = kept_of(source.batch(n), (8, 8, 8))
        assert (inner > 0).all()
        seen[inner.astype(int).ravel()] = True
        starts |= {int(row[0, 0, 0] - 1) // length**2 for row in inner}
    assert seen[1:].mean() > 0.95
    assert starts == set(range(length - 8 + 1))


def test_a_structure_at_the_border_is_where_prediction_will_see_it():
    for spot, place in (((0, 21, 17), (0, 7, 7)), ((10, 11, 9), (4, 4, 4)), ((2, 11, 16), (2, 4, 6))):
        source = PatchSampler([case(0, spot=spot)], (14, 12, 10), 1, 1.0, 7, kept=(8, 8, 8))
        assert source.batch(0).label[0, 3 + place[0], 2 + place[1], 1 + place[2]] == 1


def test_a_spot_at_the_edge_is_inside_though_not_central():
    batch = sampler([case(0, spot=(0, 21, 17))], share=1.0).batch(0)
    assert batch.label.sum() == 2 and (batch.image > 0).all()


def test_the_foreground_share_is_kept():
    cases = [case(0, shape=(64, 64, 64), spot=(32, 32, 32))]
    source = sampler(cases, batch_size=4, share=0.3)
    hits = sum(int(source.batch(n).label[:, 4, 4, 4].sum()) for n in range(150))
    assert 0.24 < hits / 600 < 0.36  # 3 standard errors; the rest almost never hits one voxel by chance


def test_rare_structures_are_centred_as_often_as_large_ones():
    label = np.zeros((32, 32, 32), np.uint8)
    label[8:20, 8:20, 8:20], label[25, 25, 25] = 1, 2
    places = {v: np.argwhere(label == v).astype(np.int32) for v in (1, 2)}
    source = sampler([TrainingCase("c", np.ones((1, 32, 32, 32), np.float16), label, places)], share=1.0, batch_size=4)
    centres = Counter(v for n in range(100) for v in source.batch(n).label[:, 4, 4, 4].tolist())
    assert 0.4 < centres[2] / 400 < 0.6


def test_without_foreground_every_start_is_reached():
    source = sampler([case(0, shape=(10, 8, 8))], share=1.0, batch_size=4)
    starts = {float(row[0, 0, 0, 0]) for n in range(20) for row in source.batch(n).image}
    assert len(starts) == 3  # 10 - 8 + 1
