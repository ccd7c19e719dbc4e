"""What the faults meet: made once a session, with every command's undisturbed result."""

import pytest

from tests.faults.warm import Warm
from tests.faults.works import MODULES, make, tiny_data, works_of
from tests.storage.web_server import serving
from tests.workflows.test_download import archive_of


@pytest.fixture(scope="session")
def warm():
    with Warm(*MODULES) as warm:
        yield warm


@pytest.fixture(scope="session")
def made(warm, tmp_path_factory):
    root = tmp_path_factory.mktemp("faults")
    with serving(archive_of(root / "archive", cases=1)) as site:
        yield make(warm, root, works_of(root, tiny_data(root / "data"), site.url))
