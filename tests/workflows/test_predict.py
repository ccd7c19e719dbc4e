"""`decaseg predict` as a person uses it: folders, kills, shares, ensembles, engines."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from decaseg.cli import call
from decaseg.storage import nifti
from decaseg.storage.files import write_json
from decaseg.storage.finished import Finished


def predict(model, *words):
    return call(["predict", str(model), *map(str, words), "--threads", "1"])


def labels(folder):
    return {path.name: nifti.read(path).array for path in sorted(folder.glob("*.nii.gz"))}


@pytest.fixture
def images(tiny, tmp_path):
    """A folder of its own with the tiny data set's images."""
    return Path(shutil.copytree(tiny / "data" / "imagesTr", tmp_path / "images"))


def test_a_folder_gives_what_each_image_gives_by_itself_and_says_where_time_went(tiny, images, tmp_path, capsys):
    assert predict(tiny / "bundle", images, "--probabilities", "--out", tmp_path / "all") == 0
    said = capsys.readouterr()
    assert "6 predicted in" in said.out and "network" in said.out and "memory: about" in said.err
    assert said.err.count("prepare") == 6
    for image in images.iterdir():
        assert predict(tiny / "bundle", image, "--probabilities", "--out", tmp_path / "one") == 0
    all_of_them, one_by_one = labels(tmp_path / "all"), labels(tmp_path / "one")
    assert len(all_of_them) == 12
    assert len({array.tobytes() for name, array in all_of_them.items() if "probabilities" in name}) == 6
    for name, array in all_of_them.items():
        np.testing.assert_array_equal(array, one_by_one[name])
    record = json.loads((tmp_path / "all" / ".finished" / "case_000.json").read_text())
    assert set(record["seconds"]) == {"read", "prepare", "network", "restore", "write"}


def redone(capsys, model, *words):
    """How many cases were predicted again."""
    capsys.readouterr()
    assert predict(model, *words) == 0
    return int(capsys.readouterr().out.split()[0])


def test_finished_cases_are_not_redone_until_anything_differs(tiny, images, tmp_path, capsys):
    out, bundle = tmp_path / "out", tmp_path / "bundle"
    shutil.copytree(tiny / "bundle", bundle)
    words = images, "--out", out
    assert redone(capsys, bundle, *words) == 6
    assert redone(capsys, bundle, *words) == 0
    assert redone(capsys, bundle, *words, "--step", "0.4") == 6  # another option
    assert redone(capsys, bundle, *words, "--step", "0.4", "--uncertainty") == 6
    assert redone(capsys, bundle, *words) == 6 and redone(capsys, bundle, *words) == 0
    (out / "case_003.nii.gz").unlink()  # a prediction that is gone
    assert redone(capsys, bundle, *words) == 1
    nifti.write(out / "case_003.nii.gz", nifti.read(images / "case_003.nii.gz"))  # or replaced by something else
    assert redone(capsys, bundle, *words) == 1
    (out / ".finished" / "case_002.json").write_text("{")  # a damaged record
    assert redone(capsys, bundle, *words) == 1
    (images / "case_001.nii.gz").write_bytes((images / "case_000.nii.gz").read_bytes())  # another image
    assert redone(capsys, bundle, *words) == 1
    document = json.loads((bundle / "bundle.json").read_text())
    write_json(bundle / "bundle.json", document | {"selection": "of another training"})  # another model
    assert redone(capsys, bundle, *words) == 6


UNHURRIED = """
import sys, time
from decaseg.storage.finished import Finished
real, count = Finished.write, []

def write(*words, **more):
    real(*words, **more)
    count.append(1)
    time.sleep(0.5 * (len(count) >= 5))

Finished.write = write
from decaseg.cli import main
main(sys.argv[1:])
"""  # the command, which from the fifth case on takes its time: who wants to disturb it need not hurry


def disturbed(model, images, out, threads, number):
    """`predict` of 66 cases gets the signal after five: its exit code and what it said on standard error."""
    for copy in range(60):
        shutil.copyfile(images / "case_000.nii.gz", images / f"more_{copy:03d}.nii.gz")
    words = [sys.executable, "-c", UNHURRIED, "predict", model, images, "--out", out, "--threads", threads]
    process = subprocess.Popen([*map(str, words)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 300
    while len(list(out.glob(".finished/[!.]*.json"))) < 5:  # hidden ones are being written
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    _, errors = process.communicate(timeout=300)
    return process.returncode, errors


def test_a_kill_costs_only_what_was_not_finished(tiny, images, tmp_path, capsys):
    out = tmp_path / "out"
    assert disturbed(tiny / "bundle", images, out, 1, signal.SIGKILL)[0] == -signal.SIGKILL
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("*.nii.gz")}
    done = {path.stem for path in out.glob(".finished/[!.]*.json")}
    assert 5 <= len(done) < 66
    for path in out.glob("*.nii.gz"):
        nifti.read(path)  # whole
    (out / ".more_059.12345678.tmp.nii.gz").write_bytes(b"half")  # what a kill in the middle of writing leaves
    assert redone(capsys, tiny / "bundle", images, "--out", out) == 66 - len(done)
    assert len(labels(out)) == 66 and not list(out.glob(".*.tmp*"))
    after = {path.name: path.stat().st_mtime_ns for path in out.glob("*.nii.gz")}
    assert all(after[f"{case}.nii.gz"] == before[f"{case}.nii.gz"] for case in done)


def test_torchruns_processes_share_the_cases(tiny, images, tmp_path):
    assert predict(tiny / "bundle", images, "--probabilities", "--out", tmp_path / "alone") == 0
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launcher, "-m", "decaseg", "predict", tiny / "bundle", images, "--out", tmp_path / "two",
               "--probabilities", "--threads", "1"]  # fmt: skip
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "process 1 of 2: 3 predicted" in done.stdout and "process 2 of 2: 3 predicted" in done.stdout
    alone, two = labels(tmp_path / "alone"), labels(tmp_path / "two")
    assert alone.keys() == two.keys()
    for name, array in alone.items():
        np.testing.assert_array_equal(array, two[name])


