"""The same anatomy stored with its axes in any of the 48 orders and directions."""

from itertools import permutations, product

import numpy as np

from decaseg.volume import Volume

ORIENTATIONS = [(order, signs) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)]


def stored(array, order, signs, spacing_mm=(1.0, 1.0, 1.0)):
    """A RAS array (C, X, Y, Z) as a volume whose array axis i runs along world axis order[i] with signs[i].

    The affine puts every voxel where it was in RAS, the first one at (10, -20, 30) mm.
    """
    origin = np.array([10.0, -20.0, 30.0])
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, (world, sign) in enumerate(zip(order, signs, strict=True)):
        affine[world, axis] = sign * spacing_mm[world]
        if sign < 0:
            origin[world] += (array.shape[1 + world] - 1) * spacing_mm[world]
    affine[:3, 3] = origin
    turned = array.transpose(0, *(1 + world for world in order))
    turned = turned[(slice(None), *(slice(None, None, sign) for sign in signs))]
    return Volume.of(np.ascontiguousarray(turned), affine)
