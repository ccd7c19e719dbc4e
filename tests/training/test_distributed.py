import numpy as np
import pytest
import torch

from decaseg.data.augment.intensity import Intensity
from decaseg.data.augment.pipeline import Augmentation
from decaseg.data.augment.spatial import Spatial
from decaseg.data.cases import TrainingCase
from decaseg.data.patches import PatchSampler
from tests.synthetic import blobs

PATCH = (8, 8, 8)
EVERYTHING = Spatial(rotation_share=1, scale_share=1), Intensity(noise_share=0.7, contrast_share=0.7, gamma_share=0.7)


def cases(count=3, shape=(18, 16, 14)):
    rng = np.random.default_rng(0)
    for number in range(count):
        image, label = blobs(shape, rng)
        places = {v: np.argwhere(label == v).astype(np.int32) for v in (1, 2)}
        yield TrainingCase(str(number), (image / 100).astype(np.float16), label, places)


def samples(batch_size, rows, step):
    """The augmented patches that a process with `rows` of the batch sees at a step."""
    augment = Augmentation(PATCH, *EVERYTHING, 5, batch_size, rows)
    batch = PatchSampler(list(cases()), augment.source_shape, batch_size, 0.5, 5, rows).batch(step)
    image, label = augment(step, torch.from_numpy(batch.image), torch.from_numpy(batch.label))
    return image, label, batch.cases


@pytest.mark.parametrize(("batch_size", "ranks"), [(4, 2), (3, 2), (5, 4)])
def test_ranks_see_the_very_samples_that_one_process_sees(batch_size, ranks):
    for step in (0, 7):
        image, label, names = samples(batch_size, slice(None), step)
        for rank in range(ranks):
            rows = slice(rank, None, ranks)
            mine, mine_label, mine_names = samples(batch_size, rows, step)
            assert len(mine) == len(range(batch_size)[rows]) and mine_names == names
            assert torch.equal(mine_label, label[rows])
            torch.testing.assert_close(mine, image[rows], atol=1e-5, rtol=1e-5)
