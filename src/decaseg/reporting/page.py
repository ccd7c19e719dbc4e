"""Writes the report: one HTML page that needs no network, no server and no other file."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from decaseg.metrics import bootstrap_ci95
from decaseg.reporting.charts import line_chart, strip_plot
from decaseg.reporting.extras import need
from decaseg.reporting.material import Log, Material, Scores, gather, is_number
from decaseg.reporting.pictures import FEATURED_WIDTH, inline_motion, inline_still, small_width
from decaseg.reporting.words import MAIN_METRICS, duration, metric_words, origin_words, said, tree
from decaseg.storage.files import write_text

TEMPLATES = Path(__file__).parent / "templates"
LEGEND = (("purple", "right"), ("red", "false positive"), ("blue", "missed"), ("amber", "wrong structure"))


def build_report(
    folder: Path,
    run: Path | None = None,
    bundle: Path | None = None,
    out: Path | None = None,
    links: Mapping[str, str] | None = None,
) -> Path:
    """Writes the page for a RUN or an evaluation's folder and gives its path, `folder/report/index.html` or `out`.

    `run` and `bundle` add a RUN's curves and plan and an export's parity; an evaluation that names its RUN, and a
    folder that holds `run/`, `evaluation/` and `bundle/`, need neither. Sections without material are left out.
    `links` are addresses, as seen from the page, of pages that show a case in 3D, by its name.
    Raises ValueError when the folder is none of these or a file in it cannot be trusted.
    """
    jinja2 = need("jinja2")
    material = gather(folder, run, bundle)
    path = out or folder / "report" / "index.html"
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    safe = need("markupsafe").Markup  # for text of our own making: the style, the script, the charts
    page = environment.get_template("report.html.j2").render(
        name=material.name,
        style=safe((TEMPLATES / "report.css").read_text(encoding="utf-8")),
        script=safe((TEMPLATES / "report.js").read_text(encoding="utf-8")),
        headline=_headline(material),
        facts=_facts(material),
        curves=[(title, legend, safe(svg)) for title, legend, svg in _curves(material.log)],
        log_note=_log_note(material.log),
        scores=_scores(material.scores, safe),
        parity=_parity(material.bundle),
        documents=_documents(material),
        links=links or {},
        legend=LEGEND if material.scores and len(material.scores.structures) > 1 else LEGEND[:3],
    )
    write_text(path, page)
    return path


def _headline(material: Material) -> dict[str, Any]:
    """The number a reader came for, its interval, and in words what it is worth."""
    scores = material.scores
    if scores is not None and scores.mean_dice is not None:
        n = len(scores.cases)
        text = f"mean Dice over {n} case{'s' * (n != 1)}"
        ci95 = _mean_interval(scores)
        interval = f"95 % interval {ci95[0]:.3f} to {ci95[1]:.3f}" if ci95 else "one case: no interval"
        return {"number": f"{scores.mean_dice:.3f}", "text": text, "interval": interval,
                "notes": origin_words(material, scores)}  # fmt: skip
    best = _best_validation(material.log)
    if best is None:
        return {"number": None, "text": "No score yet: nothing was validated.", "interval": "", "notes": []}
    value, where = best
    note = "Validation guides the choice of the checkpoint, so this number flatters; decaseg evaluate says more."
    return {"number": f"{value:.3f}", "text": f"best validation Dice, {where}", "interval": "", "notes": [(note, True)]}


def _mean_interval(scores: Scores) -> tuple[float, float] | None:
    """The bootstrap's 95 % interval of the mean over cases of a case's mean Dice; of old metrics.json made here."""
    written = scores.other.get("mean_dice_statistics")
    if isinstance(written, dict) and _is_interval(written.get("ci95")) and len(scores.cases) > 1:
        low, high = written["ci95"]
        return float(low), float(high)
    values = np.array(sorted(mean_dice(rows) for rows in scores.cases.values() if rows))
    if len(values) < 2:
        return None
    lows, highs = bootstrap_ci95(values[:, None])
    return float(lows[0]), float(highs[0])


def _best_validation(log: Log | None) -> tuple[float, str] | None:
    points = [p for p in log.validations if p.values] if log else []
    if not points:
        return None
    best = max(points, key=lambda p: _mean(p.values))
    return _mean(best.values), f"epoch {best.epoch:.0f}" if best.epoch else f"step {best.step:.0f}"


def _mean(values: Mapping[str, float]) -> float:
    return values["mean"] if "mean" in values else sum(values.values()) / len(values)


def mean_dice(rows: Mapping[str, Mapping[str, float]]) -> float:
    """A case's Dice, the mean over its structures; 0 where none has one, so that it sorts as the worst."""
    dice = [row["dice"] for row in rows.values() if "dice" in row]
    return sum(dice) / len(dice) if dice else 0.0


