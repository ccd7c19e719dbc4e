"""The viewer as people see it: in a real browser, by its pixels, its words and its keys."""

from __future__ import annotations

import re

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe

from decaseg.reporting.planes import PLANES, cut, make_scene
from decaseg.reporting.viewer.exhibit import Case, Exhibition
from decaseg.reporting.viewer.server import serving
from decaseg.reporting.viewer.tables import make_table
from decaseg.storage import nifti
from decaseg.volume import Volume
from tests.reporting.phantoms import patient, turned
from tests.reporting.viewer.chromium import page
from tests.reporting.viewer.sight import box_of, head, middle, picture, purple, shrunk


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """Cases: the marked patient along four other axes, one of them slanted, and one whose file is damaged."""
    folder = tmp_path_factory.mktemp("cases")
    cases = []
    for orientation in ("RAS", "LPS", "SLA", "slanted"):
        image, truth = patient()
        if orientation == "slanted":
            c, s = np.cos(0.25), np.sin(0.25)
            turn = np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
            image, truth = (
                Volume.of(turned(v, "PIR").array[0], turn @ turned(v, "PIR").affine) for v in (image, truth)
            )
        else:
            image, truth = turned(image, orientation), turned(truth, orientation)
        paths = [folder / f"{orientation}_{kind}.nii.gz" for kind in ("img", "pred", "msk")]
        for path, volume in zip(paths, (image, truth, truth), strict=True):
            nifti.write(path, volume)
        cases.append(Case(orientation, *paths, dice={"lesion": 0.25 * len(cases)}))
    damaged = folder / "damaged.nii.gz"
    damaged.write_bytes(cases[0].image.read_bytes()[:-20])
    cases.append(Case("damaged", damaged))
    with serving(make_table(Exhibition("phantoms", tuple(cases), {1: "lesion"}))) as server:
        yield server.url


@pytest.fixture(scope="module")
def shared(browser, url):
    """One page for most tests, since each costs seconds without a GPU; its console is judged when all are done."""
    with page(browser, url) as it:
        yield it


@pytest.fixture
def opened(shared):
    turn_to(shared, "RAS")
    return shared


def turn_to(opened, name):
    opened.get_by_role("button", name=re.compile(f"^{name} ")).click()
    opened.wait_for_selector(f"body[data-shown={name}]")


def view(opened, name):
    opened.get_by_role("button", name=name, exact=True).click()
    opened.wait_for_timeout(400)


@pytest.mark.parametrize("index", range(4), ids=["RAS", "LPS", "SLA", "slanted"])
def test_left_is_left(opened, index):
    """The structure is to the patient's right, in front and above: left and up in all three planes, nose left."""
    name = ("RAS", "LPS", "SLA", "slanted")[index]
    turn_to(opened, name)
    for plane in ("Axial", "Coronal", "Sagittal"):
        view(opened, plane)
        pixels = picture(opened)
        down, across = middle(purple(pixels))
        top, bottom, left, right = head(pixels)
        assert across < (left + right) / 2 - 0.04 and down < (top + bottom) / 2 - 0.04, plane
        if name != "slanted":  # true proportions: the head is as wide and high as its millimetres
            sides = {"Axial": (36, 30), "Coronal": (36, 35), "Sagittal": (30, 35)}[plane]
            found = (right - left) * pixels.shape[1] / ((bottom - top) * pixels.shape[0])
            assert found == pytest.approx(sides[0] / sides[1], rel=0.12), plane


def test_left_is_left_in_3d(opened):
    """Seen from each side; the structure is right, in front and above, whatever the order of the axes."""
    turn_to(opened, "SLA")
    view(opened, "3D")
    for side, left, up in (("front", True, True), ("right", False, True), ("back", False, True), ("left", True, True),
                           ("above", True, False)):  # from above, standing in front: the nose is below  # fmt: skip
        opened.keyboard.press("t")
        opened.wait_for_selector(f"canvas[data-side={side}]")
        opened.wait_for_timeout(200)
        assert side in opened.locator("#said").text_content()
        pixels = picture(opened)[:, 60:]  # without the cube
        down, across = middle(purple(pixels, by=10))  # behind the head it is paler
        lit = middle(pixels.sum(axis=2) > 90)
        assert (across < lit[1] - 0.01) == left and abs(across - lit[1]) > 0.01, side
        assert (down < lit[0] - 0.01) == up and abs(down - lit[0]) > 0.01, side
    view(opened, "Axial")  # the next case is laid out sooner without 3D


