"""Where a NIfTI header puts its voxels: its forms as a Grid, and a Grid as forms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decaseg.geometry import Int3, turned_by
from decaseg.storage.nifti_error import NiftiError
from decaseg.volume import Grid

MILLIMETRES = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # xyzt_units & 7: unknown (taken as mm), metre, mm, micron
MAX_STEP_MM = 10_000.0  # resampling a slice of 100 m to millimetres keeps a machine busy for an hour


def grid_of(path: Path, header: Any, shape: Int3) -> Grid:
    """The grid of `shape` that a header of nibabel's says; NiftiError where it says none, or one that cannot be."""
    units = int(header["xyzt_units"])
    if units & 7 not in MILLIMETRES:
        raise NiftiError(path, f"has an unknown unit of length (xyzt_units {units})", "set it to 2, millimetres")
    pixdim = tuple(float(p) for p in header["pixdim"][:4])
    numbers = ("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z")
    grid = Grid(
        shape=shape,
        affine=np.eye(4),
        sform=np.asarray(header.get_sform(), dtype=np.float64),
        sform_code=int(header["sform_code"]),
        qform=_qform(header),
        qform_code=int(header["qform_code"]),
        xyzt_units=units,
        pixdim=pixdim[1:],
        quaternion=(pixdim[0], *(float(header[name]) for name in numbers)),
    )
    affine = _affine_of_forms(grid)
    if affine is None:
        raise NiftiError(path, "has a qform that is no rotation, and no sform", "mend its header")
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    if not (np.isfinite(affine).all() and steps.min() > 0 and abs(np.linalg.det(affine[:3, :3] / steps)) > 1e-6):
        raise NiftiError(path, "has an affine that is singular or not finite", "mend its sform and qform")
    if steps.max() > MAX_STEP_MM:
        fault = f"says that its voxels are {steps.max():,.0f} mm long, which no scanner makes"
        raise NiftiError(path, fault, "mend its voxel sizes or its unit (xyzt_units)")
    return grid.with_affine(affine)


def _qform(header: Any) -> NDArray[np.float64] | None:
    """The qform, by NIfTI's rule that qfac is -1 or else 1 whatever stands there; None where it is no rotation.

    nibabel is not asked: it takes half turns that are off by 0.0012 rad for exact ones.
    """
    qfac, *steps = (float(p) for p in header["pixdim"][:4])
    rotation = turned_by(*(float(header[f"quatern_{letter}"]) for letter in "bcd"))
    if rotation is None or min(steps) < 0:
        return None
    qform = np.eye(4)
    qform[:3, :3] = rotation * np.array([*steps[:2], -steps[2] if qfac < 0 else steps[2]])
    qform[:3, 3] = [float(header[f"qoffset_{letter}"]) for letter in "xyz"]
    return qform if np.isfinite(qform).all() else None


def _affine_of_forms(grid: Grid) -> NDArray[np.float64] | None:
    """The affine in millimetres that a file's own numbers say: sform before qform before bare voxel sizes.

    With neither code set NIfTI knows no orientation ("method 1"): the axes are taken as right, anterior, superior.
    """
    form = grid.sform if grid.sform_code > 0 else grid.qform
    if grid.sform_code <= 0 and grid.qform_code <= 0:
        form = np.diag([abs(p) or 1.0 for p in grid.pixdim or (1.0, 1.0, 1.0)] + [1.0])
    return None if form is None else form * np.array([[MILLIMETRES[grid.xyzt_units & 7]]] * 3 + [[1.0]])


def set_place(header: Any, grid: Grid) -> None:
    """Writes the grid's own forms, or, where they do not say what its affine says, new ones in millimetres."""
    own = _affine_of_forms(grid) if grid.pixdim and grid.sform is not None and len(grid.quaternion) == 7 else None
    steps = np.array(grid.spacing_mm)
    if own is not None and np.allclose(own, grid.affine, rtol=1e-5, atol=1e-4 * float(steps.min())):
        header["pixdim"][:4] = [grid.quaternion[0], *grid.pixdim]
        for name, value in zip("bcd", grid.quaternion[1:4], strict=True):
            header[f"quatern_{name}"] = value
        for name, value in zip("xyz", grid.quaternion[4:], strict=True):
            header[f"qoffset_{name}"] = value
        header.set_sform(grid.sform, code=0)
        header["qform_code"], header["sform_code"] = grid.qform_code, grid.sform_code  # even one NIfTI does not know
        header["xyzt_units"] = grid.xyzt_units
        return
    axes = grid.affine[:3, :3] / steps
    sheared = not np.allclose(axes.T @ axes, np.eye(3), atol=1e-4)  # which a quaternion cannot say
    header["pixdim"][1:4] = steps
    if not sheared:
        header.set_qform(grid.affine, code=1)
    header.set_sform(grid.affine, code=2)
    header["xyzt_units"] = 2
