"""The command as people call it: a process of its own, its URL, its end."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager

import pytest

from decaseg.cli import call
from decaseg.storage import nifti
from decaseg.workflows.view import Wishes, gather
from tests.reporting.evaluations import write_evaluation
from tests.reporting.phantoms import patient
from tests.synthetic import write_dataset


@pytest.fixture
def data(tmp_path):
    return write_dataset(tmp_path / "data", cases=1, channels=("FLAIR", "T2"))


@pytest.fixture
def evaluation(tmp_path):
    """Three cases, `b` the worst, one of them without files; labels named by metrics.json."""
    folder = write_evaluation(
        tmp_path / "e", ["b", "a", "c"], shown={"labels": {"1": "core", "2": "rim"}, "channel": 0}
    )
    image, truth = patient()
    for case in ("a", "b"):
        for kind, volume in (("img", image), ("pred", truth), ("msk", truth)):
            nifti.write(folder / "predictions" / f"{case}_{kind}.nii.gz", volume)
    return folder


@contextmanager
def viewing(*words, browser="--no-browser"):
    """A running `decaseg view`: its process and the URL it printed; `browser` is a program or None for no screen."""
    screens = ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY")
    environment = {name: value for name, value in os.environ.items() if name not in screens}
    if browser == "--no-browser":
        words = (*words, browser)
    elif browser is not None:
        environment["BROWSER"] = str(browser)
    command = [sys.executable, "-m", "decaseg", "view", *map(str, words)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        line = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+/[\w-]{32,}/", line)
        assert found, line + process.stderr.read()
        yield process, found.group()
    finally:
        process.kill()
        process.communicate()


def fetch(url):
    with urllib.request.urlopen(url, timeout=300) as answer:
        return answer.read()


def test_an_image_is_served_with_names_of_its_data_set_until_ctrl_c(data, tmp_path):
    image, truth = data / "imagesTr/case_000.nii.gz", data / "labelsTr/case_000.nii.gz"
    with viewing(image, "--truth", truth, "--prediction", truth) as (process, url):
        facts = json.loads(fetch(f"{url}0/case.json"))
        assert [c["name"] for c in facts["channels"]] == ["FLAIR", "T2"]
        assert [p["name"] for p in facts["layers"][0]["parts"]] == ["anterior", "posterior"]
        (tmp_path / "x.nii").write_bytes(fetch(f"{url}0/image-1.nii"))
        assert (nifti.read(tmp_path / "x.nii").array[0] == nifti.read(image).array[1]).all()
        assert b"Niivue" in fetch(f"{url}niivue.js") and b"<canvas" in fetch(url)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=300)
        assert process.returncode == 130 and "Traceback" not in err
    with pytest.raises(OSError):
        fetch(url)


def test_sigterm_ends_it_with_0(data):
    with viewing(data / "imagesTr/case_000.nii.gz") as (process, _):
        process.terminate()
        assert process.wait(300) == 0


def test_the_browser_is_opened_at_the_address(data, tmp_path):
    """BROWSER is what webbrowser asks first; a program that writes down what it was given stands for one."""
    seen = tmp_path / "seen"
    program = tmp_path / "browser"
    program.write_text(f'#!/bin/sh\nprintf %s "$1" > {seen}.part && mv {seen}.part {seen}\n')
    program.chmod(0o700)
    with viewing(data / "imagesTr/case_000.nii.gz", browser=program) as (process, url):
        process.stdout.readline()
        until = time.monotonic() + 300
        while not seen.exists() and time.monotonic() < until:
            fetch(f"{url}cases.json")
            time.sleep(0.05)
        assert seen.read_text() == url


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere there is always a screen")
def test_without_a_screen_no_text_browser_takes_the_terminal(data):
    with viewing(data / "imagesTr/case_000.nii.gz", browser=None) as (process, url):
        assert "Ctrl-C" in process.stdout.readline() and "open the address" in process.stdout.readline()
        assert fetch(f"{url}cases.json")


def test_an_evaluation_is_browsed_worst_first(evaluation):
    with viewing(evaluation) as (_, url):
        listed = json.loads(fetch(f"{url}cases.json"))
        assert [c["name"] for c in listed["cases"]] == ["b", "a"]  # c has no files
        assert listed["cases"][0]["dice"] == {"core": 0.5, "rim": 0.5}
        facts = json.loads(fetch(f"{url}0/case.json"))
        assert [layer["key"] for layer in facts["layers"]] == ["prediction", "truth", "verdict"]
        assert facts["layers"][0]["parts"][0]["name"] == "core"


def test_a_folder_around_the_evaluation_will_do_and_a_case_can_be_chosen(evaluation):
    evaluation.rename(evaluation.parent / "evaluation")
    exhibition = gather(evaluation.parent, Wishes(case="a", labels=("1=other",)))
    assert exhibition.start == 1 and exhibition.names == {1: "other"}


def test_an_older_evaluation_has_its_names_from_its_run(evaluation):
    document = json.loads((evaluation / "metrics.json").read_text())
    document.pop("shown")
    (evaluation / "metrics.json").write_text(json.dumps(document))
    target = {"kind": "all", "structures": [{"name": "core", "labels": [1]}], "paint": [1]}
    (evaluation / "plan.json").write_text(json.dumps({"target": target, "preprocessing": {"channel_indices": [0]}}))
    assert gather(evaluation, Wishes()).names == {}
    (evaluation / "evaluation.json").write_text('{"run": "."}')
    assert gather(evaluation, Wishes()).names == {1: "core"}


def test_names_of_cases_lead_nowhere(evaluation, tmp_path):
    document = json.loads((evaluation / "metrics.json").read_text())
    nifti.write(tmp_path / "x_img.nii.gz", patient()[0])
    document["cases"]["../../x"] = document["cases"]["a"]
    (evaluation / "metrics.json").write_text(json.dumps(document))
    assert [case.name for case in gather(evaluation, Wishes()).cases] == ["b", "a"]


def test_links_lead_nowhere_outside_the_evaluation(evaluation, tmp_path):
    """A folder that was sent must not bring along what it does not hold; inside it, and of it, links are fine."""
    (tmp_path / "there").symlink_to(evaluation)
    kept = evaluation / "predictions" / "a_img.nii.gz"
    kept.rename(evaluation / "elsewhere.nii.gz")
    kept.symlink_to(evaluation / "elsewhere.nii.gz")
    assert [case.name for case in gather(tmp_path / "there", Wishes()).cases] == ["b", "a"]
    kept.unlink()
    nifti.write(tmp_path / "private.nii.gz", patient()[0])
    kept.symlink_to(tmp_path / "private.nii.gz")
    with pytest.raises(ValueError, match=r"a_img\.nii\.gz: is a link that leads out"):
        gather(evaluation, Wishes())


def test_what_evaluate_wrote_is_shown_with_its_names(tiny, tmp_path):
    out = tmp_path / "evaluation"
    words = ["--data", f"{tiny}/data", "--out", f"{out}", "--threads", "1", "--no-pictures"]
    assert call(["evaluate", f"{tiny}/run", *words]) == 0
    exhibition = gather(out, Wishes())
    assert exhibition.names == {1: "anterior", 2: "posterior"} and list(exhibition.channels) == ["MRI"]
    assert exhibition.cases and all(c.prediction and c.truth and c.dice for c in exhibition.cases)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["{data}/none.nii.gz"], "there is no such file"),
        (["{data}"], "has no metrics.json"),
        (["{image}", "--truth", "{data}/labelsTr"], "is a folder"),
        (["{image}", "--truth", "{other}"], "has shape"),
        (["{image}", "--case", "x"], "--case x"),
        (["{image}", "--labels", "edema"], "write 1=edema"),
        (["{image}", "--port", "{port}"], "--port"),
        (["{image}", "--terminal", "--plane", "oblique"], "--plane oblique"),
        (["{scored}"], "score does not"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_bad_use_is_one_line_and_exit_2(data, tmp_path, words, says, capsys):
    nifti.write(tmp_path / "other.nii.gz", patient()[1])
    write_evaluation(tmp_path / "scored", ["a"])
    with socket.create_server(("127.0.0.1", 0)) as taken:
        places = {"data": data, "image": data / "imagesTr/case_000.nii.gz", "other": tmp_path / "other.nii.gz",
                  "port": taken.getsockname()[1], "scored": tmp_path / "scored"}  # fmt: skip
        assert call(["view", *(word.format(**places) for word in words), "--no-browser"]) == 2
    line = capsys.readouterr().err.strip()
    assert says in line and "\n" not in line


def test_a_slice_in_the_terminal(evaluation, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    assert call(["view", f"{evaluation}", "--terminal"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("b  Dice 0.500  axial") and "R = right" in shown and "RRR" in shown


def test_an_image_alone_in_the_terminal_needs_no_names(data, capsys):
    assert call(["view", f"{data}/imagesTr/case_000.nii.gz", "--terminal", "--plane", "coronal"]) == 0
    assert "coronal, y" in capsys.readouterr().out
