"""Two sets of predictions compared: a table in the terminal, and in words what can be concluded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any

from decaseg.reporting.table import number

SAYS = {
    "first": "first",
    "second": "second",
    "none": "not shown",
    "few": "too few",
    "equal": "equal",
}


def print_comparison(document: Mapping[str, Any], file: IO[str] | None = None) -> None:
    """Prints a comparison.json document; `file` is standard output where it is None.

    Metrics that have no better side, such as a volume, are in the document only.
    """
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(
        "structure", title="first less second, case by case", title_justify="left", box=SIMPLE, pad_edge=False
    )
    table.add_column("metric", no_wrap=True)
    for heading in ("diff.", "95 % interval", "p", "better"):
        table.add_column(heading, justify="right", no_wrap=True)
    for structure, metrics in document["structures"].items():
        rows = [(metric, value) for metric, value in metrics.items() if value["better"]]
        for row, (metric, value) in enumerate(rows):
            table.add_row(Text(structure if row == 0 else ""), Text(metric), *_cells(value))
        table.add_section()
    console = Console(file=file, highlight=False, soft_wrap=True)
    console.print(f"first: {document['first']}\nsecond: {document['second']}", markup=False)
    console.print(table)
    console.print(conclusion(document), markup=False)


def conclusion(document: Mapping[str, Any]) -> str:
    """What the comparison of the cases' mean Dice shows, and what it does not."""
    value = document["mean_dice"]
    low, high = value["ci95"]
    n, changed = value["n"], value["changed"]
    facts = (
        f"mean Dice {number(value['mean_first'])} against {number(value['mean_second'])}, difference "
        f"{value['mean']:+.4f} (95 % interval {low:+.4f} to {high:+.4f}; signed-rank p = {value['p_wilcoxon']:.3g}, "
        f"permutation p = {value['p_permutation']:.3g}; {n} case{'s' * (n != 1)})"
    )
    verdicts = {
        "first": f"The first is better by {abs(value['mean']):.4f}: {facts}.",
        "second": f"The second is better by {abs(value['mean']):.4f}: {facts}.",
        "none": f"No difference is shown, which does not show that they are equal: {facts}.",
        "few": f"No test can decide: only {changed} of {n} cases differ, and it takes 6 that do: {facts}.",
        "equal": f"Both have the same Dice in every one of {n} case{'s' * (n != 1)}.",
    }
    judged = [d for rows in document["structures"].values() for d in rows.values() if d["says"] in ("first", "second")]
    corrected = sum(d["p_holm"] < 0.05 for d in judged)
    return (
        f"{verdicts[value['says']]}\nOf the single lines above, {len(judged)} name a better one, {corrected} after "
        "Holm's correction for their number; conclude from the mean Dice, look at the lines."
    )


def _cells(value: Mapping[str, Any]) -> tuple[str, str, str, str]:
    low, high = value["ci95"]
    p = value["p_wilcoxon"]
    interval = f"{number(low)} to {number(high)}"
    return number(value["mean"]), interval, f"{p:.3f}" if p >= 0.001 else "<0.001", SAYS[value["says"]]
