"""MODEL_CARD.md: what a bundle is for, how it was judged, and what it must not be used for.

The sections are those of Mitchell et al. 2019, "Model Cards for Model Reporting". Every number is bundle.json's; what
it does not hold is said to be missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MISSING = "not recorded"


def model_card(document: Mapping[str, Any]) -> str:
    """The card of a bundle.json document, in Markdown."""
    plan = document["plan"]
    structures = ", ".join(s["name"] for s in plan["target"]["structures"])
    parts = [
        [f"# {plan['dataset']}: {structures}", "",
         "A 3D U-Net for research. **Not a medical device: do not use it for diagnosis or treatment.**"],
        _details(document),
        _intended_use(document, structures),
        _factors(document),
        _evaluation(document),
        _training(document),
        _parity(document),
        _limits(document),
        _verify(document),
    ]  # fmt: skip
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def _details(document: Mapping[str, Any]) -> list[str]:
    plan, how = document["plan"], document["preprocessing"]
    made = document["provenance"]
    network, members = plan["network"], plan["network"].get("members", 1)
    rows = {
        "Input": f"NIfTI with {how['file_channels']} channel(s); used: {', '.join(how['channels'])}",
        "Output": f"label map on the image's own grid: {_labels(plan)}",
        "Works at": f"{_by([f'{s:g}' for s in how['spacing_mm']])} mm, windows of {_by(plan['patch'])} voxels",
        "Network": f"3D U-Net, {network['norm']} norm, filters {', '.join(map(str, network['filters']))}"
        + (f", {members} networks averaged" if members > 1 else ""),
        "Format": f"{document['model_format']}, weights {document['precision']}, computes in "
        f"{document['compute_precision']}",
        "Label maps are cleaned": _cleaned(document.get("postprocessing")),
        "Made by": f"decaseg {made['versions']['decaseg']}, {made['created']}",
        "Licence of the weights": document.get("licence")
        or f"{MISSING}: ask whoever gave them to you (`export --licence` states it)",
    }
    return ["## Model details", "", *_table(rows)]


def _intended_use(document: Mapping[str, Any], structures: str) -> list[str]:
    channels = ", ".join(document["preprocessing"]["channels"])
    return [
        "## Intended use",
        "",
        f"Research on outlining {structures} in {channels} images like those it was trained on, by people who look at "
        "each result.",
        "",
        "Out of scope: diagnosis, treatment, triage or any decision about a patient; images of other body parts, "
        "channels or orders of channels; measurements that nobody checks. No authority has cleared it.",
    ]


def _factors(document: Mapping[str, Any]) -> list[str]:
    return [
        "## Factors",
        "",
        "Scanner, protocol, contrast agent, age, disease and its stage, earlier surgery, artefacts: all of them can "
        "change the result. bundle.json records none of them for the training cases, so **no group was looked at "
        "alone** here; `decaseg evaluate --groups` does that on your own cases.",
    ]


def _evaluation(document: Mapping[str, Any]) -> list[str]:
    """Metrics, evaluation data and quantitative analyses: of an evaluation, else of the gate's cases."""
    lines = ["## Evaluation", ""]
    found, parity = document.get("evaluation"), document.get("parity") or {}
    if found:
        engine = f"{found['engine'] or 'unknown engine'} {found['precision'] or ''}".strip()
        whose = {"val": "validation cases", "all": "all cases of a data set"}.get(str(found["cases_scored"]), "cases")
        lines += [f"{found['cases']} {whose}, whole volumes, predicted by {engine}."]
        if found["trained_on"]:
            lines += ["", f"**{found['trained_on']} of them were trained on: for those the scores are memory.**"]
    elif parity.get("structures"):
        found = parity
        lines += [f"The {parity['cases']} cases of the parity gate, whole volumes, predicted by {parity['export']}."]
    else:
        return [*lines, f"**Scores: {MISSING}.** Export with `--data` or `--evaluation`."]
    lines += [
        "",
        "Mean over cases with its 95 % interval (bootstrap over cases; it does not speak of training anew).",
        "",
        "| structure | metric | mean | 95 % interval | median | n |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for structure, metrics in found["structures"].items():
        for metric in ("dice", "hd95_mm", "nsd"):
            lines.append(_score(structure, metric, metrics.get(metric)))
    lines += ["", f"NSD forgives {_tolerance(found)}.", ""]
    lines.append(f"About these scores: {document.get('selection') or f'how cases were chosen is {MISSING}'}.")
    seconds = parity.get("seconds_a_case")
    machine = document["provenance"]["machine"].get("processor") or "an unknown processor"
    speed = f"{seconds:.3g} s a case (median, during the gate, on {machine})" if seconds else MISSING
    return [*lines, "", f"Speed: {speed}; `decaseg benchmark` measures yours."]


def _score(structure: str, metric: str, value: Mapping[str, Any] | None) -> str:
    if not value:
        return f"| {structure} | {metric} | {MISSING} | | | |"
    low, high = value["ci95"]
    median = f"{value['median']:.4g}" if "median" in value else ""
    return f"| {structure} | {metric} | {value['mean']:.4g} | {low:.4g} to {high:.4g} | {median} | {value['n']} |"


def _tolerance(found: Mapping[str, Any]) -> str:
    tolerances = found.get("nsd_tolerance_mm")
    if not tolerances:
        return (
            "what `decaseg evaluate` does without --tolerance"
            if "export" in found
            else f"a tolerance that is {MISSING}"
        )
    values = {f"{value:g} mm" for value in tolerances.values()}
    if len(values) == 1:
        return values.pop()
    return ", ".join(f"{value:g} mm for {name}" for name, value in tolerances.items())


def _training(document: Mapping[str, Any]) -> list[str]:
    plan, training, data = document["plan"], document.get("training") or {}, document.get("training_data") or {}
    recipe, machine = training.get("recipe") or {}, training.get("machine") or {}
    if training.get("imported"):
        how = "taken over from another program's file"
    elif training.get("started_from_other_weights"):
        how = "fine-tuned from other weights, whose data are not counted here"
    else:
        how = "trained from random weights"
    rows = {
        "Data": f"{plan['dataset']}, {_or(document.get('training_cases'))} cases",
        "Fingerprint of the data (SHA-256)": f"`{plan['data_sha256']}`" if plan["data_sha256"] else MISSING,
        "Licence of the data": _or(data.get("licence")),
        "Reference": _or(data.get("reference")),
        "Release": _or(data.get("release")),
        "How": f"{how}; recipe {_or(recipe.get('name'))}, loss {_or(recipe.get('loss'))}",
        "Time": f"{_or(training.get('minutes'))} minutes, {_or(training.get('steps'))} steps",
        "Seed": _or(recipe.get("seed")),
        "Precision": _or(training.get("precision")),
        "Machine": f"{_or(machine.get('processor'))}, {_or(machine.get('memory_gib'))} GiB",
        "Date": _or(training.get("created")),
    }
    return ["## Training", "", *_table(rows)]


def _parity(document: Mapping[str, Any]) -> list[str]:
    parity = document.get("parity")
    lines = ["## Does the export predict what the trained model predicts?", ""]
    if not parity:
        return [*lines, "**Unknown**: it was exported without `--data`."]
    verdict = "Yes" if parity["passed"] else "**No: this bundle failed its gate**"
    if "cases" not in parity:
        return [*lines, f"{verdict}: {parity['reason']}."]
    rows = {
        "Cases compared (full volumes)": str(parity["cases"]),
        f"Mean Dice of the trained model ({parity['source']})": f"{parity['mean_dice_source']:.4f}",
        f"Mean Dice of this export ({parity['export']})": f"{parity['mean_dice_export']:.4f}",
        "Largest drop of one case": f"{parity['max_dice_drop']:.4f}",
        "Foreground voxels that differ": f"{parity['disagreement']:.4%}",
    }
    quantised = document.get("quantisation")
    return [*lines, f"{verdict}: {parity['reason']}.", "", *_table(rows), *(_quantised(quantised) if quantised else [])]


def _quantised(done: Mapping[str, Any]) -> list[str]:
    """What became INT8, by which cases, and whether the cases it was judged on also chose it."""
    calibration, rounds = done["calibration"], len(done["rounds"])
    said = (
        f"Quantisation: {done['int8_layers']} of {done['layers']} layers in INT8, calibrated on "
        f"{calibration['windows']} windows of {len(calibration['cases_sha256'])} training cases "
        f"({calibration['with_foreground']} windows hold foreground)."
    )
    if rounds > 1:
        said += (
            f" It was round {rounds} of the search for layers that must stay in floating point, judged by "
            f"{len(done['judged_sha256'])} {done['judged_on']}; the drop measured on those is optimistic."
        )
    return ["", said]


def _limits(document: Mapping[str, Any]) -> list[str]:
    found = document.get("evaluation") or document.get("parity") or {}
    lines = [
        "## Limits and known failures",
        "",
        "- Scanners, protocols and populations other than the training data's may fail silently.",
        "- It outlines what it was taught even where there is nothing to outline, and never says that it is lost.",
        "- Training data may hold their readers' habits and errors; the model learns those too.",
    ]
    for structure, metrics in (found.get("structures") or {}).items():
        failed, n = metrics.get("failures"), (metrics.get("dice") or {}).get("n")
        if failed:
            lines.append(
                f"- {structure}: lowest Dice of a case {failed['lowest_dice']:.4g}; no overlap at all in "
                f"{failed['without_overlap']} of {n} cases."
            )
    if not found.get("structures"):
        lines.append(f"- Its worst cases: {MISSING}.")
    return [
        *lines,
        "",
        "## Ethical considerations",
        "",
        "Cases are kept as hashes only, so that patients' names do not travel with the model. Whether the people in "
        "the training data agreed to this use is for whoever holds the data to say. Weights can hold traces of single "
        "cases: hand them on under the terms of the data.",
        "",
        "## Recommendations",
        "",
        "Evaluate it on your own cases before use (`decaseg evaluate`), by scanner and group, and look at the worst.",
    ]


def _verify(document: Mapping[str, Any]) -> list[str]:
    sums = document.get("sha256") or {}
    lines = ["## Is it the model this card is about?", ""]
    if not sums:
        return [*lines, f"Checksums: {MISSING}."]
    listed = [f"{value}  {name}" for name, value in sums.items()]
    return [*lines, "In the bundle's folder, `sha256sum -c` with these lines on its input:", "", "```", *listed, "```"]


def _table(rows: Mapping[str, str]) -> list[str]:
    return ["| | |", "| --- | --- |", *(f"| {name} | {_cell(value)} |" for name, value in rows.items())]


def _cell(value: str) -> str:
    return " ".join(value.replace("|", "\\|").split())


def _or(value: Any) -> str:
    return MISSING if value is None or value == "" else str(value)


def _by(values: Sequence[Any]) -> str:
    return " x ".join(map(str, values))


def _labels(plan: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{v} = {s['name']}" for v, s in zip(plan["target"]["paint"], plan["target"]["structures"], strict=True)
    )


def _cleaned(post: Mapping[str, Any] | None) -> str:
    if not post:
        return "no"
    done = {name: ", ".join(f"{k} {v}" for k, v in c.items() if v) for name, c in post["structures"].items()}
    said = "; ".join(f"{name}: {words}" for name, words in done.items() if words)
    return f"{said}, as {post['cases']} validation cases chose" if said else "no"
