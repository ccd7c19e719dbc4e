"""Finds what would spoil a training before it starts: one `Problem` for each file and fault."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from numpy.typing import NDArray

from decaseg.planning.check_voxels import digest_of, image_faults, label_faults
from decaseg.storage import nifti
from decaseg.storage.dataset import CaseFiles, Dataset
from decaseg.storage.images import read_image, read_image_grid, read_label
from decaseg.volume import Grid

GRID_TOLERANCE_VOXELS = 0.1  # how far two affines may put the same voxel apart before the grids are not the same
MEMORY_BUDGET_BYTES = 1 << 30  # all threads together; a case that needs more is read alone
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Problem:
    """A file, what is wrong with it and what to do. Errors spoil a training; warnings are worth a look."""

    file: Path
    fault: str
    fix: str
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        """One line, whatever the file's name holds."""
        line = " ".join(f"{self.file}: {self.severity}: {self.fault}; {self.fix}".splitlines())
        return line.encode("utf-8", "backslashreplace").decode()


@dataclass(frozen=True)
class Headers:
    """What the headers of a case say. `bytes` bounds its decoded image; `placed`: it says where the patient is."""

    problems: tuple[Problem, ...]
    bytes: int
    placed: bool


@dataclass(frozen=True)
class Contents:
    """What the voxels of a case say: digests of image and label, and the label values that occur (None: unread)."""

    case: CaseFiles
    problems: tuple[Problem, ...]
    image_digest: bytes | None = None
    label_digest: bytes | None = None
    values: frozenset[int] | None = None


def quick_problems(dataset: Dataset) -> list[Problem]:
    """What the headers alone tell, in a moment: missing files, shapes, grids, channels. No voxel is read."""
    with ThreadPoolExecutor(4) as pool:
        headers = pool.map(lambda files: _headers(dataset, files), dataset.training)
        return [problem for found in headers for problem in found.problems]


def voxel_problems(dataset: Dataset, files: CaseFiles, image: NDArray, label: NDArray) -> list[Problem]:
    """What the voxels of one case tell, for whoever has read it already: image and label as (C, X, Y, Z)."""
    found = _image_problems(dataset, files.image, image)
    return [*found, *(_label_problems(dataset, files.label, label)[0] if files.label is not None else ())]


def refuse(found: Iterable[Problem]) -> None:
    """Raises a ValueError with the first error, and says how to see the others; warnings pass."""
    errors = [problem for problem in found if problem.severity == "error"]
    if errors:
        first, more = errors[0], len(errors) - 1
        others = f" (and {_count(more, 'more problem')}: decaseg check lists all)" if more else ""
        raise ValueError(f"{first.file}: {first.fault}; {first.fix}{others}")


