"""A patient with nothing symmetric about them, and the same patient filed along other axes."""

from __future__ import annotations

import numpy as np

from decaseg.volume import Volume

ORIENTATIONS = ("RAS", "LPS", "LAS", "PIR", "SLA", "ARI", "IPL", "RSA")
AFFINE = np.array([[1.5, 0, 0, -20], [0, 1.0, 0, -30], [0, 0, 2.5, 12], [0, 0, 0, 1.0]])


def patient() -> tuple[Volume, Volume]:
    """A grey RAS head (24, 30, 14) and one structure to its right, in front and above; voxels 1.5 x 1 x 2.5 mm."""
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in (24, 30, 14)], indexing="ij"))
    head = ((grid**2).sum(axis=0) < 0.95) * (120 + 40 * grid[0] + 25 * grid[1] + 15 * grid[2])
    label = np.zeros(head.shape, np.uint8)
    label[15:19, 18:24, 8:11] = 1  # x grows to the right in RAS
    return Volume.of(head.astype(np.float32), AFFINE), Volume.of(label, AFFINE)


def turned(volume: Volume, orientation: str) -> Volume:
    """A RAS volume written along the axes that `orientation` names, at the same place in the patient."""
    ends = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
    axes = [ends[letter] for letter in orientation]
    array = volume.array[0].transpose([world for world, _ in axes])
    new_to_old = np.zeros((4, 4))
    new_to_old[3, 3] = 1
    for axis, (world, sign) in enumerate(axes):
        new_to_old[world, axis] = sign
        if sign < 0:
            array = np.flip(array, axis)
            new_to_old[world, 3] = volume.shape[world] - 1
    return Volume.of(np.ascontiguousarray(array), volume.affine @ new_to_old)


def marked(oblique_deg: float = 0.0) -> tuple[Volume, Volume, Volume]:
    """A skull-stripped head, truth and prediction: what is right lies right and in front, a false positive on the left
    and above, a miss behind and below. Voxels 2 x 1.6 x 3 mm; `oblique_deg` turns the scanner round the long axis.
    """
    shape, spacing = (50, 64, 32), (2.0, 1.6, 3.0)
    x, y, z = np.meshgrid(*[(np.arange(n) - (n - 1) / 2) * s for n, s in zip(shape, spacing, strict=True)],
                          indexing="ij")  # fmt: skip
    inside = (x / 44) ** 2 + (y / 46) ** 2 + (z / 43) ** 2 < 1
    head = inside * (400 + 2 * x + y + z)
    ball = lambda a, b, c, r: (x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2 < r**2  # noqa: E731
    both, false, missed = ball(20, 20, 0, 9), ball(-22, 0, 16, 9), ball(4, -24, -18, 9)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = [-49, -50.4, -46.5]
    a = np.radians(oblique_deg)
    turn = np.array([[np.cos(a), -np.sin(a), 0, 0], [np.sin(a), np.cos(a), 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    arrays = (head.astype(np.float32), (both | missed).astype(np.uint8), (both | false).astype(np.uint8))
    image, truth, prediction = (Volume.of(array, turn @ affine) for array in arrays)
    return image, prediction, truth
