"""A picture of what each model gives for the time it takes: mean Dice against seconds a case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from decaseg.reporting.extras import need
from decaseg.storage.files import replacing

NAME = "dice-against-time"
SIZE_INCHES = (7.2, 4.6)
TOLERANCE = 0.002  # of Dice: what an export in fewer bits may lose
LEAST_REACH = 0.004  # of the Dice axis to either side, so that nothing looks large that is not
# Okabe and Ito's colours, which the colour-blind tell apart; markers say the engine, so colour is never alone.
COLOURS = {"fp32": "#000000", "bf16": "#0072B2", "fp16": "#009E73", "int8": "#D55E00"}
MARKERS = {"torch": "o", "plain torch": "s", "openvino": "D", "onnx": "^"}


def draw_dice_against_time(document: Mapping[str, Any], folder: Path) -> None:
    """Writes `folder/dice-against-time.png` and `.svg` of a benchmark.json document whose models have Dice.

    The bars: across, the middle half of the cases' times; upwards, the 95 % interval of the difference from the first
    model, case by case, since cases differ from each other far more than models do.
    """
    need("matplotlib").use("agg", force=False)
    figure_module, ticker = need("matplotlib.figure"), need("matplotlib.ticker")
    figure = figure_module.Figure(figsize=SIZE_INCHES, layout="constrained")
    axes = figure.add_subplot()
    models = document["models"]
    reference = models[0]["dice"]["mean"]
    axes.axhspan(reference - TOLERANCE, reference + TOLERANCE, color="0.93", zorder=0)
    axes.axhline(reference, color="0.7", linewidth=1, zorder=1)
    for model in models:
        _point(axes, model, reference)
    _limits(axes, models, reference)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(ticker.NullFormatter())
    axes.set_xlabel("seconds a case, image in memory to label map (median; bar: middle half of the cases)")
    axes.set_ylabel("mean Dice (bar: 95 % interval of the\ndifference from the first model)")
    _name_points(figure, axes, models)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    machine, (low, high) = document["machine"], models[0]["dice"]["ci95"]
    axes.set_title(
        f"{machine['processor']}, {document['settings']['threads'] or machine['cores']} cores, "
        f"n = {models[0]['dice']['n']} cases\n"
        f"grey: within {TOLERANCE} of {models[0]['name']}, whose own 95 % interval over cases is {low:.3f} to {high:.3f}",
        loc="left", fontsize=8.5, color="0.25",
    )  # fmt: skip
    for suffix in (".png", ".svg"):
        with replacing(folder / f"{NAME}{suffix}") as temporary:
            figure.savefig(temporary, dpi=160, metadata={"Date": None} if suffix == ".svg" else None)


def _point(axes: Any, model: Mapping[str, Any], reference: float) -> None:
    case, dice, drop = model["case_s"], model["dice"]["mean"], model["dice_drop"]
    bars_x = [[max(0.0, case["median"] - case["quartiles"][0])], [max(0.0, case["quartiles"][1] - case["median"])]]
    low, high = reference - drop["ci95"][1], reference - drop["ci95"][0]
    axes.errorbar(
        [case["median"]], [dice], xerr=bars_x, yerr=[[max(0.0, dice - low)], [max(0.0, high - dice)]],
        fmt=MARKERS.get(model["engine"], "o"), color=COLOURS.get(_computes(model), "#CC79A7"),
        markersize=7, capsize=3, linewidth=1.2, zorder=3,
    )  # fmt: skip


def _computes(model: Mapping[str, Any]) -> str:
    return "int8" if model["stored_precision"] == "int8" else str(model["precision"])


def _limits(axes: Any, models: Sequence[Mapping[str, Any]], reference: float) -> None:
    ends = [reference - LEAST_REACH, reference + LEAST_REACH]
    for model in models:
        ends += [model["dice"]["mean"], *(reference - end for end in model["dice_drop"]["ci95"])]
    room = 0.12 * (max(ends) - min(ends))
    axes.set_ylim(min(ends) - room, max(ends) + room)
    times = [t for model in models for t in (model["case_s"]["median"], *model["case_s"]["quartiles"])]
    axes.set_xlim(min(times) / 1.35, max(times) * 1.5)


def _name_points(figure: Any, axes: Any, models: Sequence[Mapping[str, Any]]) -> None:
    """Each model's name beside its point, moved up or down, with a line to the point, until no two names overlap."""
    figure.draw_without_rendering()
    taken: list[Any] = [axes.transData.transform((m["case_s"]["median"], m["dice"]["mean"])) for m in models]
    boxes: list[Any] = []
    right = axes.get_window_extent().x1
    for model, (x, y) in sorted(zip(models, taken, strict=True), key=lambda pair: -pair[1][1]):
        text = axes.annotate(
            model["name"], (model["case_s"]["median"], model["dice"]["mean"]), xytext=(9, 7),
            textcoords="offset points", fontsize=9, zorder=4,
            arrowprops={"arrowstyle": "-", "color": "0.6", "linewidth": 0.7, "shrinkA": 0, "shrinkB": 4},
        )  # fmt: skip
        for offset in _offsets():
            text.set_position(offset)
            text.set_horizontalalignment("left" if offset[0] > 0 else "right")
            box = text.get_window_extent().padded(1)
            inside = box.x1 < right and box.x0 > axes.get_window_extent().x0
            near = [p for p in taken if box.x0 - 6 < p[0] < box.x1 + 6 and box.y0 - 6 < p[1] < box.y1 + 6]
            if inside and not near and not any(box.overlaps(other) for other in boxes):
                break
        boxes.append(box)


def _offsets() -> list[tuple[float, float]]:
    """Places for a name in points from its point, the nearest first."""
    found = [(side * 9.0, float(rise)) for rise in (7, -15, 20, -28, 33, -41, 46, -54, 59, -67) for side in (1, -1)]
    return [*found, *((side * 30.0, float(rise)) for rise in (7, -15, 33, -41, 72, -80) for side in (1, -1))]
