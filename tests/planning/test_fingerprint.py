"""The same data give the same fingerprint and plan, whatever the machine, the threads and the order of files."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decaseg.planning.fingerprint import Fingerprint, digest_of_image, take_fingerprint
from decaseg.planning.plan import make_plan
from decaseg.planning.wishes import Wishes
from decaseg.storage.layouts import read_dataset
from tests.tasks import TASKS, write_task


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_task(tmp_path_factory.mktemp("fingerprint"), TASKS["Task07_Pancreas"], cases=7)


@pytest.fixture(scope="module")
def taken(data):
    return take_fingerprint(read_dataset(data))


@pytest.mark.parametrize("threads", [1, 3, 8])
def test_threads_change_nothing(data, taken, threads):
    assert take_fingerprint(read_dataset(data), threads).to_json() == taken.to_json()


def test_the_order_in_dataset_json_changes_nothing(data, taken):
    dataset = read_dataset(data)
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(dataset.training))
        shuffled = replace(dataset, training=tuple(dataset.training[i] for i in order))
        assert take_fingerprint(shuffled).to_json() == taken.to_json()


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_the_last_digits_of_floats_change_no_plan(taken, seed):
    """Other processors add in another order: every float a few units in its 14th digit off, cases in another order."""
    rng = np.random.default_rng(seed)

    def noisy(value):
        return float(value * (1 + rng.uniform(-1e-14, 1e-14)))

    cases = [
        replace(
            case,
            spacing_mm=tuple(map(noisy, case.spacing_mm)),
            kept_share=noisy(case.kept_share),
            centroids_mm={k: tuple(map(noisy, v)) for k, v in case.centroids_mm.items()},
        )
        for case in taken.cases
    ]
    other = replace(taken, cases=tuple(cases[i] for i in rng.permutation(len(cases))))
    assert make_plan(other, Wishes()).to_json() == make_plan(taken, Wishes()).to_json()


def test_a_fingerprint_is_plain_json(taken):
    document = json.loads(json.dumps(taken.to_json(), allow_nan=False))
    assert len(document["cases"]) == 7 and set(document) == set(Fingerprint.__dataclass_fields__)


def test_the_digest_is_of_values_not_of_how_they_are_stored():
    image = np.random.default_rng(0).integers(-1000, 1000, (2, 5, 6, 7)).astype(np.int16)
    same = digest_of_image(image)
    assert same == digest_of_image(image.astype(np.float64)) == digest_of_image(np.asfortranarray(image))
    assert digest_of_image(np.zeros((1, 2, 2, 2))) == digest_of_image(-np.zeros((1, 2, 2, 2)))
    changed = image.copy()
    changed[1, 4, 5, 6] += 1
    assert len({same, digest_of_image(changed), digest_of_image(image[::-1]), digest_of_image(image[:, ::-1])}) == 4
    assert digest_of_image(image.reshape(2, 6, 5, 7)) != same
