import copy
import re

import pytest

from decaseg.reporting.benchmark_table import print_benchmark
from decaseg.reporting.dice_against_time import draw_dice_against_time

MODEL = {
    "name": "a", "engine": "torch", "precision": "fp32", "stored_precision": None,
    "window_s": {"median": 0.1, "quartiles": [0.09, 0.11], "n": 5}, "windows_per_s": 10.0,
    "case_s": {"median": 1.0, "quartiles": [0.9, 1.2], "n": 5}, "network_share": 0.9, "peak_gib": 0.5,
    "times_as_fast_window": {"median": 1.0, "ci95": [1.0, 1.0], "n": 5},
    "times_as_fast_case": {"median": 1.0, "ci95": None, "n": 5},
    "dice": {"mean": 0.87, "ci95": [0.85, 0.89], "n": 12}, "dice_drop": {"mean": 0.0, "ci95": [0.0, 0.0]},
    "per_layer": None,
}  # fmt: skip


def document(*changes):
    models = []
    for change in changes:
        model = copy.deepcopy(MODEL)
        for key, value in change.items():
            model[key] = model[key] | value if isinstance(value, dict) else value
        models.append(model)
    machine = {"processor": "A Processor", "cores": 2, "instructions": ["AVX2"]}
    settings = {"threads": None, "rounds": 5, "case": "12 cases of D", "warm_up": "one case"}
    return {"machine": machine, "settings": settings, "models": models, "versions": {"decaseg": "1"},
            "commit": None, "conclusions": ["int8 does not pay on this machine."]}  # fmt: skip


CROWD = [
    {"name": f"model {i}", "case_s": {"median": t, "quartiles": [t * 0.95, t * 1.05]}, "dice": {"mean": 0.87 + d},
     "dice_drop": {"mean": -d, "ci95": [-d - 1e-4, -d + 1e-4]}}
    for i, (t, d) in enumerate([(1.0, 0), (1.02, 0), (0.99, 1e-4), (1.01, -1e-4), (3.0, 0), (0.4, -1e-3)])
]  # fmt: skip


@pytest.mark.parametrize("changes", [[{}], CROWD, CROWD[:1] * 3])
def test_the_picture_names_every_point_and_both_axes(tmp_path, changes):
    draw_dice_against_time(document(*changes), tmp_path)
    assert (tmp_path / "dice-against-time.png").stat().st_size > 5_000
    words = " ".join(re.findall(r"<!-- (.*?) -->", (tmp_path / "dice-against-time.svg").read_text()))
    assert "seconds a case" in words and "mean Dice" in words and "A Processor, 2 cores, n = 12 cases" in words
    for change in changes:
        assert change.get("name", "a") in words


def test_names_in_a_crowd_do_not_cover_each_other(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    boxes = []

    def look(self, *words, **more):
        if not boxes:
            self.draw_without_rendering()
            texts = [t for t in self.axes[0].texts if t.get_text().startswith("model")]
            boxes.extend(t.get_window_extent() for t in texts)
        return savefig(self, *words, **more)

    savefig = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", look)
    draw_dice_against_time(document(*CROWD), tmp_path)
    assert len(boxes) == len(CROWD)
    assert not [1 for i, a in enumerate(boxes) for b in boxes[i + 1 :] if a.overlaps(b)]


def test_the_table_has_what_the_document_has(capsys):
    layers = [{"name": f"__module.l{i}/aten::x/Convolution", "kind": "Convolution", "kernel": "jit", "precision": "f32",
               "ms": 100.0 / (i + 1)} for i in range(20)]  # fmt: skip
    ratio = {"median": 2.0, "ci95": [1.9, 2.1], "n": 5}
    fast = {"name": "b", "stored_precision": "fp16", "times_as_fast_case": ratio, "per_layer": layers}
    print_benchmark(document({}, fast))
    printed = capsys.readouterr().out
    assert "2.00 (1.90 to 2.10)" in printed and "stored fp16" in " ".join(printed.split()) and "0.8700" in printed
    assert "l0 " in printed and "aten" not in printed and "5 more" in printed and "100.0%" in printed
    assert f"{sum(layer['ms'] for layer in layers):.2f}" in printed
    assert "int8 does not pay on this machine." in printed and "commit unknown" in printed
    print_benchmark(document({"dice": None}))
    assert "Dice" not in capsys.readouterr().out
