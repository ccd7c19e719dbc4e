"""The report as people see it: opened from disk in a real browser, on a desktop, a phone and on paper."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from importlib.resources import files

import pytest

from decaseg.reporting.material import Beside
from decaseg.reporting.page import build_report
from tests.reporting.evaluations import (
    add_calibration,
    add_turning,
    write_benchmark,
    write_bundle,
    write_evaluation,
    write_run,
)
from tests.reporting.viewer.chromium import PATIENCE_MS

CASES = [f"case_{i:02d}" for i in range(12)]
DESKTOP, PHONE = (1400, 900), (390, 844)
PAYLOADS = (  # names that would be code if anything took them for it
    "<script>hit()</script>",
    "</script><script>hit()</script>",
    "<img src=x onerror=hit()>",
    "<svg onload=hit()>",
    '" onmouseover="hit()" x="',
    "' onfocus='hit()' autofocus='",
    "</title><script>hit()</script>",
    "</style><script>hit()</script>",
    "</svg><script>hit()</script>",
    "<iframe src=javascript:hit()></iframe>",
    "<a href=javascript:hit()>x</a>",
    "<img src=https://example.org/seen>",
    "<link rel=stylesheet href=https://example.org/seen.css>",
    "<style>body{background:url(https://example.org/seen)}</style>",
    "<meta http-equiv=refresh content='0;url=https://example.org/'>",
    "<base href=https://example.org/>",
    "<form action=https://example.org/><button>",
    "{{ 7 * 7 }}{% raw %}",
    "<!--<script>hit()//",
    "javascript:hit()//\u202e&lt;script&gt;hit()&lt;/script&gt;",
)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A page with every section, two versions compared, and a case of which nothing was predicted."""
    folder = tmp_path_factory.mktemp("whole")
    here = write_evaluation(folder / "evaluation", CASES, shift=0.03, engine="openvino")
    document = json.loads((here / "metrics.json").read_text())
    document["cases"]["case_03"]["core"] |= {"dice": 0.0, "volume_ml": 0.0}
    (here / "metrics.json").write_text(json.dumps(document))
    add_calibration(here)
    add_turning(here, CASES[-1])
    write_run(folder / "run", ["other"], CASES)
    write_bundle(folder / "bundle")
    write_benchmark(folder / "benchmark", ("run", "bundle", "third"))
    there = write_evaluation(folder / "old", CASES)
    return build_report(folder, Beside(compare=there))


@contextmanager
def opened(browser, path, size=DESKTOP, scheme="light"):
    """The page, loaded; afterwards AssertionError for all that went to its console or would have left this machine."""
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.add_init_script("window.hit = () => { window.wasHit = true; }")
    told, asked = [], []
    page.on("console", lambda message: told.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: told.append(f"dialog: {dialog.message}"))
    try:
        page.goto(path.as_uri())
        yield page
        assert not page.evaluate("window.wasHit"), "a name ran as code"
        assert not told, told
        assert not [a for a in asked if not a.startswith("data:") and a != path.as_uri()], asked
    finally:
        context.close()


