"""The viewer fed 20 names with HTML and script: none runs, no request leaves, all are shown as the text they are.

The report has the same in tests/reporting/test_page_in_chromium.py.
"""

from __future__ import annotations

import numpy as np
import pytest

from decaseg.reporting.viewer.case_page import write_case_page
from decaseg.reporting.viewer.exhibit import Case, Exhibition
from decaseg.reporting.viewer.server import serving
from decaseg.reporting.viewer.tables import make_table
from decaseg.storage import nifti
from decaseg.volume import Volume
from tests.reporting.test_page_in_chromium import PAYLOADS
from tests.reporting.viewer.chromium import page


@pytest.fixture(scope="module")
def exhibition(tmp_path_factory):
    """A case, a label value and a channel for every payload; its Dice under such names, too."""
    folder = tmp_path_factory.mktemp("hostile")
    rng = np.random.default_rng(0)
    label = rng.integers(0, len(PAYLOADS) + 1, (8, 9, 7)).astype(np.uint8)
    nifti.write(folder / "image.nii.gz", Volume.of(rng.integers(0, 99, (20, 8, 9, 7)).astype(np.uint8)))
    nifti.write(folder / "label.nii.gz", Volume.of(label))
    files = (folder / "image.nii.gz", folder / "label.nii.gz", folder / "label.nii.gz")
    cases = tuple(Case(name, *files, dice=dict.fromkeys(PAYLOADS, 0.5)) for name in PAYLOADS)
    assert len(PAYLOADS) == 20
    return Exhibition(PAYLOADS[1], cases, dict(enumerate(PAYLOADS, 1)), PAYLOADS)


def nothing_ran(opened):
    """No element and no attribute that a name could have made; what ran or left is judged by `page`."""
    made = "iframe, base, form[action], object, embed, meta[http-equiv=refresh], img[src=x]"
    assert opened.locator(made).count() == 0
    named = "[...document.querySelectorAll('*')].flatMap(e => [...e.attributes].map(a => a.name))"
    assert not [name for name in opened.evaluate(named) if name.startswith("on")]
    assert "example.org" not in opened.url


def test_hostile_names_are_text_in_the_viewer(browser, exhibition):
    with serving(make_table(exhibition)) as server, page(browser, server.url) as opened:
        scripts = opened.locator("script").count()
        text = opened.locator("body").inner_text()
        assert PAYLOADS[0] in text and opened.title().startswith(PAYLOADS[0])
        for _ in range(3):
            before = opened.get_attribute("body", "data-shown")
            opened.keyboard.press("n")
            opened.wait_for_function("before => document.body.dataset.shown != before", arg=before)
        assert opened.locator("script").count() == scripts
        nothing_ran(opened)


def test_hostile_names_are_text_on_a_page_of_one_case(browser, exhibition, tmp_path):
    path = write_case_page(tmp_path / "case.html", exhibition, 0)
    with page(browser, path.as_uri()) as opened:
        assert opened.title() == PAYLOADS[0]
        nothing_ran(opened)
