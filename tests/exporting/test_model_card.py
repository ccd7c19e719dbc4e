"""The card says what bundle.json says, all of it, and of what is missing that it is missing."""

import copy
import re

import pytest

from decaseg.exporting.model_card import MISSING, model_card

STATISTIC = {"mean": 0.7301, "median": 0.7402, "std": 0.05, "quartiles": [0.7, 0.78], "ci95": [0.7103, 0.7504], "n": 17}
DISTANCE = {"mean": 3.205, "median": 2.906, "std": 1.0, "quartiles": [2.0, 4.0], "ci95": [2.507, 4.108], "n": 17}
FAILED = {"lowest_dice": 0.2109, "without_overlap": 3}
STRUCTURES = {name: {"dice": STATISTIC, "hd95_mm": DISTANCE, "nsd": STATISTIC, "failures": FAILED} for name in "ab"}
DOCUMENT = {
    "model_format": "openvino", "precision": "fp16", "compute_precision": "fp32", "training_cases": 211,
    "selection": "The validation cases chose nothing",
    "plan": {
        "dataset": "Livers", "patch": [48, 56, 64], "data_sha256": "a" * 64,
        "target": {"kind": "all", "paint": [1, 2],
                   "structures": [{"name": "a", "labels": [1]}, {"name": "b", "labels": [2]}]},
        "network": {"norm": "instance", "filters": [12, 24, 36], "members": 5},
    },
    "preprocessing": {"channels": ["CT"], "file_channels": 1, "spacing_mm": [0.79, 0.81, 2.5]},
    "postprocessing": {"cases": 13, "structures": {"a": {"largest": True}}},
    "provenance": {"created": "2026-11-25", "versions": {"decaseg": "0.1.0"}, "machine": {"processor": "A Processor"}},
    "training": {
        "recipe": {"name": "quick", "loss": "dice_ce", "seed": 41}, "minutes": 12.3, "steps": 4321,
        "precision": "bf16", "created": "2026-11-24",
        "machine": {"processor": "Another", "memory_gib": 22.2}, "started_from_other_weights": False,
        "imported": False,
    },
    "training_data": {"licence": "CC-BY-SA 4.0", "reference": "somebody", "release": "1.0"},
    "licence": "Apache-2.0", "sha256": {"model.xml": "b" * 64, "model.bin": "c" * 64},
    "parity": {
        "passed": True, "reason": "mean Dice within 0.001", "cases": 17, "mean_dice_source": 0.73017,
        "mean_dice_export": 0.73008, "max_dice_drop": 0.00054, "disagreement": 0.000321, "source": "torch fp32",
        "export": "openvino fp32", "structures": STRUCTURES, "seconds_a_case": 4.56,
    },
}  # fmt: skip
OPTIONAL = ["training", "training_data", "licence", "sha256", "parity", "postprocessing", "selection", "evaluation"]


def leaves(value):
    if isinstance(value, dict):
        for key, inside in value.items():
            yield str(key)
            yield from leaves(inside)
    elif isinstance(value, list):
        yield len(value)
        for inside in value:
            yield from leaves(inside)
    else:
        yield value


def forms(document):
    """Every way in which a number of the document may be written in the card."""
    found = set()
    for leaf in leaves(document):
        if isinstance(leaf, float) and not isinstance(leaf, bool):
            found |= {f"{leaf:g}", f"{leaf:.4g}", f"{leaf:.4f}", f"{leaf:.3g}", f"{leaf * 100:.4f}", str(leaf)}
        else:
            found |= set(re.findall(r"\d+(?:\.\d+)?", str(leaf)))
    return found


def numbers(card):
    # What the card's own words hold: 3D, the level of the interval, names of metrics and commands.
    words = re.sub(r"3D U-Net|95 % interval|hd95_mm|SHA-256|sha256sum|`[0-9a-f]{64}`|\b[0-9a-f]{64}\b", "", card)
    return re.findall(r"\d+(?:\.\d+)?", words.replace("INT8", ""))


