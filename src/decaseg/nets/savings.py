"""The ways to train with less memory, by name, and what each keeps. No torch here: planning reads it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Saving:
    """What is kept of a training step's forward pass for its backward pass.

    `keeps_first`: every convolution's output, else only the last of each block. `half`: those in bf16.
    `keeps_nothing`: no map at all; each sample runs forward again, alone. `words` say it to people.
    """

    words: str
    keeps_first: bool = True
    half: bool = False
    keeps_nothing: bool = False


SAVINGS = {
    "maps": Saving("norms recomputed"),
    "blocks": Saving("norms and first convolutions recomputed", keeps_first=False),
    "half": Saving("norms and first convolutions recomputed, the rest kept in bf16", keeps_first=False, half=True),
    "samples": Saving("each sample recomputed by itself", keeps_first=False, keeps_nothing=True),
}


def savings_for(norm: str) -> tuple[str, ...]:
    """Names from the fastest to the smallest; batch norm couples the samples, so there none runs by itself."""
    return ("none", "maps", "blocks", "half") if norm == "batch" else ("none", "maps", "blocks", "samples")
