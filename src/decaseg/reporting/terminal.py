"""One slice in the terminal: two pixels a letter as half blocks in 24-bit colour, letters where there is no colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from decaseg.geometry import Int3
from decaseg.reporting.overlay import Layers, lay
from decaseg.reporting.paint import VERDICTS, Colour
from decaseg.reporting.planes import PLANES, Plane, body_box, cut, make_scene, telling_index
from decaseg.volume import Volume

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

HALF = "▀"  # its upper half has the letter's colour, its lower half the ground's
RAMP = " .:-=+*#%@"
MARGIN = 4  # letters at the sides
MOST_COLUMNS = 100
