"""One object that predicts: loaded once, used by predict, evaluate, the parity gate and notebooks."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from decaseg.data.preprocess import Preprocessing, Undo, preprocess, ras_spacing, target_shape
from decaseg.data.targets import Target
from decaseg.geometry import Float3, Int3, int3
from decaseg.inference.empty import present_voxels
from decaseg.inference.engines import Engine
from decaseg.inference.ensemble import averaged
from decaseg.inference.input_checks import InputCheck
from decaseg.inference.postprocess import PostProcessing
from decaseg.inference.restore import Wanted, restore
from decaseg.inference.windows import Infer, OnWindow, Slab, Windows, slabs, whole
from decaseg.showing import ShowsItself
from decaseg.volume import Grid, Volume

NOWHERE = 20.0  # a logit that decides: probability 2e-9
MAX_SHEAR = 0.01  # cosine; headers round to less, a tilted gantry makes ten times as much
MAX_VALUE = 1e30  # float32 ends at 3e38, and differences from the mean must fit too
MAX_VOXELS = 2**31  # of one channel at the network's spacing; only a wrong spacing makes more
MAX_GROWTH = 64.0  # voxels at the network's spacing for each of the image's: slices of 10 mm at 0.5 mm make 20
FEW_VOXELS = 2**20  # at the network's spacing are soon predicted, however few they came from


@dataclass
class Seconds:
    """Where a prediction's time went, by the clock: the stages inside a `Predictor`."""

    prepare: float = 0.0  # orientation, crop, normalisation, resampling
    network: float = 0.0  # inside the engines
    restore: float = 0.0  # averaging windows, resampling back, labels


