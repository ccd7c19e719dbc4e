"""One slice in the terminal: two pixels a letter as half blocks in 24-bit colour, letters where there is no colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from decaseg.reporting.overlay import Layers, lay
from decaseg.reporting.paint import Coat
from decaseg.reporting.planes import PLANES, Plane, body_box, cut, make_scene, telling_index
from decaseg.volume import Volume

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

HALF = "▀"  # its upper half has the letter's colour, its lower half the ground's
RAMP = " .:-=+*#%@"
MARGIN = 4  # letters at the sides
MOST_COLUMNS = 100


def print_slice(
    image: Volume,
    prediction: Volume | None,
    truth: Volume | None,
    names: Mapping[int, str],
    title: str,
    plane: str = "axial",
    channel: int = 0,
    console: Console | None = None,
) -> None:
    """Prints the slice with most structure, the patient's right on the left, with letters at its edges and a legend.

    Colours and verdicts are those of `draw_overlay`. Without colours (a pipe, NO_COLOR) or without block letters the
    grey is a ramp of letters, and classes are the first letters of their names. ValueError for unknown planes and for
    label maps on another grid.
    """
    from rich.console import Console
    from rich.text import Text

    console = console or Console(highlight=False)
    cut_along = named_plane(plane)
    shown = prediction or image.with_array(np.zeros(image.shape, np.uint8))
    labels = tuple(value for value in names if 0 < value < 256)
    layers = lay(make_scene(image, shown, truth, labels, channel), names)
    # Lines that follow structures are finer than these pixels; they would only stain the verdict below them.
    areas = tuple(entry for entry in layers.legend if not entry[2])
    layers = replace(layers, outlined=None, coat=Coat(layers.coat.colours, fill=0.6), legend=areas)
    index = telling_index(layers.scene, cut_along)
    place = layers.scene.position_mm(cut_along.axis, index)
    box = body_box(layers.scene)
    layers, index = layers.cropped(box), index - box.start[cut_along.axis]
    coloured = console.color_system is not None and console.encoding.lower().startswith("utf")
    columns, rows = _fitted(layers, cut_along, console.width - 2 * MARGIN, console.height - 6)
    lines = (
        _blocks(layers, cut_along, index, columns, rows)
        if coloured
        else _letters(layers, cut_along, index, columns, rows)
    )
    console.print(Text(f"{title}  {plane}, {'xyz'[cut_along.axis]} {place:.1f} mm", style="bold"))
    _print_framed(console, cut_along, lines, columns)
    signs = _signs(layers)
    entries = [
        Text.assemble(("■ ", _style(colour)) if coloured else f"{signs[number]} = ", words)
        for number, (words, colour, _) in enumerate(layers.legend if prediction or truth else ())
    ]
    _print_in_lines(console, entries)


def named_plane(name: str) -> Plane:
    """One of PLANES by its name; ValueError lists them."""
    for plane in PLANES:
        if plane.name == name:
            return plane
    raise ValueError(f"--plane {name}: choose one of {', '.join(plane.name for plane in PLANES)}")


def _fitted(layers: Layers, plane: Plane, columns: int, rows: int) -> tuple[int, int]:
    """Columns and rows of letters (each two pixels high) that keep the slice's proportions."""
    scene = layers.scene
    wide = scene.shape[plane.across] * scene.spacing_mm[plane.across]
    high = scene.shape[plane.down] * scene.spacing_mm[plane.down]
    columns = max(8, min(columns, MOST_COLUMNS, int(max(rows, 8) * 2 * wide / high)))
    return columns, max(1, round(columns * high / wide / 2))


def _blocks(layers: Layers, plane: Plane, index: int, columns: int, rows: int) -> list[Text]:
    from rich.text import Text

    pixels = np.asarray(layers.picture(plane, index, (columns, 2 * rows), rim_px=0))
    lines = []
    for upper, lower in zip(pixels[::2], pixels[1::2], strict=True):
        line = Text()
        for top, bottom in zip(upper, lower, strict=True):
            line.append(HALF, style=f"{_style(top)} on {_style(bottom)}")
        lines.append(line)
    return lines


def _letters(layers: Layers, plane: Plane, index: int, columns: int, rows: int) -> list[Text]:
    """The nearest voxel of each letter's middle: a grey of the ramp, or its class's letter."""
    from rich.text import Text

    grey = layers.scene.window.grey(cut(layers.scene.image, plane, index))
    classes = cut(layers.classes, plane, index)
    r = ((np.arange(rows) + 0.5) * grey.shape[0] / rows).astype(int)
    c = ((np.arange(columns) + 0.5) * grey.shape[1] / columns).astype(int)
    ramp = np.array(list(RAMP))[np.rint(grey[np.ix_(r, c)] / 255 * (len(RAMP) - 1)).astype(int)]
    found: NDArray[np.uint8] = classes[np.ix_(r, c)]
    for value, sign in zip(layers.coat.colours, _signs(layers), strict=False):
        ramp[found == value] = sign
    return [Text("".join(row)) for row in ramp]


def _signs(layers: Layers) -> list[str]:
    """A letter for each entry of the legend: its first one that is not taken, or a digit."""
    signs: list[str] = []
    for words, _, _ in layers.legend:
        letters = [letter.upper() for letter in words.rsplit(maxsplit=2)[0] if letter.isascii() and letter.isalpha()]
        signs.append(next((sign for sign in [*letters, *"123456789"] if sign not in signs), "?"))
    return signs


def _print_framed(console: Console, plane: Plane, lines: Sequence[Text], columns: int) -> None:
    """The picture with R, L, A, P, S or I in the middle of each edge."""
    from rich.text import Text

    console.print(" " * MARGIN + plane.top.center(columns).rstrip())
    for number, line in enumerate(lines):
        middle = number == len(lines) // 2
        console.print(
            Text((plane.left if middle else "").rjust(MARGIN - 1) + " ")
            + line
            + Text(f" {plane.right}" if middle else "")
        )
    console.print(" " * MARGIN + plane.bottom.center(columns).rstrip())


def _print_in_lines(console: Console, entries: Sequence[Text]) -> None:
    """Three spaces between entries; a new line rather than a break inside one."""
    from rich.text import Text

    line = Text()
    for entry in entries:
        if line and line.cell_len + 3 + entry.cell_len > console.width:
            console.print(line)
            line = Text()
        line = Text.assemble(line, "   ", entry) if line else entry
    if line:
        console.print(line)


def _style(colour: Sequence[Any]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*(int(part) for part in colour))