@pytest.mark.parametrize("plane", PLANES, ids=lambda plane: plane.name)
def test_a_plane_is_the_picture_that_the_overlays_have(opened, plane):
    """The same slice cut by the report's code, grey by grey; its mirror images are not within the tolerance."""
    image, truth = patient()
    scene = make_scene(image, truth, truth, (1,))
    view(opened, plane.name.capitalize())
    opened.keyboard.press("s")
    opened.keyboard.press("4")
    opened.wait_for_timeout(300)
    pixels = picture(opened)
    opened.keyboard.press("4")
    mm = [float(v.replace("−", "-")) for v in re.findall(r"[−\d.]+", opened.locator("#mm").inner_text())]
    index = round((mm[plane.axis] - scene.origin_mm[plane.axis]) / scene.spacing_mm[plane.axis])
    expected = scene.window.grey(cut(scene.image, plane, index))
    line = np.ptp(pixels, axis=2) > 12  # the crosshair
    grey = np.where(line, np.nan, pixels.mean(axis=2))
    inside = scene.spacing_mm[plane.across] * np.ptp(np.flatnonzero((expected > 0).any(axis=0)))
    assert inside > 20
    top, bottom, left, right = head(pixels)
    rows, columns = pixels.shape[:2]
    seen = grey[int(top * rows) : int(bottom * rows), int(left * columns) : int(right * columns)]
    wanted = shrunk(expected[box_of(expected > 0)])
    found = shrunk(np.nan_to_num(seen, nan=np.nanmedian(seen)))
    middle_of_it = (slice(8, 32), slice(8, 32))  # corners hold the ground, and letters
    difference = {"as it is": wanted, "mirrored": wanted[:, ::-1], "upside down": wanted[::-1]}
    apart = {how: float(np.abs(found - it)[middle_of_it].mean()) for how, it in difference.items()}
    assert apart["as it is"] < 8 and min(apart["mirrored"], apart["upside down"]) > apart["as it is"] + 8, apart


def test_a_double_click_enlarges_and_a_right_drag_changes_greys(opened):
    view(opened, "All")
    box = opened.locator("#canvas").bounding_box()
    x, y = box["x"] + 0.25 * box["width"], box["y"] + 0.25 * box["height"]
    opened.mouse.dblclick(x, y)
    assert opened.get_by_role("button", name="Coronal", exact=True).get_attribute("aria-pressed") == "true"
    opened.keyboard.press("r")  # the clicks have moved the crosshair
    opened.wait_for_timeout(300)
    before = picture(opened).mean()
    opened.mouse.move(x, y)
    opened.mouse.down(button="right")
    opened.mouse.move(x, y + 80)  # down: brighter
    opened.mouse.up(button="right")
    opened.wait_for_timeout(300)
    assert picture(opened).mean() > before + 5
    opened.keyboard.press("r")
    opened.wait_for_timeout(300)
    assert picture(opened).mean() == pytest.approx(before, abs=1)
    opened.mouse.dblclick(x, y)
    assert opened.get_by_role("button", name="All", exact=True).get_attribute("aria-pressed") == "true"


def test_axe_finds_nothing(opened):
    """The page, and its list of keys; axe-core comes with axe-playwright-python."""
    for key in ("s", "?"):
        opened.keyboard.press(key)
        found = Axe().run(opened).response["violations"]
        assert not found, [(v["id"], [node["html"] for node in v["nodes"]]) for v in found]
    opened.keyboard.press("Escape")


def test_the_words_say_where_the_crosshair_is_and_what_is_there(opened):
    mm = opened.locator("#mm").inner_text()
    x, y, z = (float(v.replace("−", "-")) for v in re.findall(r"[−\d.]+", mm))
    assert -20 + 1.5 * 14.5 <= x <= -20 + 1.5 * 18.5 and -30 + 17.5 <= y <= -30 + 23.5
    assert 12 + 2.5 * 7.5 <= z <= 12 + 2.5 * 10.5
    words = opened.locator("#location").inner_text()
    assert "Truth:" in words and "lesion" in words and "right" in words
    opened.keyboard.press("ArrowRight")  # the picture's right is the patient's left
    moved = float(re.findall(r"[−\d.]+", opened.locator("#mm").inner_text())[0].replace("−", "-"))
    assert moved == pytest.approx(x - 1.5, abs=0.06)


def test_a_pointer_on_a_structure_shows_its_name(opened):
    view(opened, "Axial")
    down, across = middle(purple(picture(opened)))
    box = opened.locator("#canvas").bounding_box()
    opened.mouse.move(box["x"] + across * box["width"], box["y"] + down * box["height"])
    assert opened.locator("#hover").inner_text().strip() == "right"
    opened.mouse.move(box["x"] + 8, box["y"] + box["height"] - 8)
    assert opened.locator("#hover").is_hidden()


