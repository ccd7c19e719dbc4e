"""Writes the report: one HTML page that needs no network, no server and no other file."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decaseg.reporting.comparison import conclusion
from decaseg.reporting.extras import need
from decaseg.reporting.material import Beside, Material, Scores, gather, is_number
from decaseg.reporting.sections import calibration, comparison, export, failures, gallery, training, volumes
from decaseg.reporting.sections.distributions import Row, distribution_chart
from decaseg.reporting.sections.headline import facts, headline, mean_dice
from decaseg.reporting.sections.statistics import (
    all_statistics,
    groups_table,
    interval_of,
    metrics_of,
    structures_table,
)  # fmt: skip
from decaseg.reporting.words import metric_words, said, signed, tree
from decaseg.storage.files import write_text

TEMPLATES = Path(__file__).parent / "templates"
SHOWN_ELSEWHERE = ("groups", "mean_dice_statistics", "calibration")
FOR_PROGRAMS = ("predictions_sha256",)  # a line of it a case tells a reader nothing
SPREADS = ("dice", "hd95_mm")  # the metrics whose spread over cases is drawn
VOLUMES = ("volume_ml", "volume_truth_ml")
TITLES = (  # by the names under which the template has them
    ("comparison", "Compared"),
    ("structures", "Structures"),
    ("groups", "Groups"),
    ("spreads", "Case by case"),
    ("featured", "Worst, median, best"),
    ("failures", "What went wrong"),
    ("volumes", "Volumes"),
    ("calibration", "Calibration"),
    ("cases", "All cases"),
    ("training", "Training"),
    ("export", "Export"),
    ("speed", "Speed"),
    ("documents", "How it was made"),
)
Safe = Callable[[str], Any]  # marks text of our own making: the style, the script, the charts


def build_report(
    folder: Path, beside: Beside = Beside(), out: Path | None = None, links: Mapping[str, str] | None = None
) -> Path:
    """Writes the page for a RUN or an evaluation's folder and gives its path, `folder/report/index.html` or `out`.

    `beside` adds a RUN's curves and plan, an export's parity, a benchmark, another evaluation to compare with; an
    evaluation that names its RUN, and a folder that holds `run/`, `evaluation/` and `bundle/`, need none of the first.
    Sections without material are left out. `links` are addresses, as seen from the page, of pages that show a case in
    3D, by its name. Raises ValueError when the folder is none of these or a file in it cannot
    be trusted; the page that was there before then stays as it was.
    """
    jinja2 = need("jinja2")
    material = gather(folder, beside)
    path = out or folder / "report" / "index.html"
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"signed": signed, "metric_words": metric_words}
    safe: Safe = need("markupsafe").Markup
    style, script = ((TEMPLATES / name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    parts = _parts(material, safe)
    page = environment.get_template("report.html.j2").render(
        name=material.name,
        other_name=material.other_name,
        style=safe(style),
        style_hash=_hash(style),
        script=safe(script),
        script_hash=_hash(script),
        headline=headline(material),
        facts=facts(material),
        contents=[(key, title) for key, title in TITLES if parts[key]],
        links=links or {},
        **parts,
    )
    # A file's name may hold bytes that are no text; they are shown as question marks.
    write_text(path, page.encode("utf-8", "replace").decode("utf-8"))
    return path


def _hash(text: str) -> str:
    """What the page's Content-Security-Policy knows its own script and style by; no other may run."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode()


def _parts(material: Material, safe: Safe) -> dict[str, Any]:
    """The template's sections by name; None or empty where there is no material for one."""
    scores = material.scores
    compared = None
    if scores and material.other:
        same = material.other_name == material.name
        names = (f"{material.name} (1)", f"{material.name} (2)") if same else (material.name, material.other_name)
        compared = comparison.compared(scores, material.other, names)
    speed = export.speed_of(material.benchmark)
    ranked = sorted(scores.cases, key=lambda case: (mean_dice(scores.cases[case]), case)) if scores else []
    large = gallery.featured(scores, ranked) if scores else []
    notes = failures.failure_notes(scores.cases, list(scores.structures)) if scores else []
    return {
        "comparison": compared and _comparison(compared, material, safe),
        "structures": scores and scores.structures and structures_table(scores),
        "all_statistics": all_statistics(scores) if scores else [],
        "groups": groups_table(scores) if scores else None,
        "spreads": [(m, safe(svg)) for m in SPREADS if scores and (svg := distribution_chart(m, _spread(scores, m)))],
        "featured": large,
        "failures": notes,
        "volumes": _volumes(scores, safe) if scores else [],
        "calibration": _calibration(scores, safe) if scores else None,
        "cases": scores and scores.cases and _cases(scores, ranked, notes, compared, [s.case for s in large]),
        "training": _training(material, safe),
        "export": export.parity_of(material.bundle),
        "speed": speed and (speed, safe(speed.svg)),
        "documents": _documents(material),
    }


@dataclass(frozen=True)
class _Cases:
    """The table of all cases: rows of case, mean, a Dice a structure, change and marks; and what its script reads."""

    structures: tuple[str, ...]
    rows: tuple[tuple[str, str, tuple[str, ...], str, tuple[str, ...]], ...]
    compared: bool
    metrics: tuple[tuple[str, str], ...]
    others: tuple[gallery.Shown, ...]
    data: Mapping[str, Any]


