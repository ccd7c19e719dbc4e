"""The MNI152 anatomy that every phantom case is bent from, as nilearn carries it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from decaseg.data.phantom.frame import Array
from decaseg.geometry import Float3
from decaseg.storage import nifti

FILE = "datasets/data/mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"
# Lateral and third ventricles lie in this box; the basal cisterns and the Sylvian fissures do not.
VENTRICLES_MM = ((-27.0, -58.0, -10.0), (27.0, 36.0, 34.0))
CISTERN_MM = ((-12.0, -60.0, -12.0), (12.0, -25.0, 12.0))  # quadrigeminal: in that box, but it does not grow with age


@dataclass(frozen=True, eq=False)
class Template:
    """Maps on the template's own 1 mm grid, (X, Y, Z) float32; `origin_mm` is the centre of voxel (0, 0, 0).

    gm, wm, csf: tissue fractions 0 to 1. t1: T1-weighted signal, white matter about 1. brain: 1 well inside the skull,
    0.5 about at it.
    ventricle_mm: signed distance to the ventricles, negative inside. seeds_mm: (N, 3) places where
    gliomas begin, with odds (N,) that sum to 1.
    """

    gm: Array
    wm: Array
    csf: Array
    t1: Array
    brain: Array
    ventricle_mm: Array
    origin_mm: Float3
    seeds_mm: NDArray[np.float64]
    seed_odds: NDArray[np.float64]

    def sample(self, name: str, points_mm: Array) -> Array:
        """The map's values at points (3, ...), linearly interpolated; beyond the map, its edge value."""
        origin = np.asarray(self.origin_mm, np.float32).reshape(3, *[1] * (points_mm.ndim - 1))
        where = points_mm - origin
        found: Array = ndimage.map_coordinates(getattr(self, name), where, order=1, mode="nearest", output=np.float32)
        return found


@lru_cache(maxsize=1)
def load() -> Template:
    """Reads the ICBM 2009a symmetric average of 152 adults (Fonov et al., NeuroImage 2011) from nilearn's files."""
    t1, gm, wm = (_map(name) for name in ("t1", "gm", "wm"))
    origin = (-98.0, -134.0, -72.0)
    brain = (t1 > 0).astype(np.float32)
    gm, wm = gm / np.float32(255), wm / np.float32(255)
    csf = np.clip(
        1 - gm - wm, np.float32(0), np.float32(1)
    )  # also beyond the template's mask, where the subarachnoid space goes on
    pure = wm > 0.95
    pad = [(0, 0), (0, 0), (6, 0)]  # the brain touches the map's lowest slice: without air below, it would smear on
    gm, wm, t1, brain = (np.pad(a, pad) for a in (gm, wm, t1 / t1[pure].mean(), brain))
    csf = np.pad(csf, pad, constant_values=1)
    origin = (origin[0], origin[1], origin[2] - 6)
    brain = ndimage.gaussian_filter(brain, 2.0)  # soft, so that a threshold moves the outline by millimetres
    seeds = _seeds(wm, origin)
    return Template(gm, wm, csf, t1, brain, _ventricle_distance(csf, origin), origin, seeds, _seed_odds(seeds))


def _map(name: str) -> Array:
    spec = find_spec("nilearn")
    path = Path(spec.origin).parent / FILE.format(name) if spec is not None and spec.origin else None
    if path is None or not path.is_file():
        raise ValueError(
            "the demo's brains are bent from the MNI152 template, which nilearn carries; install decaseg[demo]"
        )
    return np.asarray(nifti.read(path).array[0], np.float32)


def _ventricle_distance(csf: Array, origin: Float3) -> Array:
    """Signed distance in mm, exact within 1 mm, clipped at 40 mm; computed at 2 mm since it is smooth."""
    coarse = csf[::2, ::2, ::2]
    inside = np.zeros(coarse.shape, bool)
    ventricles, cistern = _box(VENTRICLES_MM, origin), _box(CISTERN_MM, origin)
    inside[ventricles] = coarse[ventricles] > 0.5
    inside[cistern] = False
    distance = 2 * (ndimage.distance_transform_edt(~inside) - ndimage.distance_transform_edt(inside))
    clipped = np.clip(distance, -20, 40).astype(np.float32)
    fine: Array = ndimage.affine_transform(clipped, [0.5] * 3, output_shape=csf.shape, order=1, mode="nearest")
    return fine


def _box(corners_mm: tuple[Float3, Float3], origin: Float3) -> tuple[slice, ...]:
    """The box as slices of a map of 2 mm voxels."""
    return tuple(
        slice(max(0, int((a - o) // 2)), int((b - o) // 2)) for a, b, o in zip(*corners_mm, origin, strict=True)
    )


def _seeds(wm: Array, origin: Float3) -> NDArray[np.float64]:
    """Supratentorial white matter off the midline, thinned to 4 mm: where adult gliomas mostly sit."""
    index = np.argwhere(wm[::4, ::4, ::4] > 0.75) * 4
    mm = index + np.asarray(origin)
    x, y, z = mm.T
    cerebellum_or_stem = (z < -22) | ((z < 2) & (y < -38)) | ((z < -2) & (abs(x) < 24))
    return np.asarray(mm[(abs(x) > 15) & ~cerebellum_or_stem & (z < 56)])


def _seed_odds(seeds_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """How likely each seed is, sum 1: gliomas per lobe as Larjavaara et al. (Neuro-Oncology 2007) counted them.

    The lobes are cut by planes, which is as exact as the use needs.
    """
    x, y, z = seeds_mm.T
    temporal = (z < 6) & (abs(x) > 27) & (y < 14)
    occipital = (y < -64) & ~temporal
    parietal = (y < -22) & ~temporal & ~occipital
    frontal = (y > -6) & ~temporal
    rest = ~(temporal | occipital | parietal | frontal)
    odds = np.zeros(len(seeds_mm))
    for lobe, share in ((frontal, 0.40), (temporal, 0.29), (parietal, 0.17), (occipital, 0.04), (rest, 0.10)):
        odds[lobe] = share / max(1, lobe.sum())
    return np.asarray(odds / odds.sum())