def test_layers_go_and_come_by_key_by_box_and_by_slider(opened):
    view(opened, "Axial")
    full = purple(picture(opened)).sum()
    opened.keyboard.press("4")
    opened.wait_for_timeout(300)
    assert purple(picture(opened)).sum() < 0.02 * full
    opened.get_by_label("Right or wrong", exact=True).check()
    opened.wait_for_timeout(300)
    assert purple(picture(opened)).sum() == pytest.approx(full, rel=0.05)
    opened.get_by_label("Opacity of right or wrong").fill("5")
    opened.wait_for_timeout(300)
    assert purple(picture(opened)).sum() < 0.1 * full
    opened.get_by_label("Opacity of right or wrong").fill("60")
    opened.get_by_label("Outlines only").check()
    opened.wait_for_timeout(300)
    assert 0.1 * full < purple(picture(opened)).sum() < 0.9 * full
    opened.get_by_label("Outlines only").uncheck()
    opened.get_by_role("checkbox", name=re.compile("^right")).uncheck()  # the legend's own switch
    opened.wait_for_timeout(300)
    assert purple(picture(opened)).sum() < 0.02 * full
    opened.get_by_role("checkbox", name=re.compile("^right")).check()


def test_cases_are_turned_by_buttons_keys_and_the_list(opened):
    assert opened.get_by_role("button", name=re.compile("Previous")).is_disabled()
    opened.get_by_role("button", name=re.compile("Next")).click()
    opened.wait_for_selector("body[data-shown=LPS]")
    assert opened.locator("#place").inner_text() == "2 of 5" and "0.250" in opened.locator("#score").inner_text()
    opened.keyboard.press("p")
    opened.wait_for_selector("body[data-shown=RAS]")
    opened.get_by_role("button", name=re.compile("^SLA")).click()
    opened.wait_for_selector("body[data-shown=SLA]")


def test_keys_faster_than_loading_never_mix_two_cases(opened):
    turn_to(opened, "slanted")
    view(opened, "Axial")
    slow, words = picture(opened), opened.locator("#location").inner_text()
    turn_to(opened, "RAS")
    for key in "nnpnn":
        opened.keyboard.press(key)
    opened.wait_for_selector("body[data-shown=slanted]")
    opened.wait_for_timeout(1500)
    assert opened.locator("#location").inner_text() == words and opened.locator("#case").inner_text() == "slanted"
    assert np.abs(picture(opened) - slow).mean() < 0.5


def test_3d_and_montage_are_drawn(opened):
    for name in ("3D", "Montage"):
        view(opened, name)
        opened.wait_for_timeout(400)
        pixels = picture(opened)
        assert (pixels.sum(axis=2) > 90).mean() > 0.03 and purple(pixels).sum() > 40, name


def test_the_list_of_keys_opens_and_closes(opened):
    opened.keyboard.press("?")
    assert opened.get_by_role("dialog").is_visible() and "next case" in opened.get_by_role("dialog").inner_text()
    opened.keyboard.press("Escape")
    assert opened.get_by_role("dialog").is_hidden()


def test_every_control_has_a_name(opened):
    for role in ("button", "checkbox", "slider", "combobox"):
        for control in opened.get_by_role(role).all():
            label = control.aria_snapshot()
            assert re.search(r'"[^"]+"', label.splitlines()[0]), label


def test_a_phone_is_not_scrolled_sideways(browser, url):
    with page(browser, url, 390, 844) as phone:
        width = phone.locator("body").bounding_box()["width"]
        assert width <= 390
        for element in phone.locator("button, input, select, #location, #mm").all():
            box = element.bounding_box()
            assert box is None or box["x"] + box["width"] <= 391, element.aria_snapshot()
        down, across = middle(purple(picture(phone)))
        assert across < 0.75 and down < 0.9


def test_a_damaged_case_says_so_and_the_next_one_is_shown(opened):
    opened.get_by_role("button", name=re.compile("^damaged")).click()
    opened.wait_for_selector("body[data-shown='']", state="attached")
    assert "damaged.nii.gz" in opened.get_by_role("alert").inner_text()
    assert purple(picture(opened)).sum() == 0, "another case's picture stands beside this one's name"
    assert not opened.locator("#location").inner_text() and not opened.locator("#facts").inner_text()
    opened.keyboard.press("p")
    opened.wait_for_selector("body[data-shown=slanted]")
    assert opened.locator("#message").is_hidden()
