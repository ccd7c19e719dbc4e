"""The ten tasks of the Medical Segmentation Decathlon: names, where MONAI keeps their archives, licence, citation.

Names, addresses and MD5s are those of MONAI's `DecathlonDataset` (monai.apps.datasets, MONAI 1.6.1, Apache-2.0).
Licence and citation: medicaldecathlon.com and Antonelli et al. 2022.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

BUCKET = "https://msd-for-monai.s3-us-west-2.amazonaws.com"
LICENCE = "CC-BY-SA 4.0 (https://creativecommons.org/licenses/by-sa/4.0/)"
CITATION = (
    "Antonelli, M., Reinke, A., Bakas, S. et al. The Medical Segmentation Decathlon. "
    "Nature Communications 13, 4128 (2022). https://doi.org/10.1038/s41467-022-30695-9"
)


@dataclass(frozen=True)
class Task:
    """One of the ten: its number, its name without the number, the MD5 of MONAI's archive."""

    number: int
    name: str
    md5: str

    @property
    def folder(self) -> str:
        """The name of its folder, e.g. Task04_Hippocampus."""
        return f"Task{self.number:02d}_{self.name}"

    @property
    def url(self) -> str:
        return f"{BUCKET}/{self.folder}.tar"


TASKS = (
    Task(1, "BrainTumour", "240a19d752f0d9e9101544901065d872"),
    Task(2, "Heart", "06ee59366e1e5124267b774dbd654057"),
    Task(3, "Liver", "a90ec6c4aa7f6a3d087205e23d4e6397"),
    Task(4, "Hippocampus", "9d24dba78a72977dbd1d2e110310f31b"),
    Task(5, "Prostate", "35138f08b1efaef89d7424d2bcc928db"),
    Task(6, "Lung", "8afd997733c7fc0432f71255ba4e52dc"),
    Task(7, "Pancreas", "4f7080cfca169fa8066d17ce6eb061e4"),
    Task(8, "HepaticVessel", "641d79e80ec66453921d997fbf12a29c"),
    Task(9, "Spleen", "410d4a301da4e5b2f6f86ec3ddba524e"),
    Task(10, "Colon", "bad7a188931dc2f6acf72b08eb6202d0"),
)


def find_task(words: str) -> Task | None:
    """The task that `words` name, or None: `Task04_Hippocampus`, `task4`, `4`, `04`, `hippocampus`, `brain tumor`.

    >>> find_task("04").folder, find_task("brain-tumor").folder, find_task("kidney")
    ('Task04_Hippocampus', 'Task01_BrainTumour', None)
    """
    plain = re.sub(r"[\s_-]", "", words).casefold().replace("tumor", "tumour")
    matched = re.fullmatch(r"(?:task)?([0-9]{0,3})([a-z]*)", plain)
    if matched is None or not any(matched.groups()):
        return None
    number, name = matched.groups()
    for task in TASKS:
        if (not number or int(number) == task.number) and (not name or name == task.name.casefold()):
            return task
    return None


def known() -> str:
    """The ten names in one line."""
    return ", ".join(task.folder for task in TASKS)
