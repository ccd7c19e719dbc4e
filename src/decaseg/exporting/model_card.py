"""MODEL_CARD.md: what a bundle is for, how it was judged, and what it must not be used for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def model_card(document: Mapping[str, Any]) -> str:
    """The card of a bundle.json document, in Markdown."""
    plan, parity, how = document["plan"], document.get("parity"), document["plan"]["preprocessing"]
    structures = ", ".join(s["name"] for s in plan["target"]["structures"])
    spacing, window = " x ".join(f"{s:g}" for s in how["spacing_mm"]), " x ".join(map(str, plan["patch"]))
    stored, computed = document["precision"], document["compute_precision"]
    versions = document["provenance"]["versions"]
    lines = [
        f"# {plan['dataset']}: {structures}",
        "",
        "A 3D U-Net for research. **Not a medical device: do not use it for diagnosis or treatment.**",
        "",
        "| | |",
        "| --- | --- |",
        f"| Input | NIfTI with {how['file_channels']} channel(s); used: {', '.join(how['channels'])} |",
        f"| Output | label map on the image's own grid: {_labels(plan)} |",
        f"| Spacing | {spacing} mm, window {window} voxels |",
        f"| Format | {document['model_format']}, weights {stored}, computes in {computed} |",
        f"| Label maps are cleaned | {_cleaned(document.get('postprocessing'))} |",
        f"| Training data | {plan['dataset']}, {document['training_cases']} cases, "
        f"SHA-256 {plan['data_sha256'][:16]}… |",
        f"| Made by | decaseg {versions['decaseg']}, {document['provenance']['created']} |",
        "",
        "## Does the export predict what the trained model predicts?",
        "",
    ]
    if parity:
        lines += [
            f"{'Yes' if parity['passed'] else '**No: this bundle failed its gate**'}: {parity['reason']}.",
            "",
            "| | |",
            "| --- | --- |",
            f"| Cases compared (full volumes) | {parity['cases']} |",
            f"| Mean Dice of the trained model | {parity['mean_dice_source']:.4f} |",
            f"| Mean Dice of this export | {parity['mean_dice_export']:.4f} |",
            f"| Foreground voxels that differ | {parity['disagreement']:.4%} |",
        ]
    else:
        lines.append("**Unknown**: it was exported without `--data`.")
    if quantised := document.get("quantisation"):
        lines += ["", _quantised(quantised)]
    lines += ["", f"About these scores: {document.get('selection') or 'nothing is recorded'}.", ""]
    lines += [
        "## Limits",
        "",
        "Scanners, protocols and populations other than the training data's may fail silently.",
        "",
    ]
    return "\n".join(lines)


def _quantised(done: Mapping[str, Any]) -> str:
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
    return said


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
