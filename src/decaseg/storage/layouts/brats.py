"""BraTS as the challenge ships it: a folder a case, a file a contrast, and the label map beside them.

2023 and later `BraTS-GLI-00000-000/BraTS-GLI-00000-000-t2f.nii.gz`, before `BraTS20_Training_001_flair.nii.gz`, also
under HGG/ and LGG/. Values, as the challenge pages give them: 1 necrotic and non-enhancing core, 2 edema, and enhancing
tumour 4 until 2021, 3 since; in post-treatment gliomas (2024, time points from 100) 4 is the resection cavity. The
structures bear the Decathlon's names, which means the same by them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from decaseg.storage.channel_names import CONTRASTS, contrast
from decaseg.storage.dataset import CaseFiles, Dataset
from decaseg.storage.label_names import NAMES_FILE, read_names
from decaseg.storage.layouts.layout import Layout
from decaseg.storage.nifti import case_name, is_nifti

NAME = re.compile(r"(?P<case>.*brats.+?)[-_](?P<what>t1|t2|flair|t1ce|t1c|t1n|t2w|t2f|seg|gtv)", re.IGNORECASE)
LABELS = ("seg", "gtv")
NEW_STYLE = re.compile(r"BraTS-(?P<group>[A-Za-z]+(?:-RT)?)-(?P<patient>\d+)-(?P<time>\d+)", re.IGNORECASE)
CORE, EDEMA, ENHANCING, CAVITY = "non-enhancing tumor", "edema", "enhancing tumour", "resection cavity"
POST_TREATMENT = 100  # the first time point of cases after treatment


def parsed(stem: str) -> tuple[str, str] | None:
    """`BraTS-GLI-00000-000-t2f` -> (`BraTS-GLI-00000-000`, `t2f`); None for other names. `seg` is the label map."""
    match = NAME.fullmatch(stem)
    return (match["case"], match["what"].lower()) if match else None


def files_of(folder: Path) -> dict[str, dict[str, Path]]:
    """Case -> what (`t2f`, `seg` …) -> file, of the files in one folder that are named as BraTS names them."""
    found: dict[str, dict[str, Path]] = defaultdict(dict)
    if folder.is_dir():
        for path in sorted(folder.iterdir()):
            if is_nifti(path) and (name := parsed(case_name(path))) is not None:
                found[name[0]][name[1]] = path
    return dict(found)


def case_folders(root: Path) -> list[Path]:
    """Folders that hold a case's files: `root` itself, those in it, and those one deeper (HGG/, TrainingData/)."""
    found = []
    for folder in (root, *_inside(root)):
        if files_of(folder):
            found.append(folder)
        elif folder != root:
            found += [deeper for deeper in _inside(folder) if files_of(deeper)]
    return found


def fits(root: Path) -> bool:
    """Does one of the first folders hold a case?"""
    if not root.is_dir() or (root / "dataset.json").exists():
        return False
    for folder in (root, *_inside(root)[:20]):
        if files_of(folder) or (folder != root and any(files_of(deeper) for deeper in _inside(folder)[:3])):
            return True
    return False


def read(root: Path) -> Dataset:
    """The cases with a label map train; where none is beside the images, a case counts as test."""
    cases: dict[str, dict[str, Path]] = {}
    for folder in case_folders(root):
        for case, files in files_of(folder).items():
            if case in cases:
                raise ValueError(f"{folder}: case {case} lies in another folder too; keep one of them")
            cases[case] = files
    if not cases:
        raise ValueError(f"{root}: holds no case; looked for {LAYOUT.looked_for}")
    spellings = _spellings(cases)
    training, test, remarks = list[CaseFiles](), list[CaseFiles](), list[str]()
    for case, files in sorted(cases.items()):
        images = [_image(files, what) for what in spellings.values()]
        label = next((files[what] for what in LABELS if what in files), None)
        one = CaseFiles(case, images[0], label, tuple(images[1:]), group=_patient(case))
        (test if label is None else training).append(one)
    if not training:
        raise ValueError(
            f"{root}: no case has a label map, such as {test[0].case}-seg.nii.gz; predict takes it as INPUT"
        )
    if test:
        remarks.append(f"no label map beside {_some([one.case for one in test])}: not trained on")
    labels = _labels(root, [one.case for one in training], any("gtv" in files for files in cases.values()))
    return Dataset(
        root, root.resolve().name, tuple(spellings), labels, tuple(training), tuple(test), source=root,
        remarks=tuple(remarks),
    )  # fmt: skip


def _spellings(cases: Mapping[str, Mapping[str, Path]]) -> dict[str, str]:
    """Contrast -> what it is called in file names here, in the Decathlon's order; those that any case has."""
    called = {what for files in cases.values() for what in files if what not in LABELS}
    by_contrast = {contrast(what): what for what in sorted(called)}
    return {name: by_contrast[name] for name in CONTRASTS if name in by_contrast}


def _image(files: Mapping[str, Path], what: str) -> Path:
    """The file of a contrast, by whatever of its names; where it is missing, where it should be."""
    for other, path in files.items():
        if other == what or (other not in LABELS and contrast(other) == contrast(what)):
            return path
    sibling, path = next(iter(files.items()))
    ending = path.name[len(case_name(path)) :]
    return path.with_name(path.name[: -len(sibling + ending)] + what + ending)


def _labels(root: Path, cases: Sequence[str], radiotherapy: bool) -> dict[int, str]:
    if (root / NAMES_FILE).is_file():
        return read_names(root / NAMES_FILE)
    if radiotherapy:
        return {0: "background", 1: "gross tumor volume"}
    new = [match for case in cases if (match := NEW_STYLE.fullmatch(case))]
    if not new:
        return {0: "background", 1: CORE, 2: EDEMA, 4: ENHANCING}
    if any(match["group"].upper() == "PED" for match in new):
        raise ValueError(
            f"{root}: BraTS-PED numbered its labels otherwise in 2023 and 2024; write {NAMES_FILE} beside the cases, "
            "with the columns index and name"
        )
    labels = {0: "background", 1: CORE, 2: EDEMA, 3: ENHANCING}
    post = any(match["group"].upper() == "GLI" and int(match["time"]) >= POST_TREATMENT for match in new)
    return labels | {4: CAVITY} if post else labels


def _patient(case: str) -> str:
    """`BraTS-GLI-00005-100` and `-101` are one patient; older names have one scan a patient."""
    match = NEW_STYLE.fullmatch(case)
    return f"{match['group']}-{match['patient']}" if match else case


def _inside(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


LAYOUT = Layout("a BraTS folder", "files BraTS…-t2f.nii.gz or BraTS…_flair.nii.gz", fits, read)
