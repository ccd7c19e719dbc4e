"""The guide's cells in a real kernel, what they leave in the notebook, and that in a browser."""

from __future__ import annotations

import base64
import io
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import decaseg
from decaseg.cli import call
from decaseg.inference.predictor import Prediction
from decaseg.storage import nifti
from decaseg.storage.dataset import CaseFiles
from decaseg.volume import Volume
from decaseg.workflows.notebook import is_label_map, read_evaluation
from tests.reporting.evaluations import HOSTILE, write_evaluation
from tests.reporting.phantoms import patient
from tests.reporting.viewer.chromium import chromium, page

GUIDE = Path(__file__).parents[2] / "docs" / "how-to" / "notebooks.md"


@pytest.fixture(scope="module")
def notebook(tiny, tmp_path_factory):
    """The guide, run by a Jupyter kernel beside the folders that it names; its cells with outputs."""
    nbformat = pytest.importorskip("nbformat", reason="needs nbclient, of the extra dev")
    client = pytest.importorskip("nbclient", reason="needs nbclient, of the extra dev")
    folder = tmp_path_factory.mktemp("notebook")
    (folder / "Task04_Hippocampus").symlink_to(tiny / "data")
    (folder / "run").symlink_to(tiny / "run")
    words = ["--data", f"{tiny}/data", "--out", f"{folder}/evaluation", "--threads", "1", "--no-pictures"]
    assert call(["evaluate", f"{tiny}/run", *words]) == 0
    cells = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    client.NotebookClient(book, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    assert (folder / "mine.nii.gz").is_file()
    return book


def shown(cell):
    """The HTML that a cell left; nothing may be on its standard error."""
    assert not [o for o in cell.outputs if o.output_type == "stream"], cell.outputs
    return "".join(o.data.get("text/html", "") for o in cell.outputs if o.output_type == "execute_result")


def test_every_cell_of_the_guide_shows_what_it_says(notebook):
    texts = [shown(cell) for cell in notebook.cells]
    wants = ["anterior", "voxels of", "<iframe", "posterior", None, "mean Dice", "Dice 0", "<iframe"]
    assert len(texts) == len(wants)
    for text, want, cell in zip(texts, wants, notebook.cells, strict=True):
        assert (want is None and not text) or want in text or want in picture_words(text), cell.source
        assert text.count("data:image/png;base64,") == (1 if want not in (None, "<iframe") else 0), cell.source


def picture_words(text):
    """What stands beside the picture for those who do not see it."""
    return " ".join(re.findall(r'alt="([^"]*)"', text))


def test_a_browser_shows_pictures_and_frames_without_asking_anyone(notebook, tmp_path):
    body = "<hr>".join(shown(cell) for cell in notebook.cells)
    saved = tmp_path / "notebook.html"
    saved.write_text(f"<!doctype html><title>n</title><body>{body}</body>", encoding="utf-8")
    with chromium() as browser, page(browser, saved.as_uri(), ready="iframe") as opened:
        widths = opened.eval_on_selector_all("img", "all => all.map(i => i.complete && i.naturalWidth)")
        assert len(widths) == 5 and min(widths) > 1000
        frame = opened.frames[1]
        frame.wait_for_selector("body[data-shown]")
        assert "anterior" in frame.locator("#parts").inner_text()
        assert frame.evaluate("() => { try { return parent.document.title } catch { return 'closed' } }") == "closed"


def picture(html):
    data = re.search(r"data:image/png;base64,([^\"]+)", html).group(1)
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")).astype(int)


def test_a_label_map_is_told_from_an_image(tmp_path):
    image, truth = patient()
    assert is_label_map(truth) and not is_label_map(image)
    assert not is_label_map(Volume.of(np.arange(60, dtype=np.int16).reshape(3, 4, 5)))
    assert not is_label_map(Volume.of(-truth.array[0].astype(np.int16)))
    html = truth._repr_html_()
    assert "label map" in html and "24 × 30 × 14 voxels of 1.5 × 1 × 2.5 mm, RAS" in html
    assert "float32 from" in image._repr_html_()


def test_a_case_and_a_prediction_have_their_names(tmp_path):
    image, truth = patient()
    for name, volume in (("a", image), ("b", truth)):
        nifti.write(tmp_path / f"{name}.nii.gz", volume)
    case = CaseFiles("a", tmp_path / "a.nii.gz", tmp_path / "b.nii.gz", structures={1: "lesion"})
    for thing in (case, Prediction(truth, image=image, names={1: "lesion"})):
        html = thing._repr_html_()
        pixels = picture(html)
        green = (pixels[..., 1] - pixels[..., 0] > 40) & (pixels[..., 1] > 90)
        assert green.sum() > 500, "the structure's colour is not in the picture"
    assert "label 1" not in html
    plain = Prediction(truth)._repr_html_()  # of `predict`, which has no image at hand
    assert "data:image/png" in plain


def test_an_evaluation_of_score_has_no_picture_and_no_case_to_open(tmp_path):
    folder = write_evaluation(tmp_path / "e", ["b", "a", HOSTILE], structures=("core", HOSTILE))
    found = read_evaluation(str(folder))
    html = found._repr_html_()
    assert "0.700" in html and "0.600 to 0.800" in html and "<img" not in html and "<script" not in html
    assert found.cases == ("b", "a", HOSTILE)
    with pytest.raises(ValueError, match="no image of a case 'b'"):
        found["b"]
    with pytest.raises(ValueError, match=r"metrics\.json"):
        read_evaluation(tmp_path)


def test_what_cannot_be_read_is_a_sentence_not_a_traceback(tmp_path):
    html = CaseFiles("a", tmp_path / "<none>.nii.gz", None)._repr_html_()
    assert "&lt;none&gt;.nii.gz: there is no such file" in html
    with pytest.raises(ValueError, match="leave it out"):
        patient()[0].show(case="a")


def test_without_pillow_there_is_text():
    program = (
        "import sys; sys.modules['PIL'] = None; sys.modules['PIL.Image'] = None\n"
        "import numpy as np; from decaseg.volume import Volume\n"
        "print(Volume.of(np.ones((2, 3, 4)))._repr_html_())"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert "no picture" in done.stdout and "decaseg[report]" in done.stdout and "2 × 3 × 4 voxels" in done.stdout


def test_a_volume_alone_draws_nothing_until_it_is_shown():
    program = (
        "import sys, decaseg; from decaseg import read; from decaseg.volume import Volume\n"
        "assert not {'torch', 'decaseg.workflows', 'decaseg.reporting'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    assert set(decaseg.__all__) >= {"load", "read", "read_dataset", "read_evaluation", "write"}