def test_a_process_without_cases_is_content(tiny, images, tmp_path, monkeypatch, capsys):
    for name, value in (("RANK", "7"), ("WORLD_SIZE", "8"), ("LOCAL_WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    assert predict(tiny / "bundle", images, "--out", tmp_path / "out") == 0
    assert "process 8 of 8: 0 predicted" in capsys.readouterr().out


@pytest.mark.parametrize("threads", ["1", "2"])  # one after the other, side by side
def test_an_interruption_leaves_whole_files_and_answers_130(tiny, images, tmp_path, threads):
    out = tmp_path / "out"
    code, errors = disturbed(tiny / "bundle", images, out, threads, signal.SIGINT)
    assert code == 130 and "Traceback" not in errors, errors
    assert not list(out.glob(".*.tmp*")) and 5 <= len(labels(out)) < 66


def test_an_ensemble_averages_and_refuses_what_does_not_belong(tiny, images, tmp_path, capsys):
    image, other = images / "case_000.nii.gz", tmp_path / "other"
    shutil.copytree(tiny / "bundle", other)
    words = image, "--probabilities", "--uncertainty", "--out"
    assert predict(tiny / "bundle", *words, tmp_path / "one") == 0
    assert predict(tiny / "bundle", *words, tmp_path / "both", "--with", other, "--with", tiny / "run") == 0
    one, both = labels(tmp_path / "one"), labels(tmp_path / "both")
    assert sorted(one) == [f"case_000{kind}.nii.gz" for kind in ("", "_probabilities", "_uncertainty")]
    assert (one["case_000.nii.gz"] == both["case_000.nii.gz"]).mean() > 0.99
    document = json.loads((other / "bundle.json").read_text())
    document["plan"]["preprocessing"]["spacing_mm"] = [2.0, 2.0, 2.0]
    write_json(other / "bundle.json", document)
    capsys.readouterr()
    assert predict(tiny / "bundle", *words, tmp_path / "both", "--with", other) == 2
    assert "differs from" in (said := capsys.readouterr().err) and "in spacing mm;" in said


def test_nothing_is_written_over_an_image(tiny, images, capsys):
    assert predict(tiny / "bundle", images, "--out", images) == 2
    assert "would overwrite" in capsys.readouterr().err
    assert nifti.read(images / "case_000.nii.gz").array.dtype == np.int16


def test_what_does_not_fit_is_refused_before_it_starts(tiny, images, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("decaseg.workflows.predict.available_memory_gib", lambda: 0.01)
    monkeypatch.setattr("decaseg.workflows.predict._resident_gib", lambda: 0.0)
    assert predict(tiny / "bundle", images, "--probabilities", "--out", tmp_path / "out") == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert "needs about" in said and "leave out --probabilities" in said and not (tmp_path / "out").exists()


def test_many_cases_in_a_row_need_no_more_memory_than_a_few(tiny, images, tmp_path):
    for number in range(60):
        shutil.copyfile(images / "case_000.nii.gz", images / f"more_{number:03d}.nii.gz")
    command = [sys.executable, "-m", "decaseg", "predict", str(tiny / "bundle"), str(images), "--threads", "1"]
    process = subprocess.Popen([*command, "--out", str(tmp_path / "out")], stderr=subprocess.PIPE, text=True,
                               stdout=subprocess.DEVNULL)  # fmt: skip
    sizes = []
    for line in process.stderr:
        if line.startswith(("case_", "more_")):
            pages = Path(f"/proc/{process.pid}/statm").read_text().split()
            sizes.append(int(pages[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20)
    assert process.wait() == 0 and len(sizes) == 66
    assert max(sizes[-10:]) < max(sizes[5:15]) + 10, sizes


def test_three_lines_of_a_notebook(tiny, images):
    program = "\n".join([
        "import sys, decaseg",
        "assert not {'numpy', 'torch', 'nibabel'} & set(sys.modules)",
        "from decaseg import load, read",
        f"predictor = load({str(tiny / 'bundle')!r}, threads=1)",
        f"labels = predictor(read({str(images / 'case_000.nii.gz')!r})).labels",
        "assert labels.array.dtype == 'uint8' and labels.shape == (24, 28, 20) and 'torch' not in sys.modules",
    ])  # fmt: skip
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_record_of_something_else_is_no_record(tmp_path):
    finished, output = Finished(tmp_path), tmp_path / "a.nii.gz"
    output.write_bytes(b"x")
    finished.write("a", {"step": 0.5}, [output])
    assert finished.is_done("a", {"step": 0.5}, [output])
    assert not finished.is_done("a", {"step": 0.4}, [output]) and not finished.is_done("b", {"step": 0.5}, [output])
    finished.record("a").write_text("[]")
    assert not finished.is_done("a", {"step": 0.5}, [output])
