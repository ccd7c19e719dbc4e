"""`train --from RUN`: what is taken over, what is refused, and what is said about it."""

import json
import shutil

import numpy as np
import pytest
from safetensors.torch import load_file

from decaseg.cli import call
from decaseg.data.patches import PatchSampler
from decaseg.workflows import fitting
from tests.synthetic import write_dataset

TINY = ["--threads", "1", "--set", "max_levels=3", "steps_per_epoch=2", "validation_cases=1"]
STILL = [*TINY, "lr=1e-12", "weight_decay=0", "average_decay=none", "--epochs", "1"]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A finished RUN of 4 filters on six cases of 1 mm with two structures."""
    root = tmp_path_factory.mktemp("base")
    write_dataset(root / "data", shape=(16, 20, 16))
    words = ["train", f"{root}/data", "--out", f"{root}/run", *TINY, "base_filters=4", "norm=batch", "--epochs", "1"]
    assert call(words) == 0
    return root


def tune(base, data, run, *more):
    return call(["train", f"{data}", "--out", f"{run}", "--from", f"{base}/run", *STILL, *more])


def read(path):
    return json.loads(path.read_text())


def events(run):
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def compare(base, run):
    """(names that are equal, names that are not) among the weights of both runs; batch norm's counters left out."""
    old, new = load_file(base / "run" / "weights.safetensors"), load_file(run / "weights.safetensors")
    equal, other = set(), set()
    for name in old:
        if "running" not in name and "num_batches" not in name:
            same = old[name].shape == new[name].shape and np.allclose(old[name], new[name], atol=1e-6)
            (equal if same else other).add(name)
    return equal, other


def test_all_weights_are_taken_where_the_structures_are_the_same(base, tmp_path, capsys):
    run = tmp_path / "run"
    assert tune(base, base / "data", run) == 0
    assert "all taken over" in capsys.readouterr().err
    assert compare(base, run)[1] == set()
    assert read(run / "recipe.json")["base_filters"] == 4 and read(run / "recipe.json")["norm"] == "batch"
    made = read(run / "provenance.json")
    assert made["start"]["run"] == str((base / "run").resolve()) and made["start"]["heads"] == "taken over"
    assert made["selection"].startswith("The validation cases chose nothing")  # the split is the same
    assert events(run)[0]["fresh_weights"] == []


def test_going_on_with_the_same_seed_shows_other_patches(base, tmp_path, monkeypatch):
    seeds = []

    def watched(*args, **more):
        seeds.append(args[4])
        return PatchSampler(*args, **more)

    monkeypatch.setattr(fitting, "PatchSampler", watched)
    for run in ("first", "again"):
        assert tune(base, base / "data", tmp_path / run) == 0
    assert call(["train", f"{base}/data", "--out", f"{tmp_path}/first", "--resume", "--epochs", "2"]) == 0
    first, again, resumed = seeds
    assert first == again == resumed != read(base / "run" / "recipe.json")["seed"]


def test_the_start_keeps_the_share_that_is_asked_for(base, tmp_path, capsys):
    moving = ["--set", "lr=1e-2"]
    assert tune(base, base / "data", tmp_path / "moved", *moving) == 0
    assert compare(base, tmp_path / "moved")[1]
    assert tune(base, base / "data", tmp_path / "kept", *moving, "start_share=1") == 0
    assert compare(base, tmp_path / "kept")[1] == set()
    assert tune(base, base / "data", tmp_path / "half", *moving, "start_share=0.5") == 0
    runs = base / "run", tmp_path / "moved", tmp_path / "half"
    start, moved, half = (load_file(run / "weights.safetensors") for run in runs)
    for name in half:
        if "num_batches" not in name:
            assert np.allclose(half[name], (start[name] + moved[name]) / 2, atol=1e-6), name


