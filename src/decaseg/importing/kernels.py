"""Keras' weights as our network names and orders them, turned into the axes of our images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from decaseg.data.preprocess import to_ras
from decaseg.importing.intel_unet import Found, Layer, Wanted
from decaseg.volume import Grid

NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


def state_of(found: Found, grid: Grid, quarter_turn: bool) -> dict[str, NDArray]:
    """The state of our network; with it, images in RAS order give what Keras gave in the order it was trained in.

    That order is the one of files whose axes lie as those of `grid`, after `numpy.rot90` where `quarter_turn` says so.
    A network of cubes turned as its kernels are gives the turned output, to the last voxel: pooling and strides divide
    the patch evenly, so it does not matter from which end they count.

    Keras keeps kernels as (x, y, z, in, out), those of transposed convolutions as (x, y, z, out, in); both libraries
    put kernel index k of a stride of 2 at voxel 2 i + k, so nothing is mirrored and nothing padded.
    """
    state: dict[str, NDArray] = {}
    for layer in found.wanted:
        arrays = found.arrays[layer.name]
        if layer.kind == "head" and found.background:
            arrays = {name: array[..., 1:] for name, array in arrays.items()}  # outputs are Keras' last axis
        state |= _weights(layer, arrays, grid, quarter_turn)
    return state


def _weights(layer: Wanted, arrays: Layer, grid: Grid, quarter_turn: bool) -> dict[str, NDArray]:
    if layer.kind == "norm":
        state: dict[str, NDArray] = {
            f"{layer.place}.{ours}": np.ascontiguousarray(arrays[theirs]) for theirs, ours in NORM.items()
        }
        return state | {f"{layer.place}.num_batches_tracked": np.zeros((), np.int64)}
    # (x, y, z, a, b) -> (b, a, x, y, z): out, in for convolutions; in, out for transposed ones, as torch wants each
    kernel = arrays["kernel"].transpose(4, 3, 0, 1, 2)
    turned = to_ras_axes(kernel.reshape(-1, *kernel.shape[2:]), grid, quarter_turn).reshape(kernel.shape)
    return {
        f"{layer.place}.weight": np.ascontiguousarray(turned),
        f"{layer.place}.bias": np.ascontiguousarray(arrays["bias"]),
    }


def to_ras_axes(array: NDArray, grid: Grid, quarter_turn: bool) -> NDArray:
    """(C, X, Y, Z) of the order Keras saw, in RAS order: `numpy.rot90` undone, then axes turned."""
    return to_ras(np.rot90(array, -1, axes=(1, 2)) if quarter_turn else array, grid)
