"""Learning curves of a RUN, from its log."""

from __future__ import annotations

from dataclasses import dataclass

from decaseg.reporting.charts import line_chart
from decaseg.reporting.material import Log
from decaseg.reporting.words import counted

FEWEST = 2  # points of a curve: one is said in words


@dataclass(frozen=True)
class Curve:
    """A chart, and the names of its lines where it has several."""

    title: str
    names: tuple[str, ...]
    svg: str


def curves(log: Log | None) -> list[Curve]:
    """Validation Dice, training loss, learning rate, time spent waiting for data: those that have points."""
    if log is None or max(len(log.epochs), len(log.validations)) < FEWEST:
        return []
    x = "step" if all(p.step for p in (*log.epochs, *log.validations)) else "epoch"

    def over_time(key: str, times: float = 1.0) -> list[tuple[float, float]]:
        return [(getattr(p, x), times * p.values[key]) for p in log.epochs if key in p.values]

    names = list(dict.fromkeys(name for p in log.validations for name in p.values))
    dice = {n: [(getattr(p, x), p.values[n]) for p in log.validations if n in p.values] for n in names}
    drawn = [
        ("Validation Dice", dice, line_chart("Validation Dice", dice, x, "Dice, whole volumes", unit=True)),
    ]
    for title, key, y_name, times in (
        ("Training loss", "train_loss", "Loss, mean of an epoch", 1.0),
        ("Learning rate", "lr", "Learning rate", 1.0),
        ("Waiting for data", "wait_share", "% of the time", 100.0),
    ):
        lines = {title: over_time(key, times)}
        drawn.append((title, lines, line_chart(title, lines, x, y_name, whole=key != "train_loss")))
    return [Curve(title, tuple(lines) if len(lines) > 1 else (), svg) for title, lines, svg in drawn if svg]


def log_note(log: Log | None) -> str:
    """How the training ended, and what could not be read of its log."""
    if log is None:
        return ""
    parts = []
    if not log.ending:
        parts.append("The log has no end: training runs on, or was interrupted.")
    elif isinstance(log.ending.get("reason"), str):
        parts.append(f"Ended: {log.ending['reason']}.")
    if len(log.epochs) == 1 and not curves(log):
        values = log.epochs[0].values
        said = {
            "train_loss": "training loss {:.4g}",
            "lr": "learning rate {:.2g}",
            "wait_share": "{:.0%} of the time waiting for data",
        }
        found = [words.format(values[key]) for key, words in said.items() if key in values]
        parts.append(f"One epoch was logged: {', '.join(found)}." if found else "One epoch was logged.")
    if log.torn:
        parts.append(f"{counted(log.torn, 'unreadable line')} of the log left out.")
    return " ".join(parts)
