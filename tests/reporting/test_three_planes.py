from __future__ import annotations

import numpy as np
import pytest

from decaseg.reporting.paint import VERDICTS
from decaseg.reporting.three_planes import GAP, WIDTH, draw_three_planes
from tests.reporting.phantoms import ORIENTATIONS, patient, turned


def columns_of(pixels):
    """(first, last) column of each of the three panels: the ground between them is not quite black."""
    ground = (pixels[2] == (11, 14, 20)).all(axis=1)
    ends = np.flatnonzero(np.diff(np.concatenate([[True], ground, [True]]).astype(int)))
    return list(zip(ends[::2], ends[1::2], strict=True))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_right_is_left_and_front_and_head_are_up_in_all_three(orientation):
    image, truth = (turned(v, orientation) for v in patient())
    pixels = np.asarray(draw_three_planes(image, truth, truth, {1: "lesion"})).astype(int)
    panels = columns_of(pixels)
    assert len(panels) == 3
    for first, last in panels:
        part = pixels[:, first:last]
        purple = (part[..., 0] - part[..., 1] > 25) & (part[..., 2] - part[..., 1] > 25)
        purple[430:] = False  # the legend
        grey = (part.sum(axis=2) > 60) & (np.ptp(part, axis=2) < 12)
        rows, columns = np.nonzero(purple)
        lit = np.flatnonzero(grey.mean(axis=1) > 0.2), np.flatnonzero(grey.mean(axis=0) > 0.2)
        assert rows.size > 200
        assert rows.mean() < np.mean([lit[0][0], lit[0][-1]]) and columns.mean() < np.mean([lit[1][0], lit[1][-1]])


def test_panels_share_one_scale_and_voxels_keep_their_proportions():
    image, truth = patient()
    panels = columns_of(np.asarray(draw_three_planes(image, truth, truth, {1: "lesion"})))
    axial, coronal, sagittal = (last - first for first, last in panels)
    assert axial == pytest.approx(coronal, abs=2) and axial > sagittal  # 36 mm across twice, then 30 mm
    assert sum((axial, coronal, sagittal)) == pytest.approx(WIDTH - 2 * GAP, abs=3)


def test_one_map_alone_has_the_structures_colours_and_none_no_legend():
    image, truth = patient()
    verdict = VERDICTS[1][1]
    alone = draw_three_planes(image, None, truth, {1: "lesion"})
    assert (np.asarray(alone) == np.array(verdict)).all(axis=2).sum() == 0
    bare = draw_three_planes(image)
    assert bare.height < alone.height and bare.width == WIDTH


def test_a_label_map_without_image_is_cut_to_its_structures():
    image, truth = patient()
    blank = image.with_array(np.zeros(image.shape, np.uint8))
    large = np.asarray(draw_three_planes(blank, truth, None, {1: "lesion"})).astype(int)
    assert ((large[..., 1] - large[..., 0]) > 40).sum() > 3000
