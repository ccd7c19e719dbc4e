"""Says numbers and documents in words: metrics by their names, durations, nested settings as rows."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from decaseg.reporting.material import Material, Scores

Tree = str | list[tuple[str, Any]]  # text, or (name, Tree) rows

METRIC_WORDS: Mapping[str, str] = {
    "dice": "Dice",
    "hd95_mm": "95 % Hausdorff",
    "nsd": "Surface Dice",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "precision": "Precision",
    "volume_ml": "Predicted volume",
    "iou": "Jaccard index",
    "assd_mm": "Mean surface distance",
    "volume_truth_ml": "True volume",
    "volume_error_ml": "Volume error",
    "lesion_dice": "Dice lesion by lesion",
    "lesion_hd95_mm": "95 % Hausdorff lesion by lesion",
    "lesions_found": "Lesions found",
    "lesions_missed": "Lesions missed",
    "lesions_false": "Lesions made up",
}
MAIN_METRICS = ("dice", "hd95_mm", "nsd", "sensitivity", "specificity", "precision")
CHOICES = {"val": "the run's validation cases", "all": "every case of the data set"}
RANGES = ("ci95", "quartiles")
DEEPEST, MOST_ENTRIES = 8, 1000


def metric_words(metric: str) -> str:
    return METRIC_WORDS.get(metric, metric.replace("_", " "))


def said(metric: str, value: float | None) -> str:
    """A metric's value with its unit, as many digits as mean something.

    >>> said("dice", 0.87654), said("hd95_mm", 4.06), said("nsd", None)
    ('0.877', '4.06 mm', 'not given')
    """
    if value is None:
        return "not given"
    for unit in ("mm", "ml"):
        if metric.endswith(f"_{unit}"):
            return f"{value:.1f} {unit}" if abs(value) >= 10 else f"{value:.2f} {unit}"
    return f"{value:.3f}"


def with_unit(metric: str) -> str:
    """
    >>> with_unit("hd95_mm"), with_unit("dice")
    ('95 % Hausdorff, mm', 'Dice')
    """
    unit = next((u for u in ("mm", "ml") if metric.endswith(f"_{u}")), "")
    return metric_words(metric) + (f", {unit}" if unit else "")


def signed(value: float, digits: int = 3) -> str:
    """A difference with its sign, in `digits` figures that mean something.

    >>> signed(0.0412), signed(-12.345), signed(0.0)
    ('+0.0412', '−12.3', '0')
    """
    words = f"{abs(value):.{digits}g}" if abs(value) < 1000 else f"{abs(value):.0f}"
    return words if not float(words) else ("+" if value > 0 else "−") + words


def percent(share: float) -> str:
    """
    >>> percent(0.1234), percent(0.012), percent(0.0)
    ('12 %', '1.2 %', '0 %')
    """
    return f"{share * 100:.2g} %" if share < 0.1 else f"{share * 100:.0f} %"


def shortened(words: str, most: int) -> str:
    """
    >>> shortened("left hippocampus", 8)
    'left hi…'
    """
    return words if len(words) <= most else words[: most - 1] + "…"


def listed(words: Sequence[str], most: int = 6) -> str:
    """
    >>> listed(["a", "b", "c"]), listed(list("abcdefgh"), 3)
    ('a, b and c', 'a, b, c and 5 more')
    """
    if len(words) > most:
        return f"{', '.join(words[:most])} and {len(words) - most} more"
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def counted(n: int, what: str) -> str:
    """
    >>> counted(1, "case"), counted(3, "case")
    ('1 case', '3 cases')
    """
    return f"{n} {what}{'s' * (n != 1)}"


def tree(value: Any, depth: int = 0) -> Tree:
    """A JSON document as rows of (name, text or rows), long lists cut with the number left out said."""
    if depth >= DEEPEST:
        return "…"
    if isinstance(value, Mapping):
        rows = [(str(key), _entry(str(key), child, depth)) for key, child in list(value.items())[:MOST_ENTRIES]]
        if len(value) > MOST_ENTRIES:
            rows.append(("…", f"and {len(value) - MOST_ENTRIES} more"))
        return rows or "none"
    if isinstance(value, list | tuple):
        return _list(value, depth)
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _entry(key: str, value: Any, depth: int) -> Tree:
    """What a key says of its value: ends of a range, words of a command."""
    if key in RANGES and isinstance(value, list) and len(value) == 2:
        return " to ".join(str(tree(v)) for v in value)
    if key == "command" and isinstance(value, list):
        return shlex.join(map(str, value))
    return tree(value, depth + 1)


def _list(values: Sequence[Any], depth: int) -> Tree:
    if any(isinstance(v, Mapping) for v in values):
        return tree({str(i): v for i, v in enumerate(values, 1)}, depth)
    if any(isinstance(v, list | tuple) for v in values):
        parts = [str(tree(v, depth + 1)) for v in values[:MOST_ENTRIES]]
        text = "; ".join(parts)
    else:
        numeric = 2 <= len(values) <= 3 and all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
        text = (" × " if numeric else ", ").join(str(tree(v, depth + 1)) for v in values[:MOST_ENTRIES])
    more = len(values) - MOST_ENTRIES
    return (text + (f" … and {more} more" if more > 0 else "")) or "none"


def origin_words(material: Material, scores: Scores) -> list[tuple[str, bool]]:
    """Which cases were scored and whether they chose the checkpoint: sentences, and whether each is a warning."""
    said_words: list[tuple[str, bool]] = []
    splits = material.documents.get("splits", {})
    lists = (splits.get("train"), splits.get("val"))
    train, val = ({str(case) for case in cases} if isinstance(cases, list) else set() for cases in lists)
    cases = set(scores.cases)
    trained, validated = len(cases & train), len(cases & val)
    if trained:
        text = f"{trained} of the {len(cases)} cases were trained on: for those this is memory, not skill."
        said_words.append((text, True))
    elif validated:
        said_words.append((f"{_of(validated, len(cases))} the run's validation cases; none was trained on.", False))
    elif train or val:
        said_words.append(("None of the cases was trained on or used for validation.", False))
    scored = scores.other.get("cases_scored")
    if isinstance(scored, str) and scored and not (scored == "val" and validated):
        said_words.append((f"Cases scored: {CHOICES.get(scored, scored)}.", False))
    selection = scores.other.get("selection")
    if isinstance(selection, str) and selection.strip():
        text = selection.strip()
        said_words.append((text if text[-1] in ".!?" else text + ".", False))
    elif not trained:
        text = "The evaluation does not say which cases chose the checkpoint; on cases that did, a score is flattered."
        said_words.append((text, True))
    return said_words


def _of(part: int, whole: int) -> str:
    if part == whole:
        return "This is one of" if whole == 1 else f"All {whole} cases are among"
    return f"{part} of the {whole} cases {'is' if part == 1 else 'are'} among"
