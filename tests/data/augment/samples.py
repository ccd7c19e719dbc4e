"""A batch to augment, and an augmentation that changes every sample."""

import torch

from decaseg.data.augment.spatial import Spatial

EVERYTHING = Spatial(rotation_deg=30, rotation_share=1, scale=(0.7, 1.4), scale_share=1, right_angles=True)


def batch(shape=(9, 9, 9), size=2, channels=2):
    generator = torch.Generator().manual_seed(0)
    image = torch.rand((size, channels, *shape), generator=generator) + 0.5
    label = torch.randint(0, 4, (size, *shape), generator=generator, dtype=torch.uint8)
    return image, label
