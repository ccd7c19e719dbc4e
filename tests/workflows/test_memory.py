"""`--memory` from the command line to the plan in the RUN: chosen, said, used, or refused."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from decaseg.cli import call
from decaseg.planning.plan import Plan
from decaseg.workflows import train as workflow
from tests.synthetic import write_dataset

SMALL = ["--recipe", "original", "--channels", "MRI", "--base-filters", "4", "--epochs", "1", "--set", "max_levels=3",
         "steps_per_epoch=2", "keep=last", "--seed", "3", "--precision", "fp32"]  # fmt: skip


def trained(tmp_path, name, *words):
    data = tmp_path / "data"
    if not data.exists():
        write_dataset(data, cases=4, shape=(32, 32, 32))
    out = tmp_path / name
    code = call(["train", str(data), "--out", str(out), *SMALL, "--patch", "32", "32", "32", *words])
    return code, out


def losses(out):
    events = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [event["train_loss"] for event in events if event["event"] == "epoch"]


def test_a_limit_chooses_a_saving_that_changes_no_loss_and_is_written_down(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(workflow, "return_freed_memory", lambda: None)  # a setting of the whole test process
    plain_code, plain = trained(tmp_path, "plain", "--batch-size", "4", "--memory", "50")
    assert "saving:" not in capsys.readouterr().err
    plan = Plan.from_json(json.loads((plain / "plan.json").read_text()))
    limit_gib = replace(plan, saving="blocks").memory_gib() + 1e-4
    saved_code, saved = trained(tmp_path, "saved", "--batch-size", "4", "--memory", str(limit_gib))
    assert plain_code == saved_code == 0
    assert "saving:" in capsys.readouterr().err
    assert json.loads((plain / "plan.json").read_text())["saving"] == "none"
    assert json.loads((saved / "plan.json").read_text())["saving"] == "blocks"
    assert losses(saved) == pytest.approx(losses(plain), abs=1e-4)


def test_a_goal_below_what_is_free_chooses_a_saving_unless_none_reaches_it_or_a_limit_is_given(tmp_path, monkeypatch):
    monkeypatch.setattr(workflow, "return_freed_memory", lambda: None)
    monkeypatch.setattr(workflow, "available_memory_gib", lambda: 50.0)
    _, plain = trained(tmp_path, "plain", "--batch-size", "4")
    plan = Plan.from_json(json.loads((plain / "plan.json").read_text()))
    goal = f"memory_goal_gib={replace(plan, saving='blocks').memory_gib() + 1e-4}"
    expected = [
        (["--set", goal], "blocks"),
        (["--memory", str(replace(plan, saving="down").memory_gib() + 1e-4)], "down"),
        (["--set", "memory_goal_gib=0.01"], "none"),
        (["--set", goal, "--memory", "50"], "none"),
    ]
    for number, (words, saving) in enumerate(expected):
        code, out = trained(tmp_path, f"run{number}", "--batch-size", "4", *words)
        assert code == 0
        assert json.loads((out / "plan.json").read_text())["saving"] == saving


def test_what_cannot_fit_is_refused_in_one_line_with_numbers_and_ways_out(tmp_path, capsys):
    code, out = trained(tmp_path, "refused", "--batch-size", "4000", "--memory", "0.6")
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert code == 2 and not (out / "plan.json").exists()
    for words in ("--batch-size 4000", "0.6 GiB may be used", "these would fit: --batch-size", "--memory"):
        assert words in message


def test_saving_takes_less_memory_than_not():
    script = (
        "import re, sys, torch\n"
        "from pathlib import Path\n"
        "from decaseg.nets.device import return_freed_memory, set_threads\n"
        "from decaseg.nets.spec import NetworkSpec\n"
        "from decaseg.nets.unet import build\n"
        "set_threads(1)\n"
        "if sys.argv[1] != 'none': return_freed_memory()\n"
        "spec = NetworkSpec(in_channels=1, out_channels=1, filters=(16, 16), strides=((1, 1, 1), (2, 2, 2)),\n"
        "    kernels=((3, 3, 3),) * 2, norm='batch', downsample='maxpool')\n"
        "network = build(spec).train().to(memory_format=torch.channels_last_3d)\n"
        "network.saving = sys.argv[1]\n"
        # Not ru_maxrss: that of a child begins with its parent's.
        "peak = lambda: int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])\n"
        "before = peak()\n"
        "network(torch.randn(8, 1, 48, 48, 48)).square().mean().backward()\n"
        "print(peak() - before)\n"
    )
    took = {}
    for saving in ("none", "blocks"):
        answer = subprocess.run([sys.executable, "-c", script, saving], capture_output=True, text=True, check=True)
        took[saving] = int(answer.stdout)
    assert took["blocks"] < 0.6 * took["none"]
