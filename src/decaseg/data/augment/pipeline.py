"""The whole augmentation of a batch, on the device that trains."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor

from decaseg.data.augment.intensity import Intensity, apply_intensity, draw_intensity
from decaseg.data.augment.spatial import Spatial, apply_spatial, draw_spatial
from decaseg.geometry import Int3, int3


@dataclass(frozen=True)
class Augmentation:
    """Spatial and intensity changes; either may be None. Step n's draws are a function of (seed, n) alone.

    Over the first `ramp_steps` steps the shares of samples that are turned, scaled, bent or changed in intensity grow
    from nothing to full: a network that has seen each case only a few times learns more from cases as they are.
    A process that has only some `rows` of a batch of `batch_size` draws for all of it and keeps what is for its rows.
    """

    patch: Int3
    spatial: Spatial | None
    intensity: Intensity | None
    seed: int
    batch_size: int | None = None
    rows: slice = field(default_factory=lambda: slice(None))
    ramp_steps: int = 0

    @property
    def source_shape(self) -> Int3:
        """The shape to cut from cases so that turned patches still find voxels at their corners."""
        margin = self.spatial.margin if self.spatial else 1.0
        return int3(2 * round((n * margin - n) / 2) + n for n in self.patch)

    def __call__(self, step: int, image: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, *source) and (B, *source) to augmented (B, C, *patch) and (B, *patch); B counts `rows` only."""
        # One generator a step (splitmix-like mixing keeps neighbouring steps apart), on the CPU for every device.
        generator = torch.Generator().manual_seed((self.seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9) % 2**63)
        batch = self.batch_size or len(image)
        strength = min(1.0, step / self.ramp_steps) if self.ramp_steps else 1.0
        spatial = (self.spatial or Spatial(0, 0, (1, 1), 0, ())).times(strength)
        where = _rows_of(draw_spatial(spatial, batch, generator), self.rows)
        image, label = apply_spatial(where, image, label, self.patch, spatial.smooth_labels)
        if self.intensity:
            how = _rows_of(draw_intensity(self.intensity.times(strength), batch, image.shape[1], generator), self.rows)
            image = apply_intensity(how, image)
        return image, label


def _rows_of(draw: Any, rows: slice) -> Any:
    """The draws for some rows: of a tensor (B, ...), or of a dataclass of them."""
    if isinstance(draw, Tensor):
        return draw[rows]
    values = {one.name: getattr(draw, one.name) for one in fields(draw)}
    return replace(draw, **{name: value[rows] for name, value in values.items() if isinstance(value, Tensor)})
