"""What holds for all tests."""

from __future__ import annotations

import os
import signal
import tempfile

import pytest
from hypothesis import settings

# What commands remember of files between runs goes to a folder of the tests' own, also in processes that they start.
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="decaseg-test-cache-")

# Under nohup, or behind a shell's &, Ctrl-C is ignored here and would be in every process that a test sends it to.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("house", deadline=None)  # how long an example takes is the machine's matter
settings.load_profile("house")


@pytest.fixture(scope="module")
def browser():
    """A Chromium for all tests of a file, which open pages of their own in it."""
    from tests.reporting.viewer.chromium import chromium

    with chromium() as opened:
        yield opened
