"""Codes for the structures of a DICOM-SEG: SNOMED CT and NCI Thesaurus where the structure is known.

Source: DICOM PS3.16, context groups 7150 (category), 7151 to 7166 (type). The tests check codes against the
dictionaries that pydicom carries. A structure that is none of these gets the general code of tissue, with its own name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

SCT, NCIT = "SCT", "NCIt"
Code = tuple[str, str, str]  # value, scheme, meaning

ALTERED: Code = ("49755003", SCT, "Morphologically Abnormal Structure")
ANATOMY: Code = ("91723000", SCT, "Anatomical Structure")
TISSUE: Code = ("85756007", SCT, "Tissue")
BRAIN: Code = ("12738006", SCT, "Brain")


@dataclass(frozen=True)
class Coded:
    """What a structure is: its category, its type and, for what is altered, the organ it lies in."""

    category: Code
    kind: Code
    site: Code | None = None


def _altered(value: str, scheme: str, meaning: str, site: Code | None = BRAIN) -> Coded:
    return Coded(ALTERED, (value, scheme, meaning), site)


def _organ(value: str, meaning: str) -> Coded:
    return Coded(ANATOMY, (value, SCT, meaning))


# The first pattern found in the name decides; the more special come first.
KNOWN: tuple[tuple[re.Pattern[str], Coded], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), coded)
    for pattern, coded in (
        (r"non[ _-]?enhanc|necro.*enhanc|\bnetc\b", _altered("C81175", NCIT, "Non-Enhancing Lesion")),
        (r"necro|\bncr\b", _altered("6574001", SCT, "Necrosis")),
        (r"(o?edema|\bsnfh\b)", _altered("79654002", SCT, "Edema")),
        (r"enhanc|\bet\b", _altered("C113842", NCIT, "Enhancing Lesion")),
        (r"(whole|core|brain|gross).*tumou?r|tumou?r core|glioma|\bgtv\b", _altered("108369006", SCT, "Neoplasm")),
        (r"liver.*(tumou?r|cancer)", _altered("108369006", SCT, "Neoplasm", ("10200004", SCT, "Liver"))),
        (
            r"lung.*(tumou?r|cancer)|(tumou?r|cancer).*lung",
            _altered("108369006", SCT, "Neoplasm", ("39607008", SCT, "Lung")),
        ),
        (r"cancer|tumou?r|neoplasm|metasta", _altered("108369006", SCT, "Neoplasm", None)),
        (r"lesion", _altered("52988006", SCT, "Lesion", None)),
        (r"cyst\b", _altered("367643001", SCT, "Cyst", None)),
        (r"hippocamp", _organ("5366008", "Hippocampus")),
        (r"left atrium", _organ("82471001", "Left atrium")),
        (r"portal vein", _organ("32764006", "Portal vein")),
        (r"hepatic ve", _organ("8993003", "Hepatic vein")),
        (r"liver", _organ("10200004", "Liver")),
        (r"pancreas", _organ("15776009", "Pancreas")),
        (r"spleen", _organ("78961009", "Spleen")),
        (r"prostate", _organ("41216001", "Prostate")),
        (r"kidney", _organ("64033007", "Kidney")),
        (r"lung", _organ("39607008", "Lung")),
        (r"heart", _organ("80891009", "Heart")),
        (r"brain", _organ("12738006", "Brain")),
    )
)
OTHER = Coded(TISSUE, TISSUE)


def coded(name: str) -> Coded:
    """The codes of a structure by its name.

    >>> coded("edema").kind, coded("enhancing tumour").kind[2], coded("widget") == OTHER
    (('79654002', 'SCT', 'Edema'), 'Enhancing Lesion', True)
    """
    return next((found for pattern, found in KNOWN if pattern.search(name)), OTHER)
