"""Files beside the listed ones that no list names: half a pair is an error, a whole pair a warning."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from decaseg.planning.checks.problem import Problem
from decaseg.planning.checks.survey import Survey
from decaseg.storage import nifti


def find(survey: Survey) -> Iterator[Problem]:
    """Looks into the folders of the listed files and into imagesTr and labelsTr."""
    dataset = survey.dataset
    if not survey.lists_files:
        return
    image_folders = {files.image.parent for files in dataset.training} | {dataset.root / "imagesTr"}
    label_folders = {files.label.parent for files in dataset.training if files.label} | {dataset.root / "labelsTr"}
    listed = {file for files in (*dataset.training, *dataset.test) for file in (files.image, files.label)}
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


def _files(folders: Iterable[Path]) -> list[Path]:
    there = (folder for folder in sorted(folders) if folder.is_dir())
    return sorted(file for folder in there for file in folder.iterdir() if nifti.is_nifti(file))
