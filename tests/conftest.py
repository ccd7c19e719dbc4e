"""What holds for all tests."""

from __future__ import annotations

import os
import tempfile

# What commands remember of files between runs goes to a folder of the tests' own, also in processes that they start.
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="decaseg-test-cache-")