def _facts(material: Material) -> list[tuple[str, str]]:
    facts: list[tuple[str, str]] = []
    splits = material.documents.get("splits", {})
    if isinstance(splits.get("train"), list):
        facts.append((str(len(splits["train"])), "training cases"))
    if isinstance(splits.get("val"), list):
        facts.append((str(len(splits["val"])), "validation cases"))
    log = material.log
    points = (*log.epochs, *log.validations) if log else ()
    if points:
        facts.append((f"{max(p.step for p in points):,.0f}".replace(",", " "), "training steps"))
        facts.append((duration(max(p.elapsed_s for p in points)), "training time"))
    if material.scores:
        engine = material.scores.other.get("engine")
        if isinstance(engine, str):
            facts.append((engine, "engine"))
    return facts


def _curves(log: Log | None) -> list[tuple[str, list[str], str]]:
    """Title, names of the lines and picture of each learning curve that has points."""
    if log is None:
        return []
    x = "step" if all(p.step for p in (*log.epochs, *log.validations)) else "epoch"
    charts: list[tuple[str, dict[str, list[tuple[float, float]]]]] = []
    names = list(dict.fromkeys(name for p in log.validations for name in p.values))
    dice = {n: [(getattr(p, x), p.values[n]) for p in log.validations if n in p.values] for n in names}
    charts.append(("Validation Dice", dice))
    for key, title in (("train_loss", "Training loss"), ("lr", "Learning rate")):
        charts.append((title, {title: [(getattr(p, x), p.values[key]) for p in log.epochs if key in p.values]}))
    drawn = [(title, lines, line_chart(title, lines, x, unit=lines is dice)) for title, lines in charts]
    return [(title, list(lines) if len(lines) > 1 else [], svg) for title, lines, svg in drawn if svg]


def _log_note(log: Log | None) -> str:
    if log is None:
        return ""
    parts = []
    if not log.ending:
        parts.append("The log has no end: training runs on, or was interrupted.")
    elif isinstance(log.ending.get("reason"), str):
        parts.append(f"Ended: {log.ending['reason']}.")
    if log.torn:
        parts.append(f"{log.torn} unreadable line{'s' * (log.torn != 1)} of the log left out.")
    return " ".join(parts)


def _scores(scores: Scores | None, safe: Any) -> dict[str, Any] | None:
    if scores is None:
        return None
    metrics = list(dict.fromkeys(m for rows in scores.cases.values() for row in rows.values() for m in row))
    ranked = sorted(scores.cases, key=lambda case: (mean_dice(scores.cases[case]), case))
    structures = list(scores.structures)
    main = [m for m in MAIN_METRICS if any(m in s for s in scores.structures.values())]
    means = {case: mean_dice(rows) for case, rows in scores.cases.items()}
    featured = _featured(scores, ranked)
    width = small_width(len(scores.pictures))
    gallery = [(c, f"{means[c]:.3f}", inline_still(scores.pictures[c], width))
               for c in ranked if c in scores.pictures and c not in {f["case"] for f in featured}]  # fmt: skip
    return {
        "columns": [metric_words(m) for m in main],
        "rows": [(name, [_statistic(m, scores.structures[name].get(m)) for m in main]) for name in structures],
        "all_statistics": _all_statistics(scores),
        "groups": _groups(scores),
        "strips": [(name, safe(svg)) for name, svg in _strips(scores)],
        "featured": featured,
        "gallery": gallery,
        "cases": [(case, f"{means[case]:.3f}", [_dice(scores, case, s) for s in structures]) for case in ranked],
        "structures": structures,
        "metrics": [(m, metric_words(m)) for m in metrics],
        "data": {"structures": structures, "cases": {case: scores.cases[case] for case in ranked}},
    }


def _dice(scores: Scores, case: str, structure: str) -> str:
    return said("dice", scores.cases[case].get(structure, {}).get("dice"))


def _statistic(metric: str, statistic: Mapping[str, Any] | None) -> tuple[str, str]:
    """The mean and the interval, as text."""
    if statistic is None or not is_number(statistic.get("mean")):
        return "not given", ""
    ci95 = statistic.get("ci95")
    if not _is_interval(ci95):
        return said(metric, statistic["mean"]), ""
    return said(metric, statistic["mean"]), f"{said(metric, ci95[0]).split(' ')[0]} to {said(metric, ci95[1])}"


def _is_interval(value: Any) -> TypeGuard[Sequence[float]]:
    return isinstance(value, list | tuple) and len(value) == 2 and all(is_number(v) for v in value)


def _all_statistics(scores: Scores) -> list[tuple[str, str, list[str]]]:
    """Structure, metric, and mean, interval, median, middle half, deviation and n as text."""
    rows = []
    for name, metrics in scores.structures.items():
        for metric, statistic in metrics.items():
            mean, interval = _statistic(metric, statistic)
            median, std = (said(metric, v) if is_number(v) else "" for v in map(statistic.get, ("median", "std")))
            ends = statistic.get("quartiles")
            half = f"{said(metric, ends[0]).split(' ')[0]} to {said(metric, ends[1])}" if _is_interval(ends) else ""
            cells = [mean, interval, median, half, std, str(statistic.get("n", ""))]
            rows.append((name, metric_words(metric), cells))
    return rows


