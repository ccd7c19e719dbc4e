"""Images of cases: one file with all channels, or a file a channel; and their label maps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from decaseg.storage import nifti
from decaseg.storage.dataset import CaseFiles
from decaseg.volume import Grid, Volume

SAME_GRID_VOXELS = 0.1  # how far the affines of two channels may put the same voxel apart, in the smallest voxel length


def read_image(files: CaseFiles) -> Volume:
    """The image of a case as (C, X, Y, Z), on the grid of its first file.

    Channels in files of their own are read one by one, so that memory holds one of them besides the result. NiftiError
    for a file that cannot be used; ValueError, naming both files, for channels that are not on one grid.
    """
    if not files.more:
        volume = nifti.read(files.image)
        return volume.with_array(volume.array[list(files.take)]) if files.take else volume
    check_channels(files)
    first = nifti.read(files.image)
    array = _empty(len(files.images), first, first.array.dtype)
    array[0] = first.array[0]
    for place, path in enumerate(files.more, 1):
        channel = nifti.read(path).array[0]
        both = np.result_type(array.dtype, channel.dtype)
        if both != array.dtype:  # rare: channels of one case are mostly written by one program
            wider = _empty(len(files.images), first, both)
            wider[:place] = array[:place]
            array = wider
        array[place] = channel
    return Volume(array, first.grid)


def read_image_grid(files: CaseFiles) -> tuple[Grid, int]:
    """Grid and number of channels, from the headers alone; errors as `read_image` has them."""
    if files.more:
        check_channels(files)
        return nifti.read_grid(files.image)[0], len(files.images)
    grid, channels = nifti.read_grid(files.image)
    return grid, len(files.take) or channels


def read_image_facts(files: CaseFiles) -> tuple[Grid, int, int]:
    """Grid, channels and bytes a voxel, from the headers alone."""
    grid, channels, size = nifti.read_facts(files.image)
    channels = len(files.take) or channels
    if files.more:
        check_channels(files)
        channels, size = len(files.images), max(size, *(nifti.read_facts(path)[2] for path in files.more))
    return grid, channels, size


def check_channels(files: CaseFiles) -> None:
    """ValueError, naming both files, unless all channel files hold one channel on the first one's grid."""
    first, _ = _one_channel(files.image)
    for path in files.more:
        grid, _ = _one_channel(path)
        same_grid(first, grid, str(files.image), str(path))


def same_grid(first: Grid, other: Grid, first_name: str, other_name: str) -> None:
    """ValueError, naming both, unless two channels of a case lie on one grid, to SAME_GRID_VOXELS."""
    if other.shape != first.shape:
        sizes = " x ".join(map(str, other.shape)), " x ".join(map(str, first.shape))
        raise ValueError(
            f"{other_name}: is {sizes[0]} voxels, but {first_name} of the same case is {sizes[1]}; register and "
            "resample one to the other's grid"
        )
    apart_mm, least_mm = first.distance_mm(other.affine), min(first.spacing_mm)
    if apart_mm > SAME_GRID_VOXELS * least_mm:
        raise ValueError(
            f"{other_name}: lies up to {apart_mm:.3g} mm away from {first_name} of the same case, more than "
            f"{SAME_GRID_VOXELS:g} of a voxel; register and resample one to the other's grid"
        )


def read_label(files: CaseFiles) -> Volume:
    """The label map of a case, its values as they are meant."""
    assert files.label is not None  # callers see to it
    volume = nifti.read(files.label)
    return volume.with_array(meant(volume.array, files.values)) if files.values else volume


def meant(label: NDArray, values: Mapping[int, int]) -> NDArray:
    """A label map with each value replaced as `values` says; others stay."""
    found = label.copy()
    for value, other in values.items():
        found[label == value] = other
    return found


def _one_channel(path: Path) -> tuple[Grid, int]:
    grid, channels = nifti.read_grid(path)
    if channels != 1:
        raise ValueError(
            f"{path}: holds {channels} channels, but is one of several files of a case; store one channel a file"
        )
    return grid, channels


def _empty(channels: int, like: Volume, dtype: np.dtype) -> NDArray:
    """(C, X, Y, Z) in the order of NIfTI files, x fastest."""
    return np.empty((channels, *like.shape[::-1]), dtype).transpose(0, 3, 2, 1)
