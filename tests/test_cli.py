import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from decaseg.arguments import spread
from decaseg.cli import app, call, main

ROOT = Path(__file__).parents[1]


def _commands(group, *words):
    """Words that call a command -> the command; those of `import` need two."""
    found = {}
    for name, command in group.commands.items():
        found |= _commands(command, *words, name) if hasattr(command, "commands") else {(*words, name): command}
    return found


COMMANDS = _commands(typer.main.get_command(app))


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("--channels FLAIR T1w", "--channels FLAIR --channels T1w"),
        ("train D --channels FLAIR T1w --out R", "train D --channels FLAIR --channels T1w --out R"),
        ("--set a=1 b=2 --set c=3", "--set a=1 --set b=2 --set c=3"),
        ("--labels 1=edema 2=core", "--labels 1=edema --labels 2=core"),
        ("--set lr=-1 --patch 8 8 8", "--set lr=-1 --patch 8 8 8"),
        ("--patch 8 8 8 D", "--patch 8 8 8 D"),
        ("--channels --out R", "--channels --out R"),
        ("--channels", "--channels"),
        ("", ""),
    ],
)
def test_options_of_several_words_are_repeated_before_each(written, read):
    assert spread(written.split()) == read.split()


def test_words_with_spaces_stay_whole():
    assert spread(["--labels", "1=enhancing tumour", "2=x"]) == ["--labels", "1=enhancing tumour", "--labels", "2=x"]


@pytest.mark.parametrize(
    "words",
    [["segment"], ["train"], ["import"], ["import", "onnx"], ["train", "D", "--otu", "R"], ["evaluate", "M"]],
)
def test_a_wrong_word_is_one_line_with_a_hint_and_exit_2(words, capsys):
    assert call(words) == 2
    printed = capsys.readouterr()
    assert len(printed.err.strip().splitlines()) == 1 and "--help" in printed.err and not printed.out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--set", "lr"], "write it as key=value"),
        (["--set", "depth=3"], "no such setting"),
        (["--set", "epochs=many"], "must be of type int"),
        (["--recipe", "slow"], "choose one of default, quick, original"),
        (["--epochs", "3", "--minutes", "1"], "give one of them"),
    ],
)
def test_a_wrong_choice_says_what_would_be_right(tmp_path, words, says, capsys):
    assert call(["train", f"{tmp_path}", "--out", f"{tmp_path}/run", *words]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_an_interrupted_command_exits_130(monkeypatch):
    from decaseg.workflows import doctor

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "run", interrupt)
    with pytest.raises(SystemExit) as stop:
        main(["doctor"])
    assert stop.value.code == 130


def test_a_fault_of_ours_keeps_its_traceback(monkeypatch):
    from decaseg.workflows import doctor

    monkeypatch.setattr(doctor, "run", lambda *_: {}["no such key"])
    with pytest.raises(KeyError):
        call(["doctor"])


COUNTED = "for _ in range(10_000_000): pass"
COUNTED_S = 0.27  # of a processor that has half a second for --help, and nobody beside it


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"]])
def test_help_answers_at_once(words):
    """Within half a second of processor; on a slower one, or one with neighbours, in what counting takes longer too."""
    taken = [(_processor_s("-m", "decaseg", *words), _processor_s("-c", COUNTED)) for _ in range(5)]
    assert min(help_s / max(1.0, counted_s / COUNTED_S) for help_s, counted_s in taken) < 0.5, taken


def _processor_s(*words):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)


def test_the_command_line_imports_nothing_heavy():
    program = "import sys, json, decaseg.cli; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    heavy = {"torch", "numpy", "scipy", "nibabel", "openvino", "onnxruntime", "matplotlib", "monai"}
    assert not heavy & set(json.loads(done.stdout))


@pytest.mark.parametrize("words", sorted(COMMANDS), ids="-".join)
def test_every_command_says_what_it_does_and_has_its_file(words):
    assert COMMANDS[words].help and call([*words, "--help"]) == 0
    assert (ROOT / "src" / "decaseg" / "workflows" / f"{'_'.join(words).replace('-', '_')}.py").is_file()


def test_every_command_has_a_how_to_of_its_name():
    found = {path.stem for path in (ROOT / "docs" / "how-to").glob("*.md")}
    missing = sorted({"-".join(words) for words in COMMANDS} - found)
    assert not missing, f"docs/how-to lacks {', '.join(missing)}"


@pytest.mark.parametrize(("given", "found"), [({}, "3000"), ({"GOMP_SPINCOUNT": "7"}, "7")])
def test_torchs_threads_wait_asleep_unless_told_otherwise(given, found):
    env = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")} | given
    program = "from decaseg.cli import share_the_processor; share_the_processor(); import torch"
    env["OMP_DISPLAY_ENV"] = "verbose"
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True)
    if "GOMP_SPINCOUNT" not in done.stderr:
        pytest.skip("torch is not built with GNU's OpenMP here")
    assert f"GOMP_SPINCOUNT = '{found}'" in done.stderr
