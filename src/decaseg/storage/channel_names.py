"""What the names of MR contrasts mean: BraTS, BIDS, the Decathlon and scanners call one contrast by many names."""

from __future__ import annotations

import re
from collections.abc import Sequence

# Canonical name, in the Decathlon's spelling and order -> other spellings, lower case, letters and digits alone.
CONTRASTS: dict[str, tuple[str, ...]] = {
    "FLAIR": ("flair", "t2f", "t2flair", "t2wflair", "flairt2", "t2tirmflair", "t2darkfluid"),
    "T1w": ("t1", "t1n", "t1w", "t1native", "t1pre", "t1wpre"),
    "t1gd": ("t1gd", "t1ce", "t1c", "t1post", "t1wce", "t1gad", "t1contrast", "t1wgd",
             "t1cw", "cegadoliniumt1w", "cegdt1w"),
    "T2w": ("t2", "t2w"),
}  # fmt: skip
# In free text, such as a scanner's series description, the first pattern that is found decides.
PATTERNS = (
    ("FLAIR", re.compile(r"flair|tirm|dark.?fluid|(?<![a-z0-9])t2f(?![a-z])", re.IGNORECASE)),
    ("t1gd", re.compile(
        r"t1.*(gd|gad|post|contrast|km\b|\+ ?c|(?<![a-z])ce(?![a-z])|t1c)|(gd|gad|post|contrast).*t1|t1(c|ce)(?![a-z])|"
        r"(?<![a-z])ce.*t1", re.IGNORECASE)),
    ("T1w", re.compile(r"t1|mprage|spgr|bravo", re.IGNORECASE)),
    ("T2w", re.compile(r"t2(?!.?\*)", re.IGNORECASE)),
)  # fmt: skip


def contrast(name: str) -> str | None:
    """The canonical name of a contrast's whole name, or None: `t2f`, `T2-FLAIR` and `flair` are FLAIR.

    >>> contrast("t1ce"), contrast("T2w"), contrast("CT")
    ('t1gd', 'T2w', None)
    """
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    return next((canonical for canonical, names in CONTRASTS.items() if plain in names), None)


def contrast_in(text: str) -> str | None:
    """The contrast that free text speaks of, or None.

    >>> contrast_in("AX T1 MPRAGE POST GD"), contrast_in("t2_tirm_tra_dark-fluid"), contrast_in("localizer")
    ('t1gd', 'FLAIR', None)
    """
    return contrast(text) or next((name for name, pattern in PATTERNS if pattern.search(text)), None)


def same(name: str, other: str) -> bool:
    """Do two channel names mean the same?"""
    mine = contrast(name)
    return name.lower() == other.lower() or (mine is not None and mine == contrast(other))


def in_usual_order(names: Sequence[str]) -> list[str]:
    """The names with known contrasts first, in the Decathlon's order, then the others as they sort."""
    order = list(CONTRASTS)
    return sorted(names, key=lambda name: (order.index(known) if (known := contrast(name)) else len(order), name))
