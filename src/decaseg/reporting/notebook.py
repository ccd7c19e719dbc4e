"""HTML of notebooks: styles are inline and colours the notebook's own, so that it looks right in any theme."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from decaseg.reporting.material import Scores, is_number
from decaseg.reporting.three_planes import WIDTH, data_uri, draw_three_planes
from decaseg.volume import Volume

BOX = "font:13px/1.5 system-ui,sans-serif;max-width:{width}px;margin:4px 0 10px"
QUIET = "opacity:.8"
NUMBER = "text-align:right;padding:1px 8px;font-variant-numeric:tabular-nums;white-space:nowrap"
PURPLE = "#8f4bea"


def picture_block(
    title: str,
    image: Volume,
    prediction: Volume | None,
    truth: Volume | None,
    names: Mapping[int, str],
    channel: int,
    lines: Sequence[str],
) -> str:
    """The three planes of a case with lines of text below; without Pillow the text alone, which says so."""
    style = BOX.format(width=WIDTH // 2)
    try:
        uri = data_uri(draw_three_planes(image, prediction, truth, names, channel))
        words = ", ".join(name for name, there in (("prediction", prediction), ("truth", truth)) if there)
        shown = f" with {words}: {', '.join(names.values())}" if words else ""
        alt = f"{title}: axial, coronal and sagittal slice{shown}; right is on the left"
        picture = f'<img src="{uri}" alt="{escape(alt)}" style="width:100%;border-radius:6px;display:block">'
    except ValueError as error:
        picture = f'<div style="{QUIET}">no picture: {escape(str(error))}</div>'
    text = "".join(f"<div>{escape(line)}</div>" for line in lines)
    return f'<div style="{style}"><strong>{escape(title)}</strong>{picture}{text}</div>'


def said_of(image: Volume, channels: Sequence[str], channel: int | None) -> str:
    """Shape, spacing, orientation, type and range; and, of several channels, which is shown (None: not said)."""
    shape = " × ".join(map(str, image.shape))
    spacing = " × ".join(f"{s:.3g}" for s in image.spacing_mm)
    line = f"{shape} voxels of {spacing} mm, {image.orientation}"
    if channel is None:
        return line
    array = image.array
    line += f", {array.dtype}"
    if array.size:
        line += f" from {array[channel].min():.4g} to {array[channel].max():.4g}"
    count = array.shape[0]
    if count > 1:
        name = channels[channel] if len(channels) == count else f"{channel + 1}"
        line += f"; channel {name} of {', '.join(channels) if len(channels) == count else count}"
    return line


def score_line(dice: Mapping[str, float]) -> str:
    """Dice of a case: the mean and each structure's."""
    parts = [f"{name} {value:.3f}" for name, value in dice.items()]
    return f"Dice {sum(dice.values()) / len(dice):.3f}" + (f" ({', '.join(parts)})" if len(parts) > 1 else "")


def bars(scores: Scores, worst: Sequence[tuple[str, float]]) -> str:
    """An evaluation: its mean Dice with interval, a bar a structure, and its worst cases."""
    mean = "not given" if scores.mean_dice is None else f"{scores.mean_dice:.3f}"
    statistics = scores.other.get("mean_dice_statistics")
    interval = _interval(statistics if isinstance(statistics, Mapping) else {})
    count = len(scores.cases)
    head = f'<div><strong style="font-size:22px">{mean}</strong> mean Dice over {count} case{"s" * (count != 1)}'
    head += f"; 95 % interval {interval}</div>" if interval else "</div>"
    rows = [_row(name, metrics.get("dice", {})) for name, metrics in scores.structures.items()]
    table = "<tr><th></th><th></th><th>Dice</th><th>95 % interval</th><th>n</th></tr>" + "".join(rows)
    low = "".join(f"<tr>{_name(case)}<td>{_bar(value)}</td>{_cell(f'{value:.3f}')}</tr>" for case, value in worst)
    style = "border-collapse:collapse;margin:6px 0;font:inherit"
    return (
        f'<div style="{BOX.format(width=WIDTH // 2)}">{head}<table style="{style}">{table}</table>'
        f'<div style="{QUIET}">the worst of them</div><table style="{style}">{low}</table></div>'
    )


def _row(name: str, dice: Mapping[str, object]) -> str:
    mean = dice.get("mean")
    value, bar = (f"{mean:.3f}", _bar(float(mean))) if is_number(mean) else ("not given", "")
    cells = "".join(map(_cell, (value, _interval(dice), str(dice.get("n", "")))))
    return f"<tr>{_name(name)}<td>{bar}</td>{cells}</tr>"


def _name(name: str) -> str:
    return f'<th scope="row" style="text-align:left;font-weight:400">{escape(name)}</th>'


def _cell(text: str) -> str:
    return f'<td style="{NUMBER}">{escape(text)}</td>'


def _interval(statistic: Mapping[str, object]) -> str:
    ci95 = statistic.get("ci95")
    if not isinstance(ci95, list | tuple) or len(ci95) != 2 or not all(is_number(v) for v in ci95):
        return ""
    return f"{ci95[0]:.3f} to {ci95[1]:.3f}"


def _bar(share: float) -> str:
    width = 100 * min(1.0, max(0.0, share))
    return (
        '<div aria-hidden="true" style="width:160px;height:9px;border-radius:5px;background:rgba(128,128,128,.25)">'
        f'<div style="width:{width:.1f}%;height:100%;border-radius:5px;background:{PURPLE}"></div></div>'
    )
