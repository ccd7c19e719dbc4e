"""What score and evaluate share: tolerances, lesions, groups, and comparing two folders."""

import csv
import json
import shutil

import numpy as np
import pytest

from decaseg.cli import call
from decaseg.data.targets import make_target
from decaseg.metrics.decathlon import tolerance_of
from decaseg.storage import nifti
from decaseg.volume import Volume
from decaseg.workflows.scoring import Wishes, make_scoring, parsed_tolerances

NAMES = {1: "liver", 2: "cancer"}
BRATS = {1: "edema", 2: "non-enhancing tumor", 3: "enhancing tumour"}


def ball(radius, shape=(20, 20, 20), shift=0):
    grid = np.stack(np.meshgrid(*[np.arange(n) - n // 2 for n in shape], indexing="ij"))
    grid[0] -= shift
    return ((grid**2).sum(axis=0) <= radius**2).astype(np.uint8)


@pytest.fixture
def folders(tmp_path):
    """Eight cases; `a` misses each by a voxel, `b` hits some more; a CSV of their scanners."""
    lines = ["case;scanner;site"]
    for i in range(8):
        for folder, shift in (("labels", 0), ("a", 2), ("b", 1 if i else 2)):
            nifti.write(tmp_path / folder / f"c{i}.nii.gz", Volume.of(ball(5 + i % 3, shift=shift)))
        lines.append(f"c{i};{'GE' if i < 5 else 'Siemens'};1")
    (tmp_path / "groups.csv").write_text("\n".join(lines[:-1]), encoding="utf-8-sig")  # c7 is not in it
    return tmp_path


def score(folder, *words, predictions="a"):
    return call(["score", f"{folder}/{predictions}", f"{folder}/labels", "--out", f"{folder}/out", *words])


def document(folder, name="metrics.json"):
    return json.loads((folder / "out" / name).read_text())


def test_tolerances_by_number_name_and_for_all():
    target = make_target("all", NAMES)
    assert parsed_tolerances(["2"], target) == {"liver": 2.0, "cancer": 2.0}
    assert parsed_tolerances(["1=2", "cancer=3.5"], target) == {"liver": 2.0, "cancer": 3.5}
    assert parsed_tolerances(["whole tumor=5", "3=1"], make_target("brats", BRATS)) == {
        "whole tumor": 5.0,
        "enhancing tumor": 1.0,
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["wide"], "is not 0 or more millimetres"),
        (["-1"], "is not 0 or more"),
        (["nan"], "is not 0 or more"),
        (["1=x"], "is not 0 or more"),
        (["3=1"], "there is no '3'; choose from liver, cancer, 1, 2"),
        (["1=1", "liver=2"], "liver has a tolerance already"),
        (["2", "1=3"], "liver has a tolerance already"),
    ],
)
def test_tolerances_that_say_nothing_are_refused(words, message):
    with pytest.raises(ValueError, match=message):
        parsed_tolerances(words, make_target("all", NAMES))


def test_the_decathlons_tolerance_is_taken_for_its_data_sets_and_can_be_overruled():
    target = make_target("all", NAMES)
    known = make_scoring(Wishes(), target, "Task03_Liver")
    assert known.tolerances_mm == {"liver": 7.0, "cancer": 7.0} and "Decathlon" in known.tolerances_from
    assert make_scoring(Wishes(), target, "liver").tolerances_mm == {"liver": 1.0, "cancer": 1.0}
    over = make_scoring(Wishes(tolerance=("2=3",)), target, "Task03_Liver")
    assert over.tolerances_mm == {"liver": 7.0, "cancer": 3.0} and over.tolerances_from == "--tolerance"


@pytest.mark.parametrize(
    ("folder", "mm"),
    [
        ("Task01_BrainTumour", 5.0),
        ("Task04_Hippocampus", 1.0),
        ("Task10_Colon", 4.0),
        ("Task010_Colon", 4.0),
        ("Dataset007_Pancreas", 5.0),
        ("Task11_Colon", None),
        ("Task10_Colon_old", None),
        ("colon", None),
    ],
)
def test_a_data_set_is_known_by_its_folders_whole_name(folder, mm):
    assert tolerance_of(folder) == mm


def test_evaluate_scores_as_it_is_told_and_records_it(tiny, tmp_path):
    data = tmp_path / "Task03_Liver"
    shutil.copytree(tiny / "data", data)
    (tmp_path / "groups.csv").write_text("case,scanner\n" + "".join(f"case_00{i},GE\n" for i in range(6)))
    words = ["--cases", "all", "--no-pictures", "--threads", "1", "--lesions", "glioma"]
    arguments = ["--data", f"{data}", "--out", f"{tmp_path}/out", "--groups", f"{tmp_path}/groups.csv"]
    assert call(["evaluate", f"{tiny}/run", *arguments, *words, "--tolerance", "anterior=2"]) == 0
    found = document(tmp_path)
    assert found["scoring"]["nsd_tolerance_mm"] == {"anterior": 2.0, "posterior": 7.0}
    assert found["scoring"]["lesions"] == {"dilation_mm": 3.0, "ignored_up_to_mm3": 50.0}
    assert "lesion_dice" in found["structures"]["anterior"] and found["groups"]["groups"]["GE"]["n"] == 6
    assert found["groups"]["groups"]["GE"]["mean_dice"] == found["mean_dice"]


def test_how_was_scored_changes_the_scores_and_is_recorded(folders):
    assert score(folders) == 0
    plain = document(folders)
    assert plain["scoring"] == {
        "nsd_tolerance_mm": {"label 1": 1.0},
        "nsd_tolerance_from": "default",
        "lesions": None,
    }
    assert "lesion_dice" not in plain["structures"]["label 1"]
    assert score(folders, "--tolerance", "1=2.5", "--lesions", "metastases", "--labels", "1=ball") == 0
    wide = document(folders)
    assert wide["scoring"]["nsd_tolerance_mm"] == {"ball": 2.5}
    assert wide["scoring"]["lesions"] == {"dilation_mm": 1.0, "ignored_up_to_mm3": 2.0}
    ball = wide["structures"]["ball"]
    assert ball["nsd"]["mean"] == 1.0 > plain["structures"]["label 1"]["nsd"]["mean"]
    assert ball["lesion_dice"]["mean"] == ball["dice"]["mean"]  # one lesion a case
    assert ball["lesions_found"]["mean"] == 1.0


def test_groups_have_their_own_statistics_and_what_is_missing_is_unknown(folders, capsys):
    assert score(folders, "--groups", f"{folders}/groups.csv", "--group-by", "scanner") == 0
    printed = capsys.readouterr()
    assert "Siemens" in printed.out and "lacks c7: group unknown" in printed.err
    groups = document(folders)["groups"]
    assert groups["column"] == "scanner" and groups["file"] == "groups.csv"
    assert {name: part["n"] for name, part in groups["groups"].items()} == {"GE": 5, "Siemens": 2, "unknown": 1}
    assert groups["groups"]["Siemens"]["cases"] == ["c5", "c6"]
    dice = [document(folders)["cases"][case]["label 1"]["dice"] for case in ("c5", "c6")]
    assert groups["groups"]["Siemens"]["structures"]["label 1"]["dice"]["mean"] == pytest.approx(np.mean(dice))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--lesions", "brats"], "choose one of glioma, meningioma, metastases"),
        (["--group-by", "scanner"], "add --groups FILE.csv"),
        (["--groups", "GROUPS"], "choose --group-by from scanner, site"),
        (["--groups", "GROUPS", "--group-by", "maker"], "has no column 'maker'"),
        (["--compare", "A"], "is the folder it would be compared with"),
        (["--compare", "NONE"], "there is no such folder"),
    ],
)
def test_wrong_choices_are_one_line_and_nothing_is_written(folders, words, says, capsys):
    places = {"GROUPS": f"{folders}/groups.csv", "A": f"{folders}/a", "NONE": f"{folders}/none"}
    assert score(folders, *(places.get(word, word) for word in words)) == 2
    error = capsys.readouterr().err
    assert says in error and len(error.strip().splitlines()) == 1
    assert not (folders / "out").exists()


