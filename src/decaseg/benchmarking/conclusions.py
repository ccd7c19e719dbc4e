"""What the numbers say, in sentences: whether a lower precision pays here, and whether to trust the times."""

from __future__ import annotations

from collections.abc import Sequence

from decaseg.benchmarking.results import Result, Timed, difference
from decaseg.benchmarking.statistics import Ratio, times_as_fast

GAIN = 1.02  # times as fast: less than this is no gain that anyone would notice
RESTLESS = 0.25  # the quartiles' distance as a share of the median, above which the machine was busy with other things
LONG_S = 1.0  # of waiting: in less, the clock of processor time is too coarse to tell
IDLE_SHARE = 0.02  # of a processor, taken by models that wait for their turn
EIGHT_BIT = ("AVX-512 VNNI", "AVX VNNI", "AMX int8")


def conclusions(results: Sequence[Result], instructions: Sequence[str]) -> list[str]:
    """Sentences about the results; none where there is nothing to say."""
    said = [sentence for result in results if (sentence := _pays(result, results, instructions))]
    restless = [r for r in results if r.case_s.n > 3 and _restless(r)]
    if restless:
        widest = max(restless, key=lambda r: _distance(r) / r.window_s.median)
        said.append(
            f"The machine was busy with other things: the middle half of {widest.timed.name}'s window times is "
            f"{_distance(widest) / widest.window_s.median:.0%} of their median wide. Ratios within one engine, "
            "round by round, say more than times; torch suffers most from a busy machine. Repeat it on an idle one."
        )
    for result in results:
        timed = result.timed
        if timed.idle_s > LONG_S and timed.idle_cpu_s / timed.idle_s > IDLE_SHARE:
            said.append(
                f"{timed.name} took {timed.idle_cpu_s / timed.idle_s:.0%} of a processor while others had their turn: "
                "theirs were slowed down."
            )
    return said


def _pays(result: Result, results: Sequence[Result], instructions: Sequence[str]) -> str | None:
    """Whether int8 is faster than everything else, or bf16 faster than the same engine in fp32."""
    timed = result.timed
    others = [r for r in results if r.timed.computes != timed.computes]
    if timed.computes == "int8":
        rivals = others
    elif timed.computes in ("bf16", "fp16"):
        rivals = [r for r in others if r.timed.computes == "fp32" and r.timed.facts["engine"] == timed.facts["engine"]]
    else:
        return None
    if not rivals:
        return None
    rival = min(rivals, key=lambda r: r.case_s.median)
    ratio = times_as_fast(rival.timed.cases_s, timed.cases_s)
    fact = f"{words(ratio)} times as fast as {rival.timed.name} for a whole case"
    low, high = ratio.ci95 or (ratio.median, ratio.median)
    if low > GAIN:
        said = f"{timed.computes} pays on this machine: {timed.name} is {fact}"
    elif high < GAIN:
        said = f"{timed.computes} does not pay on this machine: {timed.name} is {fact}; use {rival.timed.name}"
        if timed.computes == "int8" and instructions and not set(EIGHT_BIT) & set(instructions):
            said += " (the processor has neither VNNI nor AMX, which int8 needs to be fast)"
    else:
        said = f"It is open whether {timed.computes} pays on this machine: {timed.name} is {fact}; take more --rounds"
    return f"{said}.{_dice(timed, rival.timed)}"


def _dice(timed: Timed, rival: Timed) -> str:
    if not (timed.dice and rival.dice):
        return ""
    lost = difference(rival, timed)
    low, high = (round(end, 4) + 0.0 for end in lost.ci95)
    size = f"{abs(lost.mean):.4f}"
    way = "the same to four places" if float(size) == 0 else f"{size} {'lower' if lost.mean > 0 else 'higher'}"
    return f" Its Dice is {way} (95 % interval of the drop {low:.4f} to {high:.4f}, n = {lost.n})."


def _restless(result: Result) -> bool:
    return _distance(result) > RESTLESS * result.window_s.median


def _distance(result: Result) -> float:
    low, high = result.window_s.quartiles
    return high - low


def words(ratio: Ratio) -> str:
    """1.83 (1.80 to 1.86)."""
    interval = "" if ratio.ci95 is None else f" ({ratio.ci95[0]:.2f} to {ratio.ci95[1]:.2f})"
    return f"{ratio.median:.2f}{interval}"
