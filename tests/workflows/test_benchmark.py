import json
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from decaseg.benchmarking.results import Timed
from decaseg.cli import call
from decaseg.workflows.benchmark import Cases, _take_turns, find_entrants


@pytest.fixture(scope="module")
def document(tiny, tmp_path_factory):
    """Three models on real cases with Dice, layers and files, and what stood on both outputs."""
    out = tmp_path_factory.mktemp("benchmark") / "out"
    models = [f"{tiny}/run@plain", f"{tiny}/run@bf16", f"{tiny}/bundle"]
    words = ["--data", tiny / "data", "--rounds", "3", "--threads", "1", "--per-layer", "--json", "--out", out]
    done = run(*models, *words)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found == json.loads((out / "benchmark.json").read_text())
    return found, out, done


def run(*words, **more):
    command = [sys.executable, "-m", "decaseg", "benchmark", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, **more)


def test_every_model_has_its_times_memory_and_share(document):
    found, _, _ = document
    assert [m["name"] for m in found["models"]] == ["run@plain", "run@bf16", "bundle"]
    assert [(m["engine"], m["precision"]) for m in found["models"]] == [
        ("plain torch", "fp32"), ("torch", "bf16"), ("openvino", "fp32")]  # fmt: skip
    for model in found["models"]:
        low, high = model["window_s"]["quartiles"]
        assert 0 < low <= model["window_s"]["median"] <= high and model["window_s"]["n"] == 3
        assert model["windows_per_s"] == pytest.approx(1 / model["window_s"]["median"])
        assert model["case_s"]["median"] > model["window_s"]["median"] / 2 and 0 < model["network_share"] <= 1
        assert 0.05 < model["peak_gib"] < 4
        assert model["idle_cpu_share"] < 0.05, "a model that waits must not take the processor from the one measured"
    assert found["models"][2]["peak_gib"] < found["models"][1]["peak_gib"]  # no torch in the bundle's process
    assert found["models"][0]["times_as_fast_case"]["median"] == 1


def test_it_says_where_and_with_what_it_was_measured(document):
    found, _, _ = document
    assert found["machine"]["processor"] and found["machine"]["cores"] >= 1 and found["versions"]["openvino"]
    assert found["settings"]["threads"] == 1 and "not counted" in found["settings"]["warm_up"]
    assert "benchmark" in found["command"] and "commit" in found


def test_dice_is_that_of_evaluate(tiny, document, tmp_path):
    found, _, _ = document
    words = ["--data", f"{tiny}/data", "--out", f"{tmp_path}/e", "--no-pictures", "--threads", "1"]
    assert call(["evaluate", f"{tiny}/bundle", *words]) == 0
    wanted = json.loads((tmp_path / "e" / "metrics.json").read_text())
    bundle = found["models"][2]
    assert bundle["dice"]["mean"] == pytest.approx(wanted["mean_dice"]) and bundle["dice"]["n"] == len(wanted["cases"])
    assert bundle["dice"]["ci95"] == pytest.approx(wanted["mean_dice_statistics"]["ci95"])
    for structure, value in bundle["dice"]["structures"].items():
        assert value == pytest.approx(wanted["structures"][structure]["dice"]["mean"])
    drop = found["models"][0]["dice"]["mean"] - bundle["dice"]["mean"]
    assert bundle["dice_drop"]["mean"] == pytest.approx(drop, abs=1e-12)


def test_layers_are_those_of_the_network_the_slowest_first(document):
    found, _, _ = document
    ratios = []
    for model in found["models"]:
        ms = [layer["ms"] for layer in model["per_layer"]]
        assert ms == sorted(ms, reverse=True) and min(ms) > 0
        ratios.append(sum(ms) / 1000 / model["window_s"]["median"])
    assert 0.2 < statistics.median(ratios) < 5, ratios  # of tiny windows; what counts takes time too
    torch_kinds = {layer["kind"] for layer in found["models"][1]["per_layer"]}
    assert any("convolution" in kind for kind in torch_kinds)
    convolutions = [layer for layer in found["models"][2]["per_layer"] if layer["kind"] == "Convolution"]
    assert convolutions and {layer["precision"] for layer in convolutions} == {"f32"}


def test_out_holds_the_picture_too(document):
    _, out, _ = document
    assert {p.name for p in out.iterdir()} == {"benchmark.json", "dice-against-time.png", "dice-against-time.svg"}
    assert (out / "dice-against-time.png").read_bytes().startswith(b"\x89PNG")


def test_without_a_case_one_of_the_plans_size_is_made_and_a_table_printed(tiny, capfd):
    assert call(["benchmark", f"{tiny}/bundle", f"{tiny}/bundle", "--rounds", "2", "--threads", "1"]) == 0
    printed = capfd.readouterr().out
    shape = " x ".join(map(str, json.loads((tiny / "run" / "plan.json").read_text())["median_shape"]))
    assert f"a generated case of {shape} voxels" in " ".join(printed.split())
    assert "bundle (2)" in printed and "times as fast as bundle" in printed
    assert all(len(line) <= 80 for line in printed.splitlines())