def _cases(
    scores: Scores,
    ranked: Sequence[str],
    notes: Sequence[failures.Note],
    compared: comparison.Compared | None,
    large: Sequence[str],
) -> _Cases:
    structures, marks, change = tuple(scores.structures), failures.marks_of(notes), comparison.change_of(compared)
    rows = []
    for case in ranked:
        dice = tuple(said("dice", scores.cases[case].get(s, {}).get("dice")) for s in structures)
        words = signed(change[case].difference) if case in change else ""
        rows.append((case, f"{mean_dice(scores.cases[case]):.3f}", dice, words, tuple(marks.get(case, ()))))
    data = {
        "structures": structures,
        "cases": {case: scores.cases[case] for case in ranked},
        "marks": marks,
        "changes": {case: c.difference for case, c in change.items()},
    }
    metrics = tuple((m, metric_words(m)) for m in metrics_of(scores))
    small = tuple(gallery.others(scores, ranked, large))
    return _Cases(structures, tuple(rows), compared is not None, metrics, small, data)


def _spread(scores: Scores, metric: str) -> list[Row]:
    rows = []
    for name, statistics in scores.structures.items():
        found = {case: r[name][metric] for case, r in scores.cases.items() if metric in r.get(name, {})}
        statistic = statistics.get(metric, {})
        mean = statistic.get("mean")
        empty = {c for c, r in scores.cases.items() if 0 in (r.get(name, {}).get(m, 1) for m in VOLUMES)}
        by_rule = frozenset(empty & found.keys() if metric.endswith("_mm") else ())
        rows.append(Row(name, found, mean if is_number(mean) else None, interval_of(statistic.get("ci95")), by_rule))
    return rows


def _volumes(scores: Scores, safe: Safe) -> list[Any]:
    """A chart a structure whose volumes, predicted and true, are known of three cases or more."""
    found = {name: volumes.agreement(scores.cases, name) for name in scores.structures}
    return [
        (name, safe(volumes.agreement_chart(name, one, 1 + place % 7)))
        for place, (name, one) in enumerate(found.items())
        if one
    ]


def _calibration(scores: Scores, safe: Safe) -> dict[str, Any]:
    """A diagram a structure, or what is missing for one."""
    charts = []
    for place, name in enumerate(scores.structures):
        if found := calibration.calibrated(scores.calibration, name):
            svg = safe(calibration.calibration_chart(name, found, 1 + place % 7))
            charts.append((name, svg, calibration.calibration_words(found)))
    if charts:
        return {"charts": charts, "missing": ""}
    missing = (
        "Not known: this evaluation kept no probabilities. decaseg evaluate counts them; scored label maps have none."
    )
    return {"charts": [], "missing": missing}


def _comparison(found: comparison.Compared, material: Material, safe: Safe) -> dict[str, Any]:
    assert material.scores is not None
    assert material.other is not None
    document = found.comparison.to_json()
    rows = []
    for structure, metrics in found.comparison.structures.items():
        for metric, d in metrics.items():
            if d.better:
                rows.append((structure, metric_words(metric), _difference(metric, d)))
    return {
        "found": found,
        "mean": found.comparison.mean_dice,
        "verdict": comparison.verdict(found),
        "test": conclusion(document | {"first": found.here, "second": found.there}),
        "scatter": safe(comparison.scatter_chart(found)),
        "changes": safe(comparison.changes_chart(found)),
        "rows": rows,
        "pictures": gallery.changed(found, material.scores, material.other),
    }


def _difference(metric: str, d: Any) -> list[str]:
    p = f"{d.p_holm:.3f}" if d.p_holm >= 0.001 else "<0.001"
    says = {"first": "better here", "second": "worse here", "few": "too few differ", "equal": "equal"}
    return [
        said(metric, d.mean_first),
        said(metric, d.mean_second),
        signed(d.mean),
        f"{signed(d.ci95[0])} to {signed(d.ci95[1])}",
        p,
        says.get(d.says, "not shown"),
    ]


def _training(material: Material, safe: Safe) -> dict[str, Any] | None:
    found, note = training.curves(material.log), training.log_note(material.log)
    if not found and not note:
        return None
    return {"curves": [(c.title, c.names, safe(c.svg)) for c in found], "note": note}


def _documents(material: Material) -> list[tuple[str, Any]]:
    titles = {"plan": "Plan", "recipe": "Recipe", "splits": "Splits", "provenance": "Provenance of the run",
              "postprocessing": "How the post-processing was chosen"}  # fmt: skip
    found = [(title, tree(material.documents[key])) for key, title in titles.items() if key in material.documents]
    if material.scores and material.scores.other:
        own = {k: v for k, v in material.scores.other.items() if k not in SHOWN_ELSEWHERE + FOR_PROGRAMS}
        found.append(("The evaluation's own notes", tree(own)))
    if material.bundle:
        found.append(("Bundle", tree({k: v for k, v in material.bundle.items() if k != "parity"})))
    return found
