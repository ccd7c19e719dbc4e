"""Everything to look at of one case: the overlay, what scrolls, what turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from decaseg.reporting.animation import draw_scrolling
from decaseg.reporting.extras import need
from decaseg.reporting.look import ANIMATIONS, Look
from decaseg.reporting.motion import find_ffmpeg
from decaseg.reporting.overlay import known_labels, lay, poster
from decaseg.reporting.planes import make_scene
from decaseg.reporting.turning import draw_turning
from decaseg.volume import Volume


@dataclass(frozen=True, eq=False)
class Shown:
    """One case: image, label maps on its grid (the truth may be absent), names of label values, caption, channel."""

    image: Volume
    prediction: Volume
    truth: Volume | None
    names: Mapping[int, str]
    caption: str
    channel: int = 0


def check_drawing(look: Look) -> None:
    """ValueError with the way out, before any work, where something that `look` needs is not installed."""
    for module in ("PIL.Image", *(("scipy.ndimage", "skimage.measure") if look.animations else ())):
        need(module)
    if "mp4" in look.animations:
        find_ffmpeg()


def is_drawn(stem: Path, look: Look) -> bool:
    """Whether all that `draw_case` writes of `stem` is there; which palette it was drawn in, files do not tell."""
    return all(path.is_file() for path in _files(stem, look.animations))


def drop_pictures(stem: Path) -> None:
    """Removes what `draw_case` wrote of `stem`, whatever kinds it was asked for."""
    for path in _files(stem, ANIMATIONS):
        path.unlink(missing_ok=True)


def draw_case(stem: Path, shown: Shown, look: Look | None = None) -> None:
    """Writes `stem`.png, and of each kind in `look.animations` `stem`.KIND, which scrolls, and `stem`_3d.KIND.

    ValueError when the grids differ, or what is needed for a kind is not installed.
    """
    look = look or Look()
    labels = known_labels(shown.names)
    scene = make_scene(shown.image, shown.prediction, shown.truth, labels, shown.channel)
    layers = lay(scene, shown.names, look)
    poster(stem.with_name(f"{stem.name}.png"), layers, shown.caption)
    if look.animations:
        draw_scrolling(stem, layers, shown.caption, look.animations)
        draw_turning(stem, lay(scene, shown.names, Look(look.palette)), shown.caption, look.animations)


def _files(stem: Path, kinds: Sequence[str]) -> tuple[Path, ...]:
    moving = (stem.with_name(f"{stem.name}{more}.{kind}") for kind in kinds for more in ("", "_3d"))
    return stem.with_name(f"{stem.name}.png"), *moving