def test_a_given_image_is_what_is_timed(tiny, capfd):
    image = f"{tiny}/data/imagesTr/case_000.nii.gz"
    words = ["--image", image, image, "--rounds", "1", "--json", "--threads", "1"]
    assert call(["benchmark", f"{tiny}/bundle", *words]) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["settings"]["case"] == "case_000.nii.gz, case_000.nii.gz" and found["models"][0]["case_s"]["n"] == 2


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("nothing", "there is no such model"),
        ("bundle@bf16", "computes in fp32, not in bf16"),
        ("run@int8", "--precision int8: choose one of"),
        ("bundle@plain", "is for a RUN"),
        ("spoilt", "copy the bundle again"),
    ],
)
def test_a_model_that_cannot_be_used_is_one_line_with_its_name(tiny, tmp_path, capfd, model, says):
    (tmp_path / "spoilt").mkdir()
    for file in (tiny / "bundle").iterdir():
        (tmp_path / "spoilt" / file.name).write_bytes(file.read_bytes())
    (tmp_path / "spoilt" / "model.xml").write_text("<net>")
    (tmp_path / "run").symlink_to(tiny / "run")
    (tmp_path / "bundle").symlink_to(tiny / "bundle")
    assert call(["benchmark", f"{tmp_path}/bundle", f"{tmp_path}/{model}", "--rounds", "1"]) == 2
    error = [line for line in capfd.readouterr().err.splitlines() if line.startswith("decaseg:")]
    assert len(error) == 1 and says in error[0] and model in error[0]


def test_bundles_are_benchmarked_with_the_runtime_alone(tiny, tmp_path):
    for name in ("torch", "safetensors", "scipy"):
        (tmp_path / f"{name}.py").write_text(f"raise ModuleNotFoundError('not here', name='{name}')")
    source = str(Path(__file__).parents[2] / "src")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), source])}
    done = run(tiny / "bundle", "--rounds", "1", "--threads", "1", "--per-layer", env=environment)
    assert done.returncode == 0, done.stderr
    for model, more, missing in (("run", (), "torch"), ("bundle", ("--data", tiny / "data"), "scipy")):
        refused = run(tiny / model, "--rounds", "1", *more, env=environment)
        error = refused.stderr.strip().splitlines()[-1]
        assert refused.returncode == 2 and f"{model}: needs {missing}, which is not installed; pip install" in error


def test_interrupted_it_leaves_no_process_behind(tiny):
    command = [sys.executable, "-m", "decaseg", "benchmark", f"{tiny}/bundle", "--rounds", "100000"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
                               start_new_session=True)  # fmt: skip
    for line in process.stderr:
        if "measuring" in line:
            break
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to everyone in it
    assert process.wait(300) == 130
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("a child outlived its parent")


def test_names_are_as_short_as_tells_models_apart(tmp_path):
    def names(*words):
        return [entrant.name for entrant in find_entrants(words)]

    assert names("a/run", "a/bundle/model.xml") == ["run", "bundle"]
    assert names("a/run@fp32", "a/run@bf16") == ["run@fp32", "run@bf16"]
    assert names("a/bundle", "b/bundle") == ["a/bundle", "b/bundle"]
    assert names("run", "run", "run") == ["run", "run (2)", "run (3)"]
    (tmp_path / "me@home").mkdir()
    (entrant,) = find_entrants([f"{tmp_path}/me@home"])
    assert entrant.precision == "auto" and entrant.path.endswith("me@home")


def test_each_model_is_first_equally_often_and_every_case_is_scored_once():
    order = []

    class Recorder:
        """A child that only notes when it was asked and for what."""

        def __init__(self, name):
            self.name = name

        def ask(self, do, case, windows, score):
            order.append((self.name, case["image"], windows, score))
            dice = {"dice": {"a": 1.0}} if score else {}
            timed = {"total_s": 1.0, "network_s": 0.5, "windows": 1} | dice
            return {"windows_s": [0.1] * windows, "case": timed, "peak_gib": 1.0, "cpu_s": [0.0, 0.0]}

    children = [Recorder(name) for name in "abc"]
    timed = [Timed(child.name, "", {}) for child in children]
    jobs = tuple({"case": f"case{i}", "image": f"case{i}.nii.gz"} for i in range(2))
    _take_turns(children, timed, Cases(jobs, "two", scored=True), rounds=3)
    assert [name for name, *_ in order] == ["a", "b", "c", "b", "c", "a", "c", "a", "b"]
    assert [len(one.windows_s) for one in timed] == [3, 3, 3] and [len(one.cases_s) for one in timed] == [3, 3, 3]
    assert [list(one.dice) for one in timed] == [["case0", "case1"]] * 3
    assert all(score == (number < 6) for number, (_, _, _, score) in enumerate(order))
