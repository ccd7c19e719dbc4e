"""1,000 requests of good and bad clients at once: benchmarks/faults/attack_server.py sends 10,000."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from decaseg.storage import nifti
from decaseg.volume import Volume
from tests.attacks.servers import Crowd, outside, truths, write_token
from tests.serving.drawn import write_bundle
from tests.serving.running import Running
from tests.synthetic import blobs

SHAPES = ((16, 15, 14), (14, 16, 12), (12, 13, 16))  # one window each


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("attacked"))


def images(folder: Path) -> list[Path]:
    """Small images of odd orientation, one window each."""
    affine = np.array([[0, -1.0, 0, 12.5], [1.0, 0, 0, -7], [0, 0, 1.0, 3], [0, 0, 0, 1.0]])
    paths = [folder / f"image{number}.nii.gz" for number in range(len(SHAPES))]
    for number, (path, shape) in enumerate(zip(paths, SHAPES, strict=True)):
        nifti.write(path, Volume.of(blobs(shape, np.random.default_rng(number))[0], affine))
    return paths


def test_good_clients_get_their_labels_and_bad_ones_get_nothing(bundle, tmp_path):
    pairs = truths(bundle, images(tmp_path), tmp_path)
    options = ("--token-file", write_token(tmp_path / "secret"), "--queue", 64, "--max-image", 4)
    with Running(bundle, tmp_path / "server" / "here", *options) as server:
        before = outside(server)
        crowd = Crowd(server, pairs, tmp_path, seed=1)
        crowd.ask_all(0, 1000)
        assert not crowd.bad, crowd.bad[:5]
        assert crowd.sorts["valid"] == {200: 500} and crowd.sorts["token"] == {401: 125}
        assert len(crowd.sorts["damaged"]) > 1 and sum(crowd.sorts["lie"].values()) == 125
        assert outside(server) == before and server.files() == []
        assert crowd.ask(pairs[0][0], {"Authorization": "Bearer wrong"})[0] == 401
