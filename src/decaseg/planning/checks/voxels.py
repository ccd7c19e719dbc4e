"""Images with NaN or infinities, or with channels in which nothing can be seen."""

from __future__ import annotations

from collections.abc import Iterator

from decaseg.planning.checks.problem import Problem
from decaseg.planning.checks.survey import Survey


def find(survey: Survey) -> Iterator[Problem]:
    """A problem for each such channel, named if the image has several."""
    names = survey.dataset.channels
    for case in (*survey.training, *survey.test):
        if case.image_voxels is None:
            continue
        channels = case.image_voxels.channels
        for number, channel in enumerate(channels):
            name = f" {names[number]}" if number < len(names) else ""
            where = f"channel {number}{name} " if len(channels) > 1 else ""
            if channel.not_finite:
                bad = f"{channel.not_finite:,} of {channel.voxels:,}"
                fix = "replace them by the background's value (--fix puts 0) or export the image again"
                yield Problem(case.image.file, f"{where}has {bad} voxels that are NaN or infinite", fix)
            elif channel.low == channel.high:
                fault = f"{where}is {channel.low:g} in every voxel, so there is nothing to learn from"
                yield Problem(case.image.file, fault, "export it again or take the case out of dataset.json")