def test_a_share_of_no_start_is_refused(base, tmp_path, capsys):
    words = ["train", f"{base}/data", "--out", f"{tmp_path}/run", *TINY, "start_share=0.5"]
    assert call(words) == 2
    assert "--from RUN" in capsys.readouterr().err and not (tmp_path / "run").exists()


def test_heads_are_fresh_where_the_structures_are_others(base, tmp_path, capsys):
    data = write_dataset(tmp_path / "data", cases=4, shape=(20, 16, 24), labels=("a", "b", "c"), seed=1,
                         affine=np.diag([1.5, 1.5, 1.5, 1.0]))  # fmt: skip
    assert tune(base, data, tmp_path / "run") == 0
    assert "all but" in capsys.readouterr().err
    equal, other = compare(base, tmp_path / "run")
    assert other and all(name.startswith("heads.") for name in other)
    assert equal and not any(name.startswith("heads.") for name in equal)
    assert set(events(tmp_path / "run")[0]["fresh_weights"]) == other
    assert read(tmp_path / "run" / "provenance.json")["start"]["heads"] == "fresh"
    old, new = read(base / "run" / "plan.json"), read(tmp_path / "run" / "plan.json")
    assert new["preprocessing"]["spacing_mm"] == [1, 1, 1] and new["patch"] == old["patch"]  # not the data's 1.5 mm
    assert new["network"]["out_channels"] == 4


def test_renamed_structures_are_others_too(base, tmp_path):
    data = write_dataset(tmp_path / "data", cases=3, shape=(16, 16, 16), labels=("posterior", "anterior"))
    assert tune(base, data, tmp_path / "run") == 0
    assert all(name.startswith("heads.") for name in compare(base, tmp_path / "run")[1])
    assert read(tmp_path / "run" / "provenance.json")["start"]["heads"] == "fresh"


def test_it_says_when_the_weights_have_seen_the_validation_cases(base, tmp_path):
    assert tune(base, base / "data", tmp_path / "run", "--fold", "1") == 0
    trained = set(read(base / "run" / "splits.json")["train"])
    seen = len(trained & set(read(tmp_path / "run" / "splits.json")["val"]))
    assert seen > 0
    selection = read(tmp_path / "run" / "provenance.json")["selection"]
    assert f"had been trained on {seen} of the validation cases" in selection and "optimistic" in selection


def test_resuming_before_the_first_checkpoint_begins_with_those_weights_again(base, tmp_path):
    run = tmp_path / "run"
    assert tune(base, base / "data", run) == 0
    shutil.rmtree(run / "checkpoints")
    assert (
        call(["train", f"{base}/data", "--out", f"{run}", "--from", f"{base}/run", "--resume", "--threads", "1"]) == 0
    )
    assert compare(base, run)[1] == set()


def test_the_plan_says_what_the_other_run_settles(base, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    assert tune(base, base / "data", tmp_path / "run") == 0
    said = {line.split()[0]: line for line in capsys.readouterr().err.splitlines() if line.strip()}
    for row in ("spacing", "normalisation", "patch", "filters", "network"):
        assert "as the RUN of --from has it" in said[row]
    assert "--from" not in said["target"] + said["memory"]


def test_a_damaged_start_is_refused_before_a_run_is_begun(base, tmp_path, capsys):
    shutil.copytree(base / "run", tmp_path / "copy")
    weights = tmp_path / "copy" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    words = ["train", f"{base}/data", "--out", f"{tmp_path}/run", "--from", f"{tmp_path}/copy", *STILL]
    assert call(words) == 2
    assert "copy the run again" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "run").exists()


