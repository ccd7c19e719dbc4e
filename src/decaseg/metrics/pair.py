"""One structure of one case, predicted and true: everything that several metrics need, computed once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from decaseg.geometry import Box, Float3, bounding_box
from decaseg.metrics.lesions import LESION_RULES, LesionRule, Lesions, find_lesions
from decaseg.metrics.surface_elements import area_table_mm2, element_codes


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """How far each element of one surface is from the other surface, the nearest first.

    `distances_mm` and `areas_mm2` are (elements,) and belong together; neither is ever empty or infinite.
    """

    distances_mm: NDArray[np.float64]
    areas_mm2: NDArray[np.float64]

    def percentile_mm(self, percent: float) -> float:
        """The distance within which `percent` % of the surface's area lies."""
        shares = np.cumsum(self.areas_mm2)
        # Rounding must not decide which side of an exact share we are on: a billionth is given away.
        place = int(np.searchsorted(shares, shares[-1] * percent / 100.0 * (1 - 1e-9)))
        return float(self.distances_mm[min(place, self.distances_mm.size - 1)])

    def area_within_mm2(self, tolerance_mm: float) -> float:
        """The area of the elements at most `tolerance_mm` away; a billionth is given away to rounding."""
        return float(self.areas_mm2[self.distances_mm <= tolerance_mm * (1 + 1e-9)].sum())


@dataclass(frozen=True, eq=False)
class MaskPair:
    """The voxels of one structure as predicted and as true: two bool arrays (X, Y, Z) of one shape.

    `spacing_mm` is the length of a voxel along each axis. `tolerance_mm` is what the normalised surface distance
    forgives, `lesion_rule` what tells lesions apart. `left_out` voxels, background in both,
    count for nothing. What follows from them is computed when first asked for, on the box round both masks, and kept.
    """

    prediction: NDArray[np.bool_]
    truth: NDArray[np.bool_]
    spacing_mm: Float3
    tolerance_mm: float = 1.0
    lesion_rule: LesionRule = LESION_RULES["glioma"]
    left_out: int = 0

    @property
    def diagonal_mm(self) -> float:
        """The length of the image from corner to corner: no two surfaces in it are further apart."""
        return float(np.linalg.norm(np.array(self.truth.shape) * self.spacing_mm))

    @property
    def voxel_ml(self) -> float:
        return float(np.prod(self.spacing_mm)) / 1000.0

    @cached_property
    def box(self) -> Box:
        """The smallest box round both masks; of no voxels when both are empty."""
        return bounding_box(self.prediction | self.truth) or Box((0, 0, 0), (0, 0, 0))

    @cached_property
    def cropped(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Prediction and truth inside the box."""
        slices = self.box.slices
        return np.ascontiguousarray(self.prediction[slices]), np.ascontiguousarray(self.truth[slices])

    @cached_property
    def predicted_voxels(self) -> int:
        return int(np.count_nonzero(self.cropped[0]))

    @cached_property
    def true_voxels(self) -> int:
        return int(np.count_nonzero(self.cropped[1]))

    @cached_property
    def true_positives(self) -> int:
        return int(np.count_nonzero(self.cropped[0] & self.cropped[1]))

    @property
    def false_positives(self) -> int:
        return self.predicted_voxels - self.true_positives

    @property
    def false_negatives(self) -> int:
        return self.true_voxels - self.true_positives

    @property
    def true_negatives(self) -> int:
        counted = int(self.truth.size) - self.left_out
        return counted - self.true_positives - self.false_positives - self.false_negatives

    @cached_property
    def lesions(self) -> Lesions:
        """The lesions by the rule, matched."""
        return find_lesions(*self.cropped, self.spacing_mm, self.lesion_rule)

    @cached_property
    def lesion_pairs(self) -> tuple[MaskPair, ...]:
        """A pair for each lesion that was found: its prediction and its truth alone."""
        return tuple(MaskPair(*masks, self.spacing_mm, self.tolerance_mm) for masks in self.lesions.found)

    @cached_property
    def prediction_to_truth(self) -> SurfaceDistances:
        """From every element of the predicted surface to the nearest element of the true one."""
        return self._distances[0]

    @cached_property
    def truth_to_prediction(self) -> SurfaceDistances:
        """From every element of the true surface to the nearest element of the predicted one."""
        return self._distances[1]

    @cached_property
    def _distances(self) -> tuple[SurfaceDistances, SurfaceDistances]:
        if not (self.predicted_voxels and self.true_voxels):
            raise ValueError("surface distances: one mask is empty; metrics.empty says what a metric is then")
        codes = element_codes(self.cropped[0]), element_codes(self.cropped[1])
        surfaces = (codes[0] != 0) & (codes[0] != 255), (codes[1] != 0) & (codes[1] != 255)
        table = area_table_mm2(self.spacing_mm)
        areas = table[codes[0][surfaces[0]]], table[codes[1][surfaces[1]]]
        there = _distances_mm(surfaces[0], surfaces[1], self.spacing_mm)
        back = _distances_mm(surfaces[1], surfaces[0], self.spacing_mm)
        return _nearest_first(there, areas[0]), _nearest_first(back, areas[1])


def _distances_mm(surface: NDArray[np.bool_], other: NDArray[np.bool_], spacing_mm: Float3) -> NDArray[np.float64]:
    """For each true element of `surface`, in array order, the distance to the nearest true element of `other`.

    A k-d tree over the surfaces, not a distance transform over the box: one stray voxel in a far corner makes the
    box the whole image (240x240x155: 1.9 s against 0.1 s), and compact boxes take both about the same.
    """
    points, targets = np.argwhere(surface), np.argwhere(other)
    distances = np.zeros(len(points))
    apart = ~other[surface]  # elements on both surfaces are at distance 0 and need no search
    tree = cKDTree(targets * np.asarray(spacing_mm), balanced_tree=False, compact_nodes=False)
    _, nearest = tree.query(points[apart] * np.asarray(spacing_mm))
    # Again from whole voxels, so that three voxels of 0.1 mm are as far apart at one end of the image as at the other.
    steps = (points[apart] - targets[nearest]) * np.asarray(spacing_mm)
    distances[apart] = np.sqrt((steps**2).sum(axis=1))
    return distances


def _nearest_first(distances_mm: NDArray[np.float64], areas_mm2: NDArray[np.float64]) -> SurfaceDistances:
    order = np.argsort(distances_mm, kind="stable")
    return SurfaceDistances(distances_mm[order], areas_mm2[order])
