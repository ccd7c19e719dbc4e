"""One case from its number: head, tumour, deformed tissues, four sequences, scanner."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from decaseg.data.phantom.anatomy import draw_head, draw_tissues
from decaseg.data.phantom.contrast import CHANNELS, draw_scene, draw_sequence
from decaseg.data.phantom.frame import Frame
from decaseg.data.phantom.scanner import acquire, draw_acquisition
from decaseg.data.phantom.template import load
from decaseg.data.phantom.tumour import draw_character, draw_core, draw_tumour, mass_effect
from decaseg.volume import Volume

ENHANCING_OF = 16  # one case in so many does not enhance


def draw_case(
    seed: int, number: int, spacing_mm: float, between: Callable[[], None] | None = None
) -> tuple[Volume, Volume]:
    """Image (4, X, Y, Z) int16 and label (1, X, Y, Z) uint8; nothing but the numbers decides what they hold.

    `between` is called between the stages; what it raises ends the drawing.
    """
    pause = between or (lambda: None)
    template = load()
    frame = Frame(spacing_mm)
    streams = np.random.SeedSequence([seed, number]).spawn(5)
    for_head, for_tumour, for_scene, for_contrast, for_scanner = (np.random.default_rng(s) for s in streams)
    head = draw_head(template, frame, for_head)
    # By count, not by chance: so that few cases already hold at least nine in ten that enhance.
    character = draw_character(for_tumour, enhances=(number + seed) % ENHANCING_OF != 0)
    pause()
    core = draw_core(template, head, character, for_tumour)
    tissues = draw_tissues(template, head, mass_effect(head, core, character, for_tumour))
    pause()
    tumour = draw_tumour(head, tissues, core, character, for_tumour)
    pause()
    scene = draw_scene(frame, head.brain, tissues, tumour, for_scene)
    pause()
    image = np.stack(
        [
            acquire(
                draw_sequence(name, scene, for_contrast),
                head.brain,
                frame,
                draw_acquisition(for_scanner, spacing_mm),
                for_scanner,
            )
            for name in CHANNELS
        ]
    )
    return Volume.of(image, frame.affine), Volume.of(tumour.labels, frame.affine)