@dataclass(frozen=True)
class Prediction(ShowsItself):
    """A label map on the image's own grid, and on the same grid what was asked for besides.

    `probabilities` are (structures, X, Y, Z), `uncertainty` (1, X, Y, Z) from 0 to 1 (see `restore.uncertainty`).
    `image` and `names` (of label values) are there where a whole volume was predicted: for notebooks, which show both.
    `warnings`: what the input check found to doubt about the image.
    """

    labels: Volume
    probabilities: Volume | None = None
    uncertainty: Volume | None = None
    seconds: Seconds = field(default_factory=Seconds)
    image: Volume | None = None
    names: Mapping[int, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Prepared:
    """A case as the network sees it: (C, X, Y, Z) `array`, what undoes the preprocessing, and the seconds it took.

    `warnings`: what the input check found to doubt about the image.
    """

    array: NDArray[np.float32]
    undo: Undo
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Predictor:
    """An engine with the preprocessing, windows and target its network was trained with.

    `step` is the distance between windows as a share of their length; `mirror_axes` are the axes flipped when test
    time augmentation (`tta`) is on: those that training mirrored. The probabilities of `others` are averaged with the
    engine's (an ensemble). Windows in which every channel is empty (see `empty`) are not computed and are background,
    unless `skip_empty` is off. `batch_size` windows go through the engine at a time.
    `postprocessing` cleans the label map, not the probabilities. `input_check` looks at each image first.
    """

    engine: Engine
    preprocessing: Preprocessing
    target: Target
    window: Int3
    step: float = 0.5
    tta: bool = False
    mirror_axes: tuple[int, ...] = ()
    others: tuple[Engine, ...] = ()
    skip_empty: bool = True
    batch_size: int = 1
    postprocessing: PostProcessing | None = None
    input_check: InputCheck | None = None

    def __call__(
        self,
        image: Volume,
        probabilities: bool = False,
        on_window: OnWindow | None = None,
        uncertainty: bool = False,
    ) -> Prediction:
        """Predicts a whole volume. Raises ValueError for images the model was not made for."""
        found = self.predict(self.prepare(image), Wanted(probabilities, uncertainty), on_window)
        return replace(found, image=image, names=self.target.painted_names())

    def prepare(self, image: Volume) -> Prepared:
        """The part before the network. ValueError for images the model was not made for."""
        started = time.perf_counter()
        _refuse_values(image.array)
        _refuse_geometry(image.grid, self.preprocessing)
        findings = self.input_check(image) if self.input_check is not None else []
        for finding in findings:
            if finding.refuse:
                raise ValueError(f"{finding.text}. --no-input-check predicts it all the same")
        array, undo = preprocess(image, self.preprocessing)
        doubts = tuple(finding.text for finding in findings)
        return Prepared(array, undo, time.perf_counter() - started, doubts)

    def predict(self, case: Prepared, wanted: Wanted, on_window: OnWindow | None = None) -> Prediction:
        """The part from the network on; memory holds slabs of logits, never all of them."""
        started, seconds = time.perf_counter(), Seconds(prepare=case.seconds)
        found = restore(self._slabs(case, seconds, on_window), self.target, case.undo, wanted)
        labels = found.labels
        if self.postprocessing is not None:
            labels = self.postprocessing.clean(labels, self.target)
        seconds.restore = time.perf_counter() - started - seconds.network
        return Prediction(labels, found.probabilities, found.uncertainty, seconds, warnings=case.warnings)

    def logits(self, image: Volume, on_window: OnWindow | None = None) -> tuple[NDArray[np.float32], Undo]:
        """All logits (K, X, Y, Z) on the network's grid, and what undoes the preprocessing."""
        case = self.prepare(image)
        return whole(self._slabs(case, Seconds(), on_window), int3(case.array.shape[1:])), case.undo

    def _slabs(self, case: Prepared, seconds: Seconds, on_window: OnWindow | None) -> Iterator[Slab]:
        windows = Windows.over(int3(case.array.shape[1:]), self.window, self.step)
        present = present_voxels(case.array, self.preprocessing) if self.skip_empty else None
        nothing = [-NOWHERE] * self.target.out_channels
        if not self.target.overlapping:
            nothing[0] = NOWHERE
        engines = (self.engine, *self.others)

        def member(number: int, engine: Engine) -> Iterator[Slab]:
            def tell(done: int, total: int) -> None:
                if on_window and done == total:
                    on_window(number + 1, len(engines))

            told = on_window if len(engines) == 1 else tell
            infer = self._infer(engine, seconds)
            return slabs(case.array, windows, infer, self.batch_size, told, present, nothing)

        return averaged([member(n, engine) for n, engine in enumerate(engines)], self.target)

    def _infer(self, engine: Engine, seconds: Seconds) -> Infer:
        flips = [c for n in range(1, len(self.mirror_axes) + 1) for c in combinations(self.mirror_axes, n)]

        def infer(windows: NDArray[np.float32]) -> NDArray[np.float32]:
            started = time.perf_counter()
            logits = engine(windows)
            if self.tta and flips:
                logits = logits.copy()  # it was lent
                for flip in flips:
                    axes = tuple(2 + axis for axis in flip)
                    logits += np.flip(engine(np.ascontiguousarray(np.flip(windows, axes))), axes)
                logits /= np.float32(len(flips) + 1)
            seconds.network += time.perf_counter() - started
            return logits

        return infer


def _refuse_values(array: NDArray) -> None:
    """ValueError for images (C, X, Y, Z) whose voxels are no numbers that a network can take."""
    for channel in array if array.dtype.kind == "f" else ():
        if not np.isfinite(channel).all():
            raise ValueError("holds NaN or infinite values; replace them before predicting")
        if array.dtype.itemsize > 4 and np.abs(channel).max() > MAX_VALUE:
            raise ValueError(f"holds values above {MAX_VALUE:g}; scale them down before predicting")


def _refuse_geometry(grid: Grid, how: Preprocessing) -> None:
    """ValueError for grids that networks of boxes cannot honour."""
    if (shear := grid.shear) > MAX_SHEAR:
        degrees = np.degrees(np.arcsin(min(shear, 1.0)))
        raise ValueError(
            f"has a sheared affine (its axes are {degrees:.1f} degrees from square), so that voxels are no boxes; "
            "resample it to a grid with square axes first"
        )
    shape = int3(grid.shape[[w for w, _ in grid.axes].index(world)] for world in range(3))
    inner = target_shape(shape, ras_spacing(grid), how.spacing_mm)
    before, after = float(np.prod(shape, dtype=np.float64)), float(np.prod(inner, dtype=np.float64))
    if after > MAX_VOXELS or after > max(MAX_GROWTH * before, FEW_VOXELS):
        raise ValueError(
            f"has voxels of {_size(grid.spacing_mm)} mm, the model works at {_size(how.spacing_mm)}, so that one would "
            f"become {after / before:.0f}; mend the spacing in its header or, if it is right, resample the image first"
        )


def _size(spacing_mm: Float3) -> str:
    return " x ".join(f"{s:g}" for s in spacing_mm)
