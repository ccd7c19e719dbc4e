from __future__ import annotations

import subprocess
import sys

from decaseg.workflows import report
from tests.reporting.evaluations import write_bundle, write_evaluation, write_run


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


def test_reporting_brings_neither_torch_nor_matplotlib():
    code = (
        "import sys, decaseg.workflows.report; assert not {'torch', 'matplotlib', 'PIL', 'nibabel'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
