"""95th percentile of the Hausdorff distance, lesion by lesion."""

from __future__ import annotations

from decaseg.metrics.hd95_mm import hd95_mm
from decaseg.metrics.pair import MaskPair


def lesion_hd95_mm(pair: MaskPair) -> float:
    """The mean HD95 over lesions in mm, the image's diagonal for each one missed and each one made up (BraTS 2023).

    BraTS writes 374 mm for the diagonal of its 240x240x155 images, which is 373.13 mm. 0 where nothing is to count.
    """
    if not pair.lesions.total:
        return 0.0
    wrong = pair.lesions.missed + pair.lesions.false
    return (sum(hd95_mm(one) for one in pair.lesion_pairs) + wrong * pair.diagonal_mm) / pair.lesions.total