def problems(dataset: Dataset, threads: int | None = None, progress: Progress | None = None) -> Iterator[Problem]:
    """Everything wrong with the data set, case by case and then what concerns several cases.

    Every file is read once, by `threads` threads (default: up to 4, one a core), of which fewer work where the images
    are so large that together they would need more than MEMORY_BUDGET_BYTES. `progress(done, total)` counts cases.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = min(4, cores) if threads is None else threads
    tests = [files for files in dataset.test if files.image.exists()]
    total = len(dataset.training) + len(tests)
    pool = ThreadPoolExecutor(threads)
    try:
        headers = list(pool.map(lambda files: _headers(dataset, files), dataset.training))
    finally:
        pool.shutdown(cancel_futures=True)
    largest = max((found.bytes for found in headers), default=0)
    pool = ThreadPoolExecutor(max(1, min(threads, MEMORY_BUDGET_BYTES // max(1, largest))))
    read: list[Contents] = []
    try:
        for contents in pool.map(lambda files: _contents(dataset, files), (*dataset.training, *tests)):
            known = headers[len(read)].problems if len(read) < len(headers) else ()
            yield from known
            is_test = len(read) >= len(headers)
            for problem in contents.problems:
                if problem not in known:  # a broken header is found both times
                    yield replace(problem, severity="warning") if is_test else problem
            read.append(contents)
            if progress is not None:
                progress(len(read), total)
    finally:
        pool.shutdown(cancel_futures=True)
    trained = read[: len(dataset.training)]
    yield from _duplicates(trained, read[len(trained) :])
    yield from _never_occurring(dataset, trained)
    yield from _unlisted(dataset)
    yield from _unplaced(
        [files.image for files, header in zip(dataset.training, headers, strict=True) if not header.placed]
    )
    yield from _missing_tests(dataset)


def _headers(dataset: Dataset, files: CaseFiles) -> Headers:
    found: list[Problem] = []
    image, channels = _image_grid(files, found)
    label, label_channels = _grid(files.label, found) if files.label is not None else (None, 1)
    if image is not None and channels != len(dataset.channels):
        named = f"{len(dataset.channels)} ({', '.join(dataset.channels)})"
        fault = f"has {_count(channels, 'channel')}, but dataset.json names {named}"
        found.append(Problem(files.image, fault, 'mend "modality" in dataset.json or store all channels in the image'))
    if label is not None and files.label is not None and label_channels != 1:
        fault = f"is a label map with {label_channels} channels"
        found.append(Problem(files.label, fault, "store one label value per voxel, as a 3D image"))
    if image is not None and label is not None and files.label is not None:
        found.extend(_apart(files.image, image, files.label, label))
    forms = ((files.image, image), (files.label, label))
    twisted = [(file, grid) for file, grid in forms if file is not None and grid is not None and _disagrees(grid)]
    for file, grid in twisted[:1]:  # the label usually shares its image's header: one line is enough
        apart = "is no rotation" if grid.qform is None else "says another"
        fault = f"its sform says one place in the patient and its qform {apart}, so programs show it differently"
        found.append(Problem(file, fault, "set both to the right one; decaseg goes by the sform", "warning"))
    voxels = 0 if image is None else image.shape[0] * image.shape[1] * image.shape[2]
    placed = image is None or image.sform_code > 0 or image.qform_code > 0
    return Headers(tuple(found), voxels * channels * 8, placed)


def _image_grid(files: CaseFiles, found: list[Problem]) -> tuple[Grid | None, int]:
    """Of all channels together, where they are files of their own."""
    if not files.more:
        return _grid(files.image, found)
    grids = [_grid(path, found)[0] for path in files.images]
    if None in grids:
        return None, 0
    try:
        return read_image_grid(files)
    except ValueError as error:
        path, _, said = str(error).partition(": ")
        fault, _, fix = said.rpartition("; ")
        found.append(Problem(Path(path), fault, fix))
        return None, 0


def _grid(file: Path, found: list[Problem]) -> tuple[Grid | None, int]:
    try:
        return nifti.read_grid(file)
    except nifti.NiftiError as error:
        found.append(_unreadable(error))
        return None, 0


def _unreadable(error: nifti.NiftiError) -> Problem:
    if not os.path.lexists(error.file):
        return Problem(error.file, "is listed in dataset.json but is not there", "copy it there or take its case out")
    return Problem(error.file, error.fault, error.fix)


def _apart(image_file: Path, image: Grid, label_file: Path, label: Grid) -> Iterator[Problem]:
    if image.shape != label.shape:
        swapped = ", with its axes swapped" if sorted(image.shape) == sorted(label.shape) else ""
        fault = f"is {_size(label)} voxels, but its image {image_file.name} is {_size(image)}{swapped}"
        yield Problem(label_file, fault, "resample the label to the image's grid or pair it with its own image")
        return
    distance_mm = image.distance_mm(label.affine)
    if distance_mm > GRID_TOLERANCE_VOXELS * min(image.spacing_mm):
        fault = f"lies up to {distance_mm:.3g} mm away from its image {image_file.name} (their affines differ)"
        yield Problem(label_file, fault, "copy the image's header if it was drawn on this image, else resample it")


def _size(grid: Grid) -> str:
    return " x ".join(map(str, grid.shape))


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _disagrees(grid: Grid) -> bool:
    """Are both forms in force and do they put a voxel more than the tolerance apart?"""
    if grid.sform is None or grid.sform_code <= 0 or grid.qform_code <= 0:
        return False
    if grid.qform is None:
        return True
    own = grid.with_affine(grid.sform)  # the file's own unit on both sides
    return own.distance_mm(grid.qform) > GRID_TOLERANCE_VOXELS * min(own.spacing_mm)


def _contents(dataset: Dataset, files: CaseFiles) -> Contents:
    found = Contents(files, ())
    try:
        image = read_image(files).array
        new = _image_problems(dataset, files.image, image)
        found = replace(found, problems=new, image_digest=digest_of(image))
        del image  # before the label is read: memory holds one of them
    except nifti.NiftiError as error:
        found = replace(found, problems=(_unreadable(error),))
    except ValueError:  # channels that do not lie on one grid: their headers said so
        pass
    if files.label is None:
        return found
    try:
        label = read_label(files).array
    except nifti.NiftiError as error:
        return replace(found, problems=(*found.problems, _unreadable(error)))
    new, values = _label_problems(dataset, files.label, label)
    return replace(found, problems=found.problems + new, label_digest=digest_of(label), values=values)


def _image_problems(dataset: Dataset, file: Path, image: NDArray) -> tuple[Problem, ...]:
    return tuple(Problem(file, fault, fix) for fault, fix in image_faults(image, dataset.channels))


def _label_problems(dataset: Dataset, file: Path, label: NDArray) -> tuple[tuple[Problem, ...], frozenset[int] | None]:
    faults, values = label_faults(label, dict.fromkeys(dataset.known_values, ""))
    return tuple(Problem(file, fault, fix) for fault, fix in faults), values


def _duplicates(trained: list[Contents], tests: list[Contents]) -> Iterator[Problem]:
    """The same voxels under two ids: one may be trained on and the other validated on, which flatters the score."""
    images: dict[bytes, CaseFiles] = {}
    labels: dict[bytes, CaseFiles] = {}
    paths: dict[Path, CaseFiles] = {}
    for found in trained:
        case = found.case
        if found.image_digest is not None and (first := images.setdefault(found.image_digest, case)) is not case:
            fault = f"holds the same image as case {first.case}, so training and validation could share it"
            yield Problem(case.image, fault, "take one of the two cases out of dataset.json")
            continue
        if case.label is None:
            continue
        if (first := paths.setdefault(case.label, case)) is not case:
            fault = f"is listed as the label of two cases, {first.case} and {case.case}"
            yield Problem(case.label, fault, "give each case its own label in dataset.json")
            continue
        if found.label_digest is None or found.values == frozenset({0}):
            continue  # empty labels are alike, and named one by one
        if (first := labels.setdefault(found.label_digest, case)) is not case:
            fault = f"holds the same label map as case {first.case}, whose image is another"
            yield Problem(case.label, fault, "make sure that it belongs to its image", "warning")
    for found in tests:
        if found.image_digest is not None and found.image_digest in images:
            fault = f"holds the same image as training case {images[found.image_digest].case}"
            yield Problem(found.case.image, fault, "take it out of one of the two lists in dataset.json", "warning")


def _never_occurring(dataset: Dataset, trained: list[Contents]) -> Iterator[Problem]:
    known = [found.values for found in trained if found.values is not None]
    if len(known) < len(trained):
        return  # it may occur in a label that cannot be read, which is a problem of its own
    for value in sorted(set(dataset.structures) - frozenset().union(*known)):
        fault = f'names the structure "{value}": "{dataset.labels[value]}", which occurs in no label'
        yield Problem(dataset.source or dataset.root, fault, 'take it out of "labels" or add cases that have it')


def _unlisted(dataset: Dataset) -> Iterator[Problem]:
    """Files beside the listed ones that no list names: half a pair is an error, a whole pair a warning."""
    image_folders = {files.image.parent for files in dataset.training} | {dataset.root / "imagesTr"}
    label_folders = {files.label.parent for files in dataset.training if files.label} | {dataset.root / "labelsTr"}
    if dataset.source is None or dataset.source.name != "dataset.json" or dataset.training[0].more:
        return  # those layouts list what lies there
    listed = {file for files in (*dataset.training, *dataset.test) for file in files.files}
    images, labels = _files(image_folders), _files(label_folders)
    for own, other, what, missing in ((images, labels, "image", "label"), (labels, images, "label", "image")):
        others = {nifti.case_name(file) for file in other}
        for file in own:
            if file in listed:
                continue
            if nifti.case_name(file) in others:
                fault = f"is not listed in dataset.json, so this {what} is not used"
                yield Problem(file, fault, 'list its pair under "training" or move it away', "warning")
            else:
                fault = f"is not listed in dataset.json, and there is no {missing} to this {what}"
                yield Problem(file, fault, f"add the {missing} and list the pair, or move this file away")


def _files(folders: set[Path]) -> list[Path]:
    there = (folder for folder in sorted(folders) if folder.is_dir())
    return sorted(file for folder in there for file in folder.iterdir() if nifti.is_nifti(file))


def _unplaced(images: list[Path]) -> Iterator[Problem]:
    """One line for all of them: such files come in whole data sets."""
    if images:
        others = f" (like {_count(len(images) - 1, 'other image')})" if len(images) > 1 else ""
        fault = f"has neither sform nor qform in force{others}, so programs differ on where left is"
        fix = "convert it anew with its orientation; decaseg takes its axes as right, anterior, superior"
        yield Problem(images[0], fault, fix, "warning")


def _missing_tests(dataset: Dataset) -> Iterator[Problem]:
    """One line for all of them: people often leave the test images out, and training does without."""
    missing = [files for files in dataset.test if not files.image.exists()]
    if missing:
        many = f'{len(missing)} of {len(dataset.test)} images listed under "test" are'
        fault = f"is not there ({many} missing)"
        yield Problem(missing[0].image, fault, "copy them there or empty the list; training needs none", "warning")