def _groups(scores: Scores) -> dict[str, Any] | None:
    """The column's name and a row a group: name, n, and Dice of all and of each structure."""
    note = scores.other.get("groups")
    groups = note.get("groups") if isinstance(note, Mapping) else None
    if not isinstance(note, Mapping) or not isinstance(groups, Mapping):
        return None
    rows = []
    for name, part in groups.items():
        structures = part.get("structures") if isinstance(part, Mapping) else None
        if isinstance(structures, Mapping):
            found = [part.get("mean_dice_statistics")]
            found += [s.get("dice") if isinstance(s, Mapping) else None for s in map(structures.get, scores.structures)]
            cells = [_statistic("dice", statistic if isinstance(statistic, Mapping) else None) for statistic in found]
            rows.append((str(name), str(part.get("n", "")), cells))
    return {"column": str(note.get("column", "group")), "rows": rows} if rows else None


def _strips(scores: Scores) -> list[tuple[str, str]]:
    dice = {
        name: {case: rows[name]["dice"] for case, rows in scores.cases.items() if "dice" in rows.get(name, {})}
        for name in scores.structures
    }
    lowest = min((v for values in dice.values() for v in values.values()), default=1.0)
    low = max(0.0, min(0.8, np.floor(lowest * 10) / 10))
    drawn = []
    for name, values in dice.items():
        statistic = scores.structures[name].get("dice", {})
        ci95 = statistic.get("ci95")
        mean = statistic.get("mean")
        if values:
            drawn.append((name, strip_plot(f"Dice of {name}", values, mean if is_number(mean) else None,
                                           ci95 if _is_interval(ci95) else None, float(low))))  # fmt: skip
    return drawn


def _featured(scores: Scores, ranked: Sequence[str]) -> list[dict[str, Any]]:
    """The worst, the median and the best case that have pictures, each once."""
    shown = [case for case in ranked if case in scores.pictures]
    places = {"Worst": 0, "Median": len(shown) // 2, "Best": len(shown) - 1}
    found: list[dict[str, Any]] = []
    for title, place in places.items():
        if not shown or any(entry["case"] == shown[place] for entry in found):
            continue
        case = shown[place]
        rows = scores.cases[case]
        motion = inline_motion(scores.animations[case]) if case in scores.animations else None
        found.append({
            "title": title,
            "case": case,
            "mean": f"{mean_dice(rows):.3f}",
            "parts": [(name, said("dice", row.get("dice"))) for name, row in rows.items()],
            "still": inline_still(scores.pictures[case], FEATURED_WIDTH),
            "motion": motion,
            "command": _view_command(scores, case),
        })  # fmt: skip
    return found


def _view_command(scores: Scores, case: str) -> str:
    """What opens a case in the viewer, from the folder that holds the evaluation's; empty where it has no images."""
    if not (scores.folder / "predictions").is_dir():
        return ""
    return f"decaseg view {shlex.quote(scores.folder.resolve().name)} --case {shlex.quote(case)}"


def _parity(bundle: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The export's record: Dice before and after, the drop, and whatever else it notes."""
    parity = bundle.get("parity") if bundle else None
    if not isinstance(parity, Mapping):
        return None
    source, export = (parity.get(key) for key in ("mean_dice_source", "mean_dice_export"))
    rows = [("Cases compared", tree(parity.get("cases")))]
    if is_number(source) and is_number(export):
        rows += [("Mean Dice before export", f"{source:.4f}"), ("Mean Dice after export", f"{export:.4f}")]
        rows.append(("Change", f"{export - source:+.4f}"))
    drop = parity.get("max_dice_drop")
    if is_number(drop):
        rows.append(("Largest drop", f"{drop:.4f}"))
    known = ("cases", "mean_dice_source", "mean_dice_export", "max_dice_drop")
    rest = {key.replace("_", " "): value for key, value in parity.items() if key not in known}
    return {"rows": rows, "rest": tree(rest) if rest else []}


def _documents(material: Material) -> list[tuple[str, Any]]:
    titles = {"plan": "Plan", "recipe": "Recipe", "splits": "Splits", "provenance": "Provenance of the run",
              "postprocessing": "How the post-processing was chosen"}  # fmt: skip
    found = [(title, tree(material.documents[key])) for key, title in titles.items() if key in material.documents]
    if material.scores and material.scores.other:
        found.append(
            ("The evaluation's own notes", tree({k: v for k, v in material.scores.other.items() if k != "groups"}))
        )
    if material.bundle:
        found.append(("Bundle", tree({k: v for k, v in material.bundle.items() if k != "parity"})))
    return found
