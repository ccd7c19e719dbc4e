"""pydicom's warnings quote what stands in a file, names of patients too: none of them may reach a terminal or a log."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pydicom.config

logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
logging.getLogger("highdicom").setLevel(logging.CRITICAL + 1)
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE


@contextmanager
def quietly() -> Iterator[None]:
    """Nothing is warned of inside."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
