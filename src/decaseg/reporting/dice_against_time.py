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
NEAR = 22  # points from a name to its point; farther names get a line to it
# Places for a name in points from its point, the nearest first.
PLACES = sorted(
    ((x, y) for x in (0, 9, -9, 26, -26, 48, -48) for y in (13, -13, 26, -26, 40, -40, 55, -55, 72, -72, 90, -90)),
    key=lambda place: abs(place[0]) + abs(place[1]),
)
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
    _explain(axes, models)
    _name_points(figure, axes, models)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    machine, (low, high) = document["machine"], models[0]["dice"]["ci95"]
    own = f"whose own 95 % interval over cases is {low:.3f} to {high:.3f}"
    axes.set_title(
        f"{machine['processor']}, {document['settings']['threads'] or machine['cores']} cores, "
        f"n = {models[0]['dice']['n']} cases\n"
        f"grey: within {TOLERANCE} of {models[0]['name']}, {own}",
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


def _explain(axes: Any, models: Sequence[Mapping[str, Any]]) -> None:
    """What colours and markers mean, of those that are there."""
    lines = need("matplotlib.lines")
    precisions, engines = {_computes(model) for model in models}, {model["engine"] for model in models}
    entries = [(name, "_", colour) for name, colour in COLOURS.items() if name in precisions]
    entries += [(name, marker, "0.45") for name, marker in MARKERS.items() if name in engines]
    handles = [
        lines.Line2D([], [], linestyle="", marker=marker, color=colour, label=name, markersize=8, markeredgewidth=2)
        for name, marker, colour in entries
    ]
    axes.legend(handles=handles, loc="lower right", ncols=len(handles), frameon=False, fontsize=8, handletextpad=0.2)


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
    """Each model's name beside its point, at the nearest place where it covers neither names, points nor bars."""
    transforms = need("matplotlib.transforms")
    figure.draw_without_rendering()
    frame = axes.get_window_extent()
    taken = [box for model in models for box in _marks(axes, model, transforms.Bbox)]
    line_y = axes.transData.transform((1, models[0]["dice"]["mean"]))[1]
    taken.append(transforms.Bbox.from_extents(frame.x0, line_y - 1, frame.x1, line_y + 1))
    for model in models:
        point = model["case_s"]["median"], model["dice"]["mean"]
        text = axes.text(*point, model["name"], fontsize=9, zorder=4, va="center")
        text.set_in_layout(False)
        for x, y in PLACES:
            shift = transforms.ScaledTranslation(x / 72, y / 72, figure.dpi_scale_trans)
            text.set_transform(axes.transData + shift)
            text.set_horizontalalignment("left" if x > 0 else "right" if x < 0 else "center")
            box = text.get_window_extent().padded(1)
            if frame.containsx(box.x0) and frame.containsx(box.x1) and not any(box.overlaps(o) for o in taken):
                break
        if abs(x) + abs(y) > NEAR:
            line = {"arrowstyle": "-", "color": "0.6", "linewidth": 0.7, "shrinkA": 5, "shrinkB": 6}
            axes.annotate("", point, xytext=(x, y), textcoords="offset points", arrowprops=line, zorder=2)
        taken.append(box)


def _marks(axes: Any, model: Mapping[str, Any], bbox: Any) -> list[Any]:
    """The boxes in pixels that a model's marker and bars take."""
    case, dice, drop = model["case_s"], model["dice"]["mean"], model["dice_drop"]
    x, y = axes.transData.transform((case["median"], dice))
    ends = [axes.transData.transform((time, dice))[0] for time in case["quartiles"]]
    rise = [axes.transData.transform((case["median"], dice + drop["mean"] - d))[1] for d in drop["ci95"]]
    return [
        bbox.from_extents(x - 6, y - 6, x + 6, y + 6),
        bbox.from_extents(min(ends) - 1, y - 4, max(ends) + 1, y + 4),
        bbox.from_extents(x - 4, min(rise) - 1, x + 4, max(rise) + 1),
    ]
