import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from surface_distance import lookup_tables

from decaseg.metrics.surface_elements import BITS, CORNERS, area_table_mm2, element_codes


def deepmind_code(code: int) -> int:
    """The same corners in the order of bits that DeepMind's kernel has."""
    kernel = lookup_tables.ENCODE_NEIGHBOURHOOD_3D_KERNEL
    return sum(int(kernel[corner]) for corner in CORNERS if code >> int(BITS[corner]) & 1)


@settings(max_examples=25, deadline=None)
@given(st.tuples(*[st.floats(0.1, 10.0)] * 3))
def test_all_256_areas_are_deepminds(spacing):
    theirs = lookup_tables.create_table_neighbour_code_to_surface_area(np.array(spacing))
    ours = area_table_mm2(spacing)
    np.testing.assert_allclose(ours, [theirs[deepmind_code(code)] for code in range(256)], rtol=1e-12)


def test_a_flat_wall_has_the_area_of_its_voxel_faces():
    x, y, z = 3.0, 2.0, 0.5
    table = area_table_mm2((x, y, z))
    assert table[0b00001111] == y * z  # the four corners with x = 0
    assert table[0b00110011] == x * z  # y = 0
    assert table[0b01010101] == x * y  # z = 0


def test_nothing_and_everything_have_no_surface():
    table = area_table_mm2((1, 1, 1))
    assert table[0] == table[255] == 0
    assert (table[1:255] > 0).all()


def test_inside_and_outside_have_the_same_surface():
    table = area_table_mm2((0.7, 1.3, 2.1))
    np.testing.assert_allclose(table, table[::-1], rtol=1e-14)  # sums in another order, another last bit


def test_codes_of_one_voxel_are_its_eight_corners():
    codes = element_codes(np.ones((1, 1, 1), bool))
    assert codes.shape == (2, 2, 2)
    # In the cell below the voxel it is the upper corner (1, 1, 1), bit 7; in the cell above it the lower one, bit 0.
    assert codes[0, 0, 0] == 1 << 7 and codes[1, 1, 1] == 1 << 0
    assert area_table_mm2((1, 1, 1))[codes].sum() == pytest.approx(3**0.5)  # an octahedron with edges of sqrt(1/2)


def test_codes_of_a_mask_that_touches_every_border_are_closed():
    codes = element_codes(np.ones((3, 4, 5), bool))
    assert codes.shape == (4, 5, 6)
    assert (codes[1:-1, 1:-1, 1:-1] == 255).all()
    assert (codes[0] != 255).all() and (codes[-1] != 255).all()


def test_the_area_of_a_ball_is_close_to_its_formula():
    grid = np.stack(np.meshgrid(*[np.arange(-24, 25)] * 3, indexing="ij"))
    ball = (grid**2).sum(axis=0) <= 20**2
    area = area_table_mm2((1, 1, 1))[element_codes(ball)].sum()
    assert area == pytest.approx(4 * np.pi * 20**2, rel=0.1)  # marching cubes on a binary mask is 8 % too large