def test_the_same_command_resumes_whatever_limits_its_network_stays_below(base, tmp_path, capsys):
    more = ["--threads", "1", "--set", "max_levels=6", "max_filters=64", "steps_per_epoch=1", "validation_cases=1"]
    words = ["train", f"{base}/data", "--out", f"{tmp_path}/run", "--from", f"{base}/run", *more]
    assert call([*words, "--epochs", "1"]) == 0
    assert (read(tmp_path / "run" / "recipe.json")["max_filters"]) < 64
    assert call([*words, "--epochs", "2", "--resume"]) == 0
    assert events(tmp_path / "run")[-1]["step"] == 2
    words[words.index("max_filters=64")] = "max_filters=5"
    assert call([*words, "--epochs", "2", "--resume"]) == 2
    assert "max_filters cannot change" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--base-filters", "8"], "--from: its network has base_filters 4, not 8"),
        (["--set", "norm=group"], "--from: its network has norm batch, not group"),
        (["--patch", "17", "20", "16"], "use --patch 18 20 16"),
    ],
)
def test_wishes_that_the_weights_do_not_allow(base, tmp_path, capsys, more, says):
    assert tune(base, base / "data", tmp_path / "run", *more) == 2
    assert says in capsys.readouterr().err.splitlines()[-1]


def test_a_thin_finest_level_goes_on_as_it_is(tmp_path, capsys):
    write_dataset(tmp_path / "data", shape=(16, 20, 16))
    words = ["train", f"{tmp_path}/data", "--out", f"{tmp_path}/run", *TINY, "base_filters=6", "finest_filters=4"]
    assert call([*words, "--epochs", "1"]) == 0
    assert tune(tmp_path, tmp_path / "data", tmp_path / "tuned") == 0
    assert compare(tmp_path, tmp_path / "tuned")[1] == set()
    recipe = read(tmp_path / "tuned" / "recipe.json")
    assert (recipe["base_filters"], recipe["finest_filters"]) == (6, 4)
    assert tune(tmp_path, tmp_path / "data", tmp_path / "other", "--set", "finest_filters=3") == 2
    assert "its network has finest_filters 4, not 3" in capsys.readouterr().err


def test_another_number_of_channels_is_refused_and_choosing_them_helps(base, tmp_path, capsys):
    data = write_dataset(tmp_path / "data", cases=3, shape=(16, 16, 16), channels=("T1", "T2"))
    assert tune(base, data, tmp_path / "run") == 2
    assert "takes 1 channels (MRI), here are 2 (T1, T2)" in capsys.readouterr().err.splitlines()[-1]
    assert tune(base, data, tmp_path / "run", "--channels", "T2") == 0
    assert "it saw MRI, this one sees T2" in capsys.readouterr().err


def test_a_folder_that_is_no_finished_run_is_refused(base, tmp_path, capsys):
    words = ["train", f"{base}/data", "--out", f"{tmp_path}/run", "--from", f"{tmp_path}/nothing"]
    assert call(words) == 2 and "holds no training" in capsys.readouterr().err
    shutil.copytree(base / "run", tmp_path / "half")
    (tmp_path / "half" / "weights.safetensors").unlink()
    assert call([*words[:-1], f"{tmp_path}/half"]) == 2 and "has no weights yet" in capsys.readouterr().err


def test_members_are_taken_over_together_and_their_heads_are_fresh_for_other_structures(tmp_path, capsys):
    write_dataset(tmp_path / "data", shape=(16, 20, 16))
    words = ["train", f"{tmp_path}/data", "--out", f"{tmp_path}/run", *TINY, "base_filters=4", "members=2"]
    assert call([*words, "--epochs", "1"]) == 0
    assert tune(tmp_path, tmp_path / "data", tmp_path / "same") == 0
    assert compare(tmp_path, tmp_path / "same")[1] == set()
    data = write_dataset(tmp_path / "other", shape=(16, 20, 16), labels=("a", "b", "c"), seed=1)
    assert tune(tmp_path, data, tmp_path / "tuned") == 0
    assert "all but 4 (heads)" in capsys.readouterr().err
    equal, other = compare(tmp_path, tmp_path / "tuned")
    assert equal and {name.split(".")[2] for name in other} == {"heads"} and len(other) == 4
    assert tune(tmp_path, data, tmp_path / "three", "--set", "members=3") == 2
    assert "members 2, not 3" in capsys.readouterr().err
