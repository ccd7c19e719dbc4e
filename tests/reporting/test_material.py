from __future__ import annotations

import json

import pytest

from decaseg.reporting.material import Beside, gather, read_log
from tests.reporting.evaluations import (
    add_calibration,
    add_turning,
    write_benchmark,
    write_bundle,
    write_evaluation,
    write_run,
)


def test_a_torn_log_gives_what_was_whole(tmp_path):
    log = read_log(write_run(tmp_path / "run", ["a"], ["b"]) / "log.jsonl")
    assert [point.epoch for point in log.epochs] == [1, 2, 3, 4]
    assert [point.values for point in log.validations] == [
        {"mean": 0.3, "core": 0.4, "rim": 0.2},
        {"mean": 0.6, "core": 0.8, "rim": 0.4},
    ]
    assert log.torn == 2 and log.ending == {}


def test_a_resumed_training_counts_each_step_once(tmp_path):
    path = tmp_path / "log.jsonl"
    lines = [(1, 0.9), (2, 0.8), (2, 0.7), (3, float("nan"))]
    text = "".join(json.dumps({"event": "epoch", "step": s, "train_loss": v}) + "\n" for s, v in lines)
    text += '{"event": "stop", "reason": "time"}\n'
    path.write_text(text + '{"event": "epoch", "step": 1' + "0" * 5000 + "}\n")  # more digits than Python reads
    log = read_log(path)
    assert [point.values for point in log.epochs] == [{"train_loss": 0.9}, {"train_loss": 0.7}, {}]
    assert log.ending == {"reason": "time"} and log.torn == 1


def test_an_evaluation_finds_the_run_it_names(tmp_path):
    write_run(tmp_path / "somewhere", ["a"], ["b"])
    folder = write_evaluation(tmp_path / "scores", ["a", "b"])
    assert gather(folder).documents == {}
    (folder / "evaluation.json").write_text(json.dumps({"run": "../somewhere"}))
    assert gather(folder).documents["recipe"]["lr"] == 0.001
    (folder / "evaluation.json").write_text(json.dumps({"run": "../gone"}))
    assert gather(folder).log is None


def test_a_folder_of_run_evaluation_and_bundle_is_taken_whole(tmp_path):
    write_run(tmp_path / "run", ["a"], ["b"])
    write_evaluation(tmp_path / "evaluation", ["b"])
    write_bundle(tmp_path / "bundle")
    found = gather(tmp_path)
    assert found.log and found.scores and found.bundle and found.name == tmp_path.name


def test_pictures_are_found_by_listing_so_no_name_leads_out(tmp_path):
    (tmp_path / "secret.png").write_bytes(b"x")
    folder = write_evaluation(tmp_path / "evaluation", ["a", "b", "../../secret"])
    assert gather(folder).scores.pictures.keys() == {"a"}


def test_what_is_neither_is_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match="no such folder"):
        gather(tmp_path / "gone")
    with pytest.raises(ValueError, match=r"neither a RUN \(plan.json.*metrics.json"):
        gather(tmp_path)
    with pytest.raises(ValueError, match="neither a RUN"):
        gather(write_bundle(tmp_path / "bundle"))
    run = write_run(tmp_path / "run", ["a"], ["b"])
    with pytest.raises(ValueError, match="no BUNDLE"):
        gather(run, Beside(bundle=tmp_path))
    with pytest.raises(ValueError, match="is no RUN"):
        gather(run, Beside(run=tmp_path))
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "metrics.json").write_text('{"mean_dice": 1}')
    with pytest.raises(ValueError, match="no structures and cases"):
        gather(broken)


def test_a_benchmark_is_found_beside_or_by_name(tmp_path):
    write_evaluation(tmp_path / "evaluation", ["b"])
    assert gather(tmp_path).benchmark is None
    named = write_benchmark(tmp_path / "elsewhere" / "b")
    assert gather(tmp_path, Beside(benchmark=named)).benchmark["models"]
    write_benchmark(tmp_path / "benchmark")
    assert gather(tmp_path).benchmark and gather(tmp_path / "evaluation").benchmark
    with pytest.raises(ValueError, match=r"has no benchmark\.json"):
        gather(tmp_path, Beside(benchmark=tmp_path / "elsewhere"))


def test_what_is_compared_with_must_be_another_evaluation(tmp_path):
    here = write_evaluation(tmp_path / "a", ["x", "y"])
    write_evaluation(tmp_path / "b" / "evaluation", ["x", "y"])
    found = gather(here, Beside(compare=tmp_path / "b"))
    assert found.other.cases.keys() == {"x", "y"} and found.other_name == "b"
    with pytest.raises(ValueError, match=r"--compare .* is no evaluation"):
        gather(here, Beside(compare=tmp_path))
    with pytest.raises(ValueError, match="is the folder it would be compared with"):
        gather(here, Beside(compare=here))
    with pytest.raises(ValueError, match=r"has no metrics\.json to compare"):
        gather(write_run(tmp_path / "run", ["x"], ["y"]), Beside(compare=here))


def test_a_turning_view_is_told_from_a_case_of_that_name(tmp_path):
    folder = write_evaluation(tmp_path / "e", ["a", "b", "a_3d", "c"])
    add_turning(folder, "a")
    add_turning(folder, "c")
    scores = gather(folder).scores
    assert scores.turning.keys() == {"c"} and {"a", "a_3d", "c"} == scores.animations.keys()


def test_calibration_is_read_where_the_scores_speak_of_it(tmp_path):
    folder = write_evaluation(tmp_path / "e", ["a", "b"])
    add_calibration(folder)
    assert gather(folder).scores.calibration["a"]["core"].voxels.sum() == 9600
    document = json.loads((folder / "metrics.json").read_text())
    (folder / "calibration.json").write_text('{"cases": {"a": {"core": [[0, 1]]}}}')
    with pytest.raises(ValueError, match=r"calibration\.json: holds a histogram"):
        gather(folder)
    del document["calibration"]  # scored anew since: the histogram is of other predictions
    (folder / "metrics.json").write_text(json.dumps(document))
    assert gather(folder).scores.calibration == {}
