"""The ways to train with less memory, by name, and what each keeps. No torch here: planning reads it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Saving:
    """What is kept of a training step's forward pass for its backward pass.

    `keeps_first_down`, `keeps_first_up`: every convolution's output in the blocks on the way down and up, else only the
    last of each block. `half`: those in bf16.
    `keeps_nothing`: no map at all; each sample runs forward again, alone. `words` say it to people.
    """

    words: str
    keeps_first_down: bool = True
    keeps_first_up: bool = True
    half: bool = False
    keeps_nothing: bool = False


_LAST = {"keeps_first_down": False, "keeps_first_up": False}
SAVINGS = {
    "maps": Saving("norms recomputed"),
    # The way up joins twice as many channels or more, so there a first convolution costs many times what it does here.
    "down": Saving("norms and first convolutions on the way down recomputed", keeps_first_down=False),
    "blocks": Saving("norms and first convolutions recomputed", **_LAST),
    "half": Saving("norms and first convolutions recomputed, the rest kept in bf16", half=True, **_LAST),
    "samples": Saving("each sample recomputed by itself", keeps_nothing=True, **_LAST),
}


def savings_for(norm: str) -> tuple[str, ...]:
    """Names from the fastest to the smallest; batch norm couples the samples, so there none runs by itself."""
    return "none", "maps", "down", "blocks", "half" if norm == "batch" else "samples"