def evaluated():
    document = copy.deepcopy(DOCUMENT)
    document["evaluation"] = {
        "engine": "torch", "precision": "bf16", "cases_scored": "val", "cases": 29, "trained_on": 2,
        "nsd_tolerance_mm": {"a": 2.0, "b": 7.0}, "structures": STRUCTURES,
    }  # fmt: skip
    return document


@pytest.mark.parametrize("document", [DOCUMENT, evaluated()])
def test_every_number_is_from_bundle_json(document):
    found = numbers(model_card(document))
    assert len(found) > 60 and not set(found) - forms(document)


def test_what_was_quantised_is_told_and_that_the_cases_chose_it():
    document = copy.deepcopy(DOCUMENT)
    document["quantisation"] = {
        "int8_layers": 31, "layers": 33, "rounds": [{}, {}],
        "judged_on": "validation cases", "judged_sha256": ["x"] * 6,
        "calibration": {"windows": 24, "with_foreground": 19, "cases_sha256": ["x"] * 9},
    }  # fmt: skip
    card = model_card(document)
    assert "31 of 33 layers in INT8, calibrated on 24 windows of 9 training cases (19 windows" in card
    assert "round 2 of the search" in card and "judged by 6 validation cases" in card
    assert not set(numbers(card)) - forms(document)


def test_every_section_and_fact_is_there():
    card = model_card(evaluated())
    for heading in ("Model details", "Intended use", "Factors", "Evaluation", "Training", "Limits and known failures",
                    "Ethical considerations", "Recommendations"):  # fmt: skip
        assert f"## {heading}\n" in card
    for fact in ("Apache-2.0", "CC-BY-SA 4.0", "48 x 56 x 64", "0.79 x 0.81 x 2.5 mm", "211 cases", "12.3 minutes",
                 "| Seed | 41 |", "| a | dice | 0.7301 | 0.7103 to 0.7504 | 0.7402 | 17 |", "4.56 s a case",
                 "lowest Dice of a case 0.2109", "in 3 of 17 cases", "29 validation cases", "0.0321%", "7 mm for b",
                 "5 networks", "a: largest True, as 13 validation cases chose", f"{'b' * 64}  model.xml"):  # fmt: skip
        assert fact in card, fact
    assert "2 of them were trained on" in card and MISSING not in card


@pytest.mark.parametrize("part", OPTIONAL)
def test_what_is_missing_is_said_to_be_missing(part):
    document = {key: value for key, value in evaluated().items() if key != part}
    card = model_card(document)
    wanted = {
        "training": f"{MISSING} minutes, {MISSING} steps", "training_data": f"| Licence of the data | {MISSING} |",
        "licence": f"| Licence of the weights | {MISSING}", "sha256": f"Checksums: {MISSING}",
        "parity": "**Unknown**", "postprocessing": "| Label maps are cleaned | no |",
        "selection": f"how cases were chosen is {MISSING}", "evaluation": "17 cases of the parity gate",
    }  # fmt: skip
    assert wanted[part] in card
    if part == "parity":
        assert f"Speed: {MISSING}" in card


def test_without_any_scores_it_says_so_and_how_to_get_them():
    document = copy.deepcopy(DOCUMENT)
    document["parity"] = None
    card = model_card(document)
    assert f"**Scores: {MISSING}.** Export with `--data` or `--evaluation`." in card
    assert f"Its worst cases: {MISSING}" in card


def test_every_part_of_training_may_be_missing():
    bare = copy.deepcopy(DOCUMENT)
    bare["training"] = dict.fromkeys(DOCUMENT["training"])
    bare["training_data"], bare["plan"]["data_sha256"] = {}, ""
    assert model_card(bare).count(MISSING) >= 12


def test_a_failed_gate_and_one_that_broke_off_are_told():
    failed = copy.deepcopy(DOCUMENT)
    failed["parity"] |= {"passed": False, "reason": "mean Dice drops by 0.2"}
    assert "**No: this bundle failed its gate**: mean Dice drops by 0.2" in model_card(failed)
    failed["parity"] = {"passed": False, "reason": "the parity gate did not run to its end"}
    assert "did not run to its end" in model_card(failed)
