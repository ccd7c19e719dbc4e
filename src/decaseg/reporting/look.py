"""How a person wants pictures: which colours, filled or outlined, which kinds of moving pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Colour = tuple[int, int, int]

RIGHT, FALSE_POSITIVE, MISSED, CONFUSED = 1, 2, 3, 4
VERDICT_WORDS: Mapping[int, str] = {
    RIGHT: "right",
    FALSE_POSITIVE: "false positive",
    MISSED: "missed",
    CONFUSED: "wrong structure",
}


@dataclass(frozen=True)
class Palette:
    """A colour a verdict, and colours of structures in the order of their label values."""

    verdicts: Mapping[int, Colour]
    structures: Sequence[Colour]


PALETTES: Mapping[str, Palette] = {
    # Purple, red and blue as Intel's pages have them, with lightness far enough apart to survive a grey print.
    "intel": Palette(
        {RIGHT: (178, 92, 255), FALSE_POSITIVE: (255, 64, 56), MISSED: (40, 156, 255), CONFUSED: (255, 150, 24)},
        ((64, 224, 190), (255, 240, 104), (255, 150, 206), (196, 216, 250), (216, 176, 128), (112, 150, 100)),
    ),
    # Green, vermilion, blue and pale yellow after Okabe and Ito (2008): painted over an image any two of them stay 25
    # CIELAB units apart for readers without red or green cones, where purple and blue above are 2 apart.
    "safe": Palette(
        {RIGHT: (0, 154, 122), FALSE_POSITIVE: (240, 110, 20), MISSED: (80, 140, 255), CONFUSED: (255, 250, 170)},
        ((128, 214, 255), (255, 158, 216), (238, 238, 226), (206, 140, 90), (150, 150, 255), (190, 226, 160)),
    ),
}
ANIMATIONS = ("gif", "webp", "mp4")


@dataclass(frozen=True)
class Look:
    """What `evaluate` was asked for; ValueError for a palette or a kind of animation that there is not."""

    palette: str = "intel"
    outlines: bool = False
    animations: tuple[str, ...] = ("gif", "webp")

    def __post_init__(self) -> None:
        if self.palette not in PALETTES:
            raise ValueError(f"--palette {self.palette}: choose {' or '.join(PALETTES)}")
        for kind in self.animations:
            if kind not in ANIMATIONS:
                raise ValueError(f"--animations {kind}: choose among {', '.join(ANIMATIONS)}, or none")

    @property
    def colours(self) -> Palette:
        return PALETTES[self.palette]

    @property
    def options(self) -> tuple[str, ...]:
        """The words of the command line that ask for it; none where it is the usual one.

        >>> Look("safe", animations=()).options
        ('--palette', 'safe', '--animations', 'none')
        """
        usual = Look()
        palette = () if self.palette == usual.palette else ("--palette", self.palette)
        kinds = () if self.animations == usual.animations else ("--animations", *(self.animations or ("none",)))
        return *palette, *(("--outlines",) if self.outlines else ()), *kinds