def violations(page):
    """What axe-core finds wrong, with the elements; its script comes from a package, never from a network."""
    pytest.importorskip("axe_playwright_python", reason="needs axe-playwright-python, of the extra dev")
    # By the debugger's door: the page's own policy lets no foreign script in, as it should.
    page.evaluate((files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [(v["id"], v["impact"], [n["target"] for n in v["nodes"]][:3]) for v in found]


@pytest.mark.parametrize(("size", "scheme"), [(DESKTOP, "dark"), (PHONE, "light")])
def test_axe_finds_nothing(browser, path, size, scheme):
    with opened(browser, path, size, scheme) as page:
        for details in page.locator("details").all():
            details.evaluate("part => { part.open = true; }")
        assert violations(page) == []
        if size == DESKTOP:
            page.get_by_role("button", name="Enlarge case_11").first.click()
            assert violations(page) == []


def test_a_run_alone_passes_too(browser, tmp_path):
    run = build_report(write_run(tmp_path / "run", ["a"], ["b"]))
    with opened(browser, run, PHONE) as page:
        assert violations(page) == []


def test_a_phone_is_not_scrolled_sideways_and_its_charts_can_be_read(browser, path):
    with opened(browser, path, PHONE) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
        heights = page.evaluate(
            "[...document.querySelectorAll('.chart > svg .tick')].map(t => t.getBoundingClientRect().height)"
        )
        assert len(heights) > 50 and min(heights) >= 11, min(heights)


def shown(page):
    return page.locator("#case-table tbody tr:visible").evaluate_all("rows => rows.map(row => row.dataset.case)")


def test_cases_are_sorted_and_filtered_by_keyboard(browser, path):
    with opened(browser, path) as page:
        assert shown(page)[0] == "case_03"  # the worst comes first
        heading = page.get_by_role("button", name="Case", exact=True)
        heading.focus()
        page.keyboard.press("Enter")
        assert shown(page) == CASES
        page.keyboard.press("Enter")
        assert shown(page) == CASES[::-1]
        assert page.locator("th[aria-sort=descending]").inner_text().startswith("Case")
        page.get_by_label("Case", exact=True).fill("_1")
        assert shown(page) == ["case_11", "case_10"] and page.locator("#count").inner_text() == "2 of 12"
        page.get_by_label("Case", exact=True).fill("")
        page.get_by_label("with findings only").check()
        assert shown(page) == ["case_03"] and "missed" in page.locator("#case-table tbody tr:visible").inner_text()
        page.get_by_label("with findings only").uncheck()
        page.get_by_label("Mean Dice below").fill("0.6")
        assert shown(page) == ["case_03", "case_02", "case_01", "case_00"]
        page.locator("#metric").select_option("hd95_mm")
        assert "3.00 mm" in page.locator("#case-table tbody").inner_text()
        page.get_by_role("button", name="Change of Dice").click()
        assert shown(page)[0] == "case_03"


def test_a_case_opens_by_its_name_its_dot_and_its_finding_and_is_turned_by_arrow_keys(browser, path):
    with opened(browser, path) as page:
        dialog, name = page.get_by_role("dialog"), page.locator("#viewer-name")
        page.locator("#case-table").get_by_role("button", name="case_05").click()
        assert dialog.is_visible() and name.inner_text() == "case_05"
        page.keyboard.press("ArrowRight")
        assert name.inner_text() == "case_06"
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("ArrowLeft")
        assert name.inner_text() == "case_04" and "core 0.663" in page.locator("#viewer-scores").inner_text()
        page.keyboard.press("Escape")
        assert dialog.is_hidden()
        page.locator(".dot[data-case=case_07]").first.click()
        assert name.inner_text() == "case_07"
        page.keyboard.press("Escape")
        page.locator("#failures").get_by_role("button", name="case_03").first.click()
        assert name.inner_text() == "case_03"


def test_words_come_up_beside_the_pointer(browser, path):
    with opened(browser, path) as page:
        dot = page.locator("#volumes .dot[data-case=case_05]").first
        dot.scroll_into_view_if_needed()
        dot.hover()
        assert (
            page.locator("#tip").inner_text().splitlines()[0] == "case_05" and "ml" in page.locator("#tip").inner_text()
        )
        page.mouse.move(2, 2)
        assert page.locator("#tip").is_hidden()


def ground(page):
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


def test_colours_follow_the_system_until_somebody_chooses_and_are_remembered(browser, path):
    with opened(browser, path, scheme="dark") as page:
        dark = ground(page)
        page.get_by_text("Light", exact=True).click()
        light = ground(page)
        assert light != dark
        page.reload()
        assert ground(page) == light
        page.get_by_text("Auto", exact=True).click()
        assert ground(page) == dark
    with opened(browser, path) as page:
        assert ground(page) == light


def test_paper_has_everything_opened_and_nothing_cut(browser, path, tmp_path):
    with opened(browser, path) as page:
        assert page.locator("#documents .tree").first.is_hidden()
        page.emulate_media(media="print")
        page.set_viewport_size({"width": 700, "height": 1000})  # about what A4 leaves
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert page.locator("#documents .tree").first.is_visible() and page.locator(".gallery img").first.is_visible()
        assert page.locator(".controls").is_hidden() and page.locator(".contents").is_hidden()
        edges = page.evaluate(
            "[...document.querySelectorAll('table, .chart, img')].filter(e => e.checkVisibility())"
            ".map(e => [e.className, e.getBoundingClientRect().right])"
        )
        assert len(edges) > 10 and max(right for _, right in edges) <= 701, edges
        page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert page.locator("details[open]").count() == 1  # the turning view, which is open from the start
        pdf = page.pdf(prefer_css_page_size=True)
        assert pdf.startswith(b"%PDF") and pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page ") >= 4


def test_hostile_names_run_nothing_and_fetch_nothing(browser, tmp_path):
    """As names of cases, structures, channels, groups, labels, settings, models, and of the folder's own."""
    structures = tuple(p for p in PAYLOADS if "/" not in p)[:3]
    run = write_run(tmp_path / "run", list(PAYLOADS), list(PAYLOADS))
    (run / "plan.json").write_text(json.dumps({"channels": PAYLOADS, "labels": dict.fromkeys(PAYLOADS, PAYLOADS[0])}))
    part = {"n": 1, "structures": {}, "mean_dice_statistics": {"mean": 0.5}}
    more = {
        "groups": {"column": PAYLOADS[0], "groups": dict.fromkeys(PAYLOADS, part)},
        "shown": {"channels": PAYLOADS, "labels": {"1": PAYLOADS[1]}},
        "selection": PAYLOADS[2],
        "engine": PAYLOADS[3],
    }
    folder = write_evaluation(tmp_path / PAYLOADS[3], list(PAYLOADS), structures, shift=0.05, **more)
    add_calibration(folder)
    there = write_evaluation(tmp_path / PAYLOADS[2], list(PAYLOADS), structures)
    bench = write_benchmark(tmp_path / "benchmark", PAYLOADS[:4])
    page_path = build_report(folder, Beside(run, None, bench, there), tmp_path / "page.html")
    with opened(browser, page_path) as page:
        seen = shown(page)
        assert sorted(seen) == sorted(PAYLOADS)
        cells = page.locator("#case-table tbody th").all_inner_texts()
        assert sorted(cells) == sorted(PAYLOADS)
        for details in page.locator("details").all():
            details.evaluate("part => { part.open = true; }")
        for dot in page.locator("#spreads .dot").all()[:20]:
            dot.dispatch_event("pointermove")
        page.locator("#case-table .open").first.click()
        page.keyboard.press("ArrowRight")
        page.wait_for_timeout(300)
        assert page.locator("script").count() == 2 and page.locator("form").count() == 1
        assert page.locator("iframe, link[rel=stylesheet], base, object, embed").count() == 0
        named = "[...document.querySelectorAll('*')].flatMap(e => [...e.attributes].map(a => a.name))"
        assert not [name for name in page.evaluate(named) if name.startswith("on")]


def test_the_policy_stops_a_script_that_got_in(browser, path, tmp_path):
    """Names are escaped; were one not, the policy would still let no script run and no request leave."""
    text = path.read_text(encoding="utf-8")
    inside = "<script>document.title = 'HIT'</script>"
    inside += "<img src=x onerror=\"document.title='HIT'\"><img src=https://example.org/x>"
    bad = tmp_path / "bad.html"
    bad.write_text(text.replace("<main", inside + "<main", 1), encoding="utf-8")
    context = browser.new_context()
    page = context.new_page()
    failed = []
    page.on("console", lambda message: failed.append(message.text))
    page.goto(bad.as_uri())
    until = time.monotonic() + PATIENCE_MS / 1000
    while sum("Content Security Policy" in f for f in failed) < 3:
        assert time.monotonic() < until, failed
        page.wait_for_timeout(100)
    page.wait_for_timeout(300)
    assert "HIT" not in page.title()
    context.close()
