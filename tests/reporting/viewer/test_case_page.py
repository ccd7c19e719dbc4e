"""A page that carries its case, opened from disk."""

from __future__ import annotations

import re

import numpy as np
import pytest

from decaseg.reporting.viewer import case_page
from decaseg.reporting.viewer.case_page import write_case_page, write_case_pages
from decaseg.reporting.viewer.exhibit import Case, Exhibition
from decaseg.storage import nifti
from decaseg.volume import Volume
from tests.reporting.phantoms import patient, turned
from tests.reporting.viewer.chromium import page
from tests.reporting.viewer.sight import head, middle, picture, purple


def exhibition(folder, name="LPS", image=None):
    volumes = [turned(v, "LPS") for v in patient()]
    if image is not None:
        volumes[0] = image(volumes[0])
    paths = [folder / f"{kind}.nii.gz" for kind in ("img", "pred", "msk")]
    for path, volume in zip(paths, (volumes[0], volumes[1], volumes[1]), strict=True):
        nifti.write(path, volume)
    return Exhibition("e", (Case(name, *paths, dice={"lesion": 0.5}),), {1: "lesion"})


def test_it_opens_from_disk_shows_left_on_the_right_and_asks_nobody(browser, tmp_path):
    path = write_case_page(tmp_path / "a b" / "case.html", exhibition(tmp_path), 0)
    with page(browser, path.as_uri()) as opened:
        assert opened.title() == "LPS" and "0.500" in opened.locator("#score").inner_text()
        opened.get_by_role("button", name="Axial", exact=True).click()
        opened.wait_for_timeout(400)
        pixels = picture(opened)
        (down, across), (top, bottom, left, right) = middle(purple(pixels)), head(pixels)
        assert across < (left + right) / 2 - 0.04 and down < (top + bottom) / 2 - 0.04
        assert "lesion" in opened.locator("#location").inner_text()
        # The image's own values, but for the rounding that the page admits to.
        grey = float(re.search(r"Image: ([\d.]+)", opened.locator("#location").inner_text()).group(1))
        mm = [float(v.replace("−", "-")) for v in re.findall(r"[−\d.]+", opened.locator("#mm").inner_text())]
        image, _ = patient()
        voxel = np.rint(np.linalg.inv(image.affine) @ [*mm, 1.0])[:3].astype(int)
        assert grey == pytest.approx(float(image.array[0][tuple(voxel)]), abs=1.5)
        assert "255 steps" in opened.locator("#facts").inner_text()


def test_names_of_cases_become_plain_file_names_and_text(tmp_path):
    hostile = "../../x/<script>alert(1)</script>&"
    one = exhibition(tmp_path, hostile)
    case = one.cases[0]
    several = Exhibition("e", (case, Case("a/b", case.image), Case("a_b", case.image)), {1: "lesion"})
    written = write_case_pages(tmp_path / "view", several, [hostile, "a/b", "a_b"])
    assert sorted(p.name for p in (tmp_path / "view").iterdir()) == sorted(written.values())
    assert written["a/b"] == "a_b.html" and written["a_b"] == "a_b-2.html"
    assert all(re.fullmatch(r"[\w-][\w.-]*\.html", name) for name in written.values())
    text = (tmp_path / "view" / written[hostile]).read_text(encoding="utf-8")
    assert "<script>alert" not in text and "&lt;script>" in text


def test_a_page_may_load_nothing_and_runs_only_its_own_loader(tmp_path):
    text = write_case_page(tmp_path / "c.html", exhibition(tmp_path), 0).read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text).group(1)
    assert (
        "default-src 'none'" in policy and "http" not in policy and "unsafe-inline" not in policy.split("style-src")[0]
    )
    assert not re.search(r'(?:src|href)="(?!data:|#)', text)


def test_bytes_stay_as_they_are_and_large_images_are_thinned(tmp_path, monkeypatch):
    monkeypatch.setattr(case_page, "MOST_VOXELS", 3000)
    told = []
    monkeypatch.setattr(case_page, "_page", lambda name, files: told.append(files) or "")
    write_case_page(
        tmp_path / "c.html", exhibition(tmp_path, image=lambda v: v.with_array(v.array.astype(np.uint8))), 0
    )
    (tmp_path / "x.nii").write_bytes(told[0]["0/image-0.nii"])
    back, whole = nifti.read(tmp_path / "x.nii"), nifti.read(tmp_path / "img.nii.gz")
    assert (back.array[0] == whole.array[0][::2, ::2]).all() and b'"greys"' not in told[0]["0/case.json"]


def test_values_come_back_within_the_windows_rounding(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(case_page, "_page", lambda name, files: told.append(files) or "")
    for scale in (1e-4, 1.0, 5e4):
        write_case_page(
            tmp_path / "c.html", exhibition(tmp_path, image=lambda v, by=scale: Volume.of(v.array[0] * by, v.affine)), 0
        )
        (tmp_path / "x.nii").write_bytes(told[-1]["0/image-0.nii"])
        back, whole = nifti.read(tmp_path / "x.nii").array, nifti.read(tmp_path / "img.nii.gz").array
        low, high = np.percentile(whole[whole != 0], [0.5, 99.5])
        assert np.abs(back - whole)[whole != 0].max() <= 1.01 * (high - low) / 255
