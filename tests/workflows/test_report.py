from __future__ import annotations

import subprocess
import sys

from decaseg.cli import call
from decaseg.storage import nifti
from decaseg.workflows import report
from tests.reporting.evaluations import write_bundle, write_evaluation, write_run
from tests.reporting.phantoms import patient
from tests.reporting.viewer.chromium import page


def test_the_page_lies_in_the_folder_and_its_place_is_said(tmp_path, capsys):
    folder = write_evaluation(tmp_path / "evaluation", ["a", "b"])
    assert report.run(folder) == 0
    page = folder / "report" / "index.html"
    assert page.is_file() and str(page) in capsys.readouterr().out
    assert report.run(folder) == 0  # again, over the old one


def test_run_evaluation_and_bundle_go_to_one_page(tmp_path, capsys):
    run = write_run(tmp_path / "r", ["x"], ["a", "b"])
    folder = write_evaluation(tmp_path / "e", ["a", "b"])
    out = tmp_path / "deep" / "page.html"
    assert report.run(folder, run=run, bundle=write_bundle(tmp_path / "b"), out=out) == 0
    text = out.read_text(encoding="utf-8")
    assert all(f">{title}</h2>" in text for title in ("Structures", "Training", "Export"))
    assert not (folder / "report").exists()


def test_pages_in_3d_lie_beside_the_report_which_links_them(tmp_path, capsys):
    folder = write_evaluation(tmp_path / "an evaluation", ["a", "b", "c", "d"])
    image, truth = patient()
    for case in "abcd":
        for kind, volume in (("img", image), ("pred", truth), ("msk", truth)):
            nifti.write(folder / "predictions" / f"{case}_{kind}.nii.gz", volume)
    assert call(["report", str(folder), "--viewer"]) == 0
    assert sorted(p.name for p in (folder / "report" / "view").iterdir()) == ["a.html", "c.html", "d.html"]
    text = (folder / "report" / "index.html").read_text(encoding="utf-8")
    assert 'href="view/a.html"' in text and "decaseg view &#39;an evaluation&#39; --case a" in text
    assert call(["report", str(folder), "--viewer-case", "b", "d", "--out", str(tmp_path / "r.html")]) == 0
    assert sorted(p.name for p in (tmp_path / "view").iterdir()) == ["b.html", "d.html"]
    assert call(["report", str(folder), "--viewer-case", "x"]) == 2
    assert "--viewer-case x: is not in" in capsys.readouterr().err


def test_a_link_of_the_report_opens_the_case_in_3d(browser, tmp_path):
    folder = write_evaluation(tmp_path / "e", ["a", "b", "c"])
    image, truth = patient()
    for kind, volume in (("img", image), ("pred", truth), ("msk", truth)):
        nifti.write(folder / "predictions" / f"a_{kind}.nii.gz", volume)
    assert report.run(folder, viewer=True) == 0
    with page(browser, (folder / "report/index.html").as_uri(), ready="#cases") as opened:
        opened.get_by_role("link", name="a in 3D").click()
        opened.wait_for_selector("body[data-shown=a]")
        opened.go_back()
        assert opened.locator("#cases").is_visible()


def test_options_that_lead_nowhere_are_one_line(tmp_path, capsys):
    folder = write_evaluation(tmp_path / "e", ["a", "b"])
    for option, words in (
        ("--compare", "is no evaluation (it has no metrics.json)"),
        ("--benchmark", "has no benchmark.json"),
        ("--run", "is no RUN"),
        ("--out", "is a folder"),
    ):
        assert call(["report", str(folder), option, str(tmp_path)]) == 2
        told = capsys.readouterr().err
        assert words in told and len(told.strip().splitlines()) == 1
    assert not (folder / "report").exists()


def test_what_is_neither_run_nor_evaluation_is_one_line_that_names_what_is_missing(tmp_path, capsys):
    assert call(["report", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert "plan.json" in told and "metrics.json" in told and len(told.strip().splitlines()) == 1


def test_comparing_from_the_command_line(tmp_path):
    here, there = (write_evaluation(tmp_path / name, ["a", "b"]) for name in ("here", "there"))
    assert call(["report", str(here), "--compare", str(there)]) == 0
    assert "Compared with there" in (here / "report" / "index.html").read_text(encoding="utf-8")


def test_reporting_brings_neither_torch_nor_matplotlib():
    code = (
        "import sys, decaseg.workflows.report; assert not {'torch', 'matplotlib', 'PIL', 'nibabel'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
