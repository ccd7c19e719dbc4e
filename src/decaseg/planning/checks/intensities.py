"""Images whose intensities are on another scale than those of the other cases."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from decaseg.planning.checks.measure import ChannelVoxels
from decaseg.planning.checks.problem import Problem, some
from decaseg.planning.checks.robust import modified_z
from decaseg.planning.checks.survey import Case, Survey
from decaseg.planning.checks.volumes import limit

FEWEST = 5
CT = ("ct", "computed tomography")
# CT numbers mean the same everywhere and are normalised with the set's own mean; MR scales vary from scanner to scanner
# and are normalised image by image, so that only a wholly different scale is worth a word.
FACTOR = {True: 2.5, False: 10.0}  # of the usual range from the 1st to the 99th percentile
SHIFT = 0.4  # of that range; only for CT: an offset of 1000 is a half
FLOOR = 0.05  # of the logarithm, and of the range
GROUP = 0.05  # a larger share than this, of three cases and more, is a second scale rather than slips


@dataclass(frozen=True)
class Odd:
    """A case whose channel is `times` as wide as usual, or whose values lie `shift` away from the usual ones."""

    case: Case
    times: float
    shift: float


def find(survey: Survey) -> Iterator[Problem]:
    """A warning for each such image, or one notice where they are a group of their own (two scanners, two exports)."""
    cases = [case for case in survey.training if case.image_voxels is not None]
    for number, name in enumerate(survey.dataset.channels):
        having = [case for case in cases if _channel(case, number) is not None]
        if len(having) < FEWEST:
            continue
        ct = name.lower() in CT
        odd, usual = _odd(having, number, ct)
        where = f"channel {number} {name} " if len(survey.dataset.channels) > 1 else ""
        if len(odd) > max(2, GROUP * len(having)):
            ids = some([one.case.name for one in odd])
            fault = f"{where}is on another scale in {len(odd)} of {len(having)} cases ({ids}): {_words(odd[0], usual)}"
            fix = "mend one of the two groups" if ct else "mend it if you can; decaseg scales each image by itself"
            yield Problem(odd[0].case.image.file, fault, fix, "warning" if ct else "notice")
            continue
        for one in odd:
            fix = "export it again, or make sure that it belongs to this data set"
            yield Problem(one.case.image.file, f"{where}{_words(one, usual)}", fix, "warning")


def _odd(cases: list[Case], number: int, ct: bool) -> tuple[list[Odd], float]:
    facts = [facts for case in cases if (facts := _channel(case, number)) is not None]
    ranges = np.array([max(one.percentile_99 - one.percentile_1, 1e-12) for one in facts])
    usual = float(np.median(ranges))
    wide = np.abs(modified_z(np.log(ranges), FLOOR)) > limit(len(facts))
    times = ranges / usual
    levels = np.array([(one.percentile_1, one.percentile_50, one.percentile_99) for one in facts]) / usual
    shifts = levels - np.median(levels, axis=0)
    far = np.stack([np.abs(modified_z(level, FLOOR)) > limit(len(facts)) for level in levels.T], axis=1)
    moved = (far & (np.abs(shifts) > SHIFT)).sum(axis=1) >= 2  # two of three percentiles: not one odd tail
    found = []
    for place, case in enumerate(cases):
        scaled = bool(wide[place] and max(times[place], 1 / times[place]) > FACTOR[ct])
        if scaled or (ct and moved[place]):
            found.append(Odd(case, float(times[place]), 0.0 if scaled else float(shifts[place][1] * usual)))
    return found, usual


def _words(odd: Odd, usual: float) -> str:
    if odd.shift:
        way = "above" if odd.shift > 0 else "below"
        return f"lies about {abs(odd.shift):.4g} {way} the usual intensities"
    times = f"{odd.times:.3g} times" if odd.times >= 1 else f"1/{1 / odd.times:.3g} of"
    return f"spans {usual * odd.times:.4g} from dark to bright, {times} the usual {usual:.4g}"


def _channel(case: Case, number: int) -> ChannelVoxels | None:
    channels = case.image_voxels.channels if case.image_voxels is not None else ()
    if number >= len(channels) or channels[number].low == channels[number].high:
        return None
    return channels[number]