def test_a_csv_of_other_cases_is_refused(folders, capsys):
    (folders / "other.csv").write_text("case,scanner\nx,GE\n")
    assert score(folders, "--groups", f"{folders}/other.csv") == 2
    assert "has none of the cases to score, such as c0" in capsys.readouterr().err
    assert not (folders / "out").exists()


def test_two_folders_are_compared_case_by_case(folders, capsys):
    assert score(folders, "--compare", f"{folders}/b") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "The second is better by" in printed and "8 cases" in printed
    found = document(folders, "comparison.json")
    assert found["first"].endswith("/a") and found["second"].endswith("/b")
    assert found["mean_dice"]["says"] == "second" and found["mean_dice"]["changed"] == 7
    assert found["mean_dice"]["ci95"][1] < 0
    with (folders / "out" / "comparison.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[-1]["case"] == "c0" and float(rows[-1]["dice"]) == 0.0
    assert float(rows[0]["dice"]) < 0
    assert document(folders)["cases"].keys() == found["cases"].keys()


def test_a_case_that_only_one_folder_has_is_refused_by_name(folders, capsys):
    (folders / "b" / "c3.nii.gz").unlink()
    assert score(folders, "--compare", f"{folders}/b") == 2
    assert "has no prediction c3.nii.gz" in capsys.readouterr().err
    assert not (folders / "out").exists()


def test_a_comparison_as_json_is_one_document(folders, capsys):
    assert score(folders, "--compare", f"{folders}/b", "--json") == 0
    assert json.loads(capsys.readouterr().out)["comparison"]["mean_dice"]["says"] == "second"


def test_few_cases_that_differ_decide_nothing_in_words(folders, capsys):
    for i in range(3):
        (folders / "b" / f"c{i}.nii.gz").write_bytes((folders / "a" / f"c{i}.nii.gz").read_bytes())
    assert score(folders, "--compare", f"{folders}/b") == 0
    assert "No test can decide: only 5 of 8 cases differ" in " ".join(capsys.readouterr().out.split())
