import json

import pytest

from decaseg.cli import call
from decaseg.recipes import RECIPES, Recipe, named
from tests.synthetic import write_dataset

BAD = {
    "norm=layer": "--set norm=layer: choose one of instance, batch, group, none",
    "mirror=left": "--set mirror=left: choose one of auto, all, none",
    "dropout=1.5": "--set dropout=1.5: is a share",
    "blocks=1,0": "--set blocks=1,0: give each level",
    "blocks=1,x": "--set blocks=1,x: the value must be",
    "convs=0": "--set convs=0: a level needs",
    "nonlinearity=tanh": "--set nonlinearity=tanh: choose one of",
    "downsample=mean": "--set downsample=mean: choose one of",
    "patch_cover=1.5": "--set patch_cover=1.5: is a share of the volume",
    "deep_supervision=-1": "--set deep_supervision=-1: is a number of levels",
    "target=half": "--target half: choose one of",
    "base_filters=0": "--base-filters 0: must be at least 1",
    "max_levels=0": "--set max_levels=0: must be at least 1",
    "batch_size=0": "--batch-size 0: must be at least 1",
    "patch=0,8,8": "--patch 0 8 8: each axis",
    "loss=hinge": "--set loss=hinge: choose one of dice_ce",
    "optimiser=lion": "--set optimiser=lion: choose one of",
    "schedule=steps": "--set schedule=steps: choose one of",
    "keep=first": "--set keep=first: choose last or best",
    "tversky_beta=1": "--set tversky_beta=1: must lie between 0 and 1",
    "topk_share=0": "--set topk_share=0: is a share of the voxels",
    "focal_gamma=-1": "--set focal_gamma=-1: must be 0 or more",
    "foreground_share=2": "--set foreground_share=2: is a share",
    "scale_low=2": "--set scale_low=2: must be above 0 and at most scale_high",
    "lr=0": "--lr 0: must be above 0",
    "epochs=0": "--epochs 0: must be at least 1",
    "minutes=-1": "--minutes -1: must be above 0",
    "patience=0": "--patience 0: must be at least 1",
    "fold=5": "--fold 5: the field's standard folds are 0 to 4",
    "val_fraction=1": "--val-fraction 1: is a share",
    "average_decay=1": "--set average_decay=1: must lie between 0 and 1",
    "device=tpu": "--device tpu: choose one of",
    "precision=fp8": "--precision fp8: choose one of",
    "colour=red": "--set colour: no such setting; choose among augment_ramp, average_decay, ",
    "learning-rate=1": "--set learning-rate: no such setting; choose among",
    "weight-decay=0": "--set weight-decay: no such setting; did you mean weight_decay?",
    "optimizer=sgd": "--set optimizer: no such setting; did you mean optimiser?",
    "rotation=0": "--set rotation: no such setting; did you mean rotation_deg or rotation_share?",
    "finest_filters=0": "--set finest_filters=0: must be at least 1",
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("recipes") / "data", cases=3, shape=(16, 16, 16))


@pytest.mark.parametrize("setting", BAD)
def test_a_bad_value_is_one_line_that_names_the_option(setting, data, tmp_path, capsys):
    assert call(["train", f"{data}", "--out", f"{tmp_path}/run", "--set", setting]) == 2
    errors = capsys.readouterr().err.strip().splitlines()
    assert len(errors) == 1 and errors[0].startswith(f"decaseg: {BAD[setting]}"), errors
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("asked", ["patience=3", "keep=best", "schedule=plateau"])
def test_what_goes_by_validation_needs_validation_cases(asked, data, tmp_path, capsys):
    words = ["train", f"{data}", "--out", f"{tmp_path}/run", "--val-fraction", "0", "--set", asked]
    assert call(words) == 2
    assert "goes by validation Dice, but no case validates" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_survive_json(name):
    recipe = named(name).with_settings({"blocks": "1,3,4", "patch": "16,24,32", "channels": "FLAIR"})
    assert recipe.blocks == (1, 3, 4) and recipe.patch == (16, 24, 32)
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe


@pytest.mark.parametrize("value", [float("inf"), [float("inf")] * 3, [[float("inf")] * 3], {}, "x"])
def test_whatever_stands_for_a_setting_is_read_or_refused_in_one_line(value):
    document = Recipe().to_json()
    for name in document:
        try:
            Recipe.from_json(document | {name: value})
        except ValueError as error:
            assert len(str(error).splitlines()) == 1
