"""The export: its parity record, and what benchmark measured of models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from decaseg.reporting.charts import number
from decaseg.reporting.material import is_number
from decaseg.reporting.sections.speed import Model, models_of, speed_chart
from decaseg.reporting.words import Tree, signed, tree

KNOWN = ("cases", "mean_dice_source", "mean_dice_export", "max_dice_drop")


@dataclass(frozen=True)
class Parity:
    """The gate's record as rows of words and value, and what else it notes."""

    rows: tuple[tuple[str, str], ...]
    rest: Tree


@dataclass(frozen=True)
class Speed:
    """A chart, "" where there is nothing to draw; a table's headings and rows; machine and settings in words."""

    svg: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    note: str
    conclusions: tuple[str, ...]


def parity_of(bundle: Mapping[str, Any] | None) -> Parity | None:
    """Dice before and after the export, and the largest drop of a case."""
    parity = bundle.get("parity") if bundle else None
    if not isinstance(parity, Mapping):
        return None
    source, export = (parity.get(key) for key in ("mean_dice_source", "mean_dice_export"))
    rows = [("Cases compared", str(tree(parity.get("cases"))))]
    if is_number(source) and is_number(export):
        rows += [("Mean Dice before export", f"{source:.4f}"), ("Mean Dice after export", f"{export:.4f}")]
        rows.append(("Change", f"{export - source:+.4f}".replace("-", "−")))
    drop = parity.get("max_dice_drop")
    if is_number(drop):
        rows.append(("Largest drop", f"{drop:.4f}"))
    rest = {key.replace("_", " "): value for key, value in parity.items() if key not in KNOWN}
    return Parity(tuple(rows), tree(rest) if rest else [])


def speed_of(benchmark: Mapping[str, Any] | None) -> Speed | None:
    """The models of a benchmark side by side; None where there are none."""
    models = models_of(benchmark) if benchmark else []
    if not benchmark or not models:
        return None
    columns = ("Engine", "Seconds a case", "Times as fast", "Peak memory", "Mean Dice", "Difference of Dice")
    conclusions = benchmark.get("conclusions")
    lines = [str(line) for line in conclusions] if isinstance(conclusions, list) else []
    return Speed(
        speed_chart(models),
        columns,
        tuple(_row(m, i) for i, m in enumerate(models)),
        _note(benchmark, models),
        tuple(lines),
    )


def _row(m: Model, place: int) -> tuple[str, tuple[str, ...]]:
    dropped = "" if place == 0 or m.drop is None else signed(-m.drop, 2)
    if dropped and m.drop_ci95:
        dropped += f" ({signed(-m.drop_ci95[1], 2)} to {signed(-m.drop_ci95[0], 2)})"
    return m.name, (
        f"{m.engine} {m.precision}".strip(),
        number(float(f"{m.seconds:.3g}")),
        "" if m.times_as_fast is None else f"{m.times_as_fast:.2f}",
        "" if m.peak_gib is None else f"{m.peak_gib:.2f} GiB",
        "" if m.dice is None else f"{m.dice:.4f}",
        dropped,
    )


def _note(benchmark: Mapping[str, Any], models: Sequence[Model]) -> str:
    machine, settings = (
        {} if not isinstance(benchmark.get(k), Mapping) else benchmark[k] for k in ("machine", "settings")
    )
    parts = [str(machine[k]) + end for k, end in (("processor", ""), ("cores", " cores")) if machine.get(k)]
    parts += [str(settings["case"])] if settings.get("case") else []
    return ", ".join([*parts, f"differences are from {models[0].name}"])
