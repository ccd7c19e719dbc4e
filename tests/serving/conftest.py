import numpy as np
import pytest

from decaseg.storage import nifti
from decaseg.volume import Volume
from tests.serving.drawn import write_bundle
from tests.serving.running import Running
from tests.synthetic import blobs

AFFINE = np.array([[0, -1.1, 0, 12.5], [0.9, 0, 0, -7], [0, 0, 1.3, 3], [0, 0, 0, 1.0]])


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    """A BUNDLE of one channel."""
    return write_bundle(tmp_path_factory.mktemp("drawn"))


@pytest.fixture(scope="session")
def image_path(tmp_path_factory):
    """An image with an odd orientation and spacing."""
    path = tmp_path_factory.mktemp("image") / "Doe^John.nii.gz"
    array, _ = blobs((26, 22, 18), np.random.default_rng(0))
    nifti.write(path, Volume.of(array, AFFINE), "secret words in a header")
    return path


@pytest.fixture(scope="session")
def image(image_path):
    return image_path.read_bytes()


@pytest.fixture(scope="session")
def large(tmp_path_factory):
    """An image that keeps a server with `--step 0.03` busy for minutes."""
    path = tmp_path_factory.mktemp("large") / "a.nii.gz"
    nifti.write(path, Volume.of(blobs((48, 48, 48), np.random.default_rng(1))[0]))
    return path.read_bytes()


@pytest.fixture(scope="session")
def server(drawn, tmp_path_factory):
    """A server with small limits; tests leave nothing behind in it."""
    folder = tmp_path_factory.mktemp("server")
    with Running(drawn, folder, "--max-upload", 1, "--max-image", 4, "--queue", 4) as running:
        yield running


@pytest.fixture
def slow(drawn, tmp_path):
    """A server whose predictions of `large` take minutes, and so have many windows to be stopped at."""
    with Running(drawn, tmp_path / "slow", "--step", 0.03, "--queue", 2, "--grace", 1) as running:
        yield running
