from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest

from decaseg.reporting.material import Beside
from decaseg.reporting.page import build_report
from decaseg.reporting.pictures import small_width
from tests.reporting.evaluations import (
    HOSTILE,
    add_calibration,
    add_turning,
    write_benchmark,
    write_bundle,
    write_evaluation,
    write_run,
)

CASES = ["case_1", "case_2", "case_3", "case_4", "case_5"]
VOID = {"meta", "link", "img", "input", "br"}


class Outline(HTMLParser):
    """The tags of a page, its headings' text, and whether every tag is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and data.strip():
            self.texts.append((self.open[-1], data.strip()))

    def of(self, tag):
        return [text for where, text in self.texts if where == tag]


def text_of(path):
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    write_run(folder / "run", ["other"], CASES)
    write_evaluation(folder / "evaluation", CASES, selection="These cases chose the checkpoint", engine="openvino")
    write_bundle(folder / "bundle")
    write_benchmark(folder / "benchmark")
    add_calibration(folder / "evaluation")
    add_turning(folder / "evaluation", "case_4")
    return text_of(build_report(folder))


def test_one_page_has_every_section(whole):
    outline = Outline(whole)
    assert outline.of("h2") == [
        "Structures",
        "Case by case",
        "Worst, median and best",
        "What went wrong",
        "Volumes",
        "Calibration",
        "All cases",
        "Training",
        "Export",
        "Speed against Dice",
        "How it was made",
    ]
    for words in ("0.700", "mean Dice over 5 cases", "95 % interval", "All 5 cases are among the run&#39;s validation",
                  "These cases chose the checkpoint.", "The log has no end", "2 unreadable lines", "0.8975", "−0.0025",
                  "0.0100", "32 × 40 × 24", "2 × 2 × 2; 1 × 2 × 2", "0.600 to 0.800", "Overconfident",
                  "openvino int8", "volumes come out too small"):  # fmt: skip
        assert words in whole, words
    headings = re.findall(r'<span class="rank">(\w+)</span> <bdi>(\S+)</bdi> ', whole)
    assert headings == [("Worst", "case_1"), ("Median", "case_4"), ("Best", "case_5")]  # case_2 has no picture


def test_nothing_is_fetched_from_anywhere(whole):
    assert not re.search(r"(?:https?:)?//[a-z]", re.sub(r"\"data:[^\"]*\"|'sha256-[^']*'", "", whole), re.IGNORECASE)
    for tag, attributes in Outline(whole).tags:
        for name in ("src", "href", "srcset", "action", "data"):
            assert (attributes.get(name) or "#").startswith(("#", "data:")), (tag, name)
    assert "default-src 'none'" in whole and "unsafe-inline" not in whole


def test_pictures_have_words_and_tables_have_headings(whole):
    tags = Outline(whole).tags
    images = [attributes for tag, attributes in tags if tag == "img" and attributes.get("id") != "viewer-image"]
    assert len(images) == 3 + 3 + 1 + 1  # stills and scrolling of three cases, one turns; the gallery has the fourth
    assert all(attributes["alt"] and attributes["width"] for attributes in images)
    charts = [attributes for tag, attributes in tags if tag == "svg" and attributes.get("aria-hidden") != "true"]
    assert len(charts) == 2 + 2 + 2 + 4 + 1 and all(attributes["aria-label"] for attributes in charts)
    assert all(attributes.get("scope") for tag, attributes in tags if tag == "th")
    assert [attributes["lang"] for tag, attributes in tags if tag == "html"] == ["en"]


def test_hostile_names_stay_text(tmp_path):
    cases = ["a<b>&\"'", "</script><script>alert(1)", "__proto__", "x" * 200]
    folder = write_evaluation(tmp_path / "evaluation", cases[:1], selection=HOSTILE)
    write_evaluation(tmp_path / "more", cases, (HOSTILE, '" onload="alert(2)'))
    write_run(tmp_path / "run", [], [])
    for path in (build_report(folder, Beside(run=tmp_path / "run")), build_report(tmp_path / "more")):
        page = text_of(path)
        outline = Outline(page)
        assert sum(tag == "script" for tag, _ in outline.tags) == 2
        assert not any(name.startswith("on") for _, attributes in outline.tags for name in attributes)
        assert HOSTILE not in page
    assert any(HOSTILE in text for text in Outline(page).of("th"))


def test_a_run_alone_has_curves_and_says_its_score_flatters(tmp_path):
    page = text_of(build_report(write_run(tmp_path / "run", ["a"], ["b", "c"])))
    outline = Outline(page)
    assert outline.of("h2") == ["Training", "How it was made"]
    assert outline.of("figcaption") == ["Validation Dice", "Training loss", "Learning rate", "Waiting for data"]
    assert "0.600" in page and "best validation Dice, epoch 4" in page and "flatters" in page


def test_a_run_that_was_killed_at_once_has_a_page(tmp_path):
    run = write_run(tmp_path / "run", ["a"], ["b"])
    (run / "log.jsonl").write_text('{"event": "sta')
    assert "No score yet" in text_of(build_report(run))


def test_an_evaluation_alone_says_what_it_does_not_know(tmp_path):
    folder = write_evaluation(tmp_path / "evaluation", ["only"], ("whole",))
    page = text_of(build_report(folder))
    assert "one case: no interval" in page and "does not say which cases chose" in page
    assert "wrong structure" not in page  # there is only one


def test_cases_that_were_trained_on_are_told(tmp_path):
    run = write_run(tmp_path / "run", CASES[:2], CASES[2:])
    page = text_of(build_report(write_evaluation(tmp_path / "evaluation", CASES), Beside(run=run)))
    assert "2 of the 5 cases were trained on" in page


def test_groups_have_a_table_and_odd_ones_do_no_harm(tmp_path):
    statistic = {"mean": 0.4321, "median": 0.5, "std": 0.1, "quartiles": [0.312, 0.623], "ci95": [0.3, 0.5], "n": 2}
    part = {"n": 2, "mean_dice_statistics": statistic, "structures": {"core": {"dice": statistic}, "rim": 3}}
    groups = {"column": HOSTILE, "file": "x.csv", "groups": {"GE": part, "odd": None, "empty": {"structures": {}}}}
    page = text_of(build_report(write_evaluation(tmp_path / "evaluation", CASES, groups=groups)))
    assert any(text.startswith("Dice by <script>") for text in Outline(page).of("h2"))
    assert "0.432" in page and "0.300 to 0.500" in page and ">GE</th>" in page and HOSTILE not in page
    for broken in ({"groups": [1]}, [1], {"groups": {}}):
        folder = write_evaluation(tmp_path / f"broken {len(list(tmp_path.iterdir()))}", CASES, groups=broken)
        assert "Dice by" not in text_of(build_report(folder))


def test_scores_without_numbers_do_not_break_the_page(tmp_path):
    folder = write_evaluation(tmp_path / "evaluation", ["a", "b"])
    cases = '{"a": {"x": {"dice": null}}, "b": {}}'
    odd = f'{{"mean_dice": NaN, "structures": {{"x": {{"dice": {{"mean": null}}}}}}, "cases": {cases}}}'
    (folder / "metrics.json").write_text(odd)
    assert "not given" in text_of(build_report(folder))


def test_a_damaged_overlay_is_named(tmp_path):
    folder = write_evaluation(tmp_path / "evaluation", ["a"])
    (folder / "overlays" / "a.png").write_bytes(b"not a picture")
    with pytest.raises(ValueError, match=r"a\.png: cannot be read as a picture"):
        build_report(folder)
    assert not (folder / "report").exists()


def test_many_cases_get_smaller_pictures():
    assert small_width(3) == 1080 and small_width(500) < 400 and small_width(100_000) == 300


def test_the_headline_has_the_interval_that_the_scores_have(tmp_path):
    """Bootstrapped anew it would differ in the last digit from what `evaluate` printed."""
    write_evaluation(tmp_path / "evaluation", CASES)
    metrics = tmp_path / "evaluation" / "metrics.json"
    document = json.loads(metrics.read_text())
    document["mean_dice_statistics"] = {"mean": 0.7, "median": 0.7, "ci95": [0.6124, 0.7876], "n": 5}
    metrics.write_text(json.dumps(document))
    assert "95 % interval 0.612 to 0.788" in text_of(build_report(tmp_path / "evaluation"))


def test_sums_of_predictions_are_not_for_readers(tmp_path):
    sums = dict.fromkeys(CASES, "5eed" * 16)
    page = text_of(build_report(write_evaluation(tmp_path / "e", CASES, predictions_sha256=sums, engine="onnx")))
    assert "onnx" in page and "5eed5eed" not in page and "predictions_sha256" not in page


def test_two_evaluations_stand_side_by_side(tmp_path):
    cases = [f"case_{i}" for i in range(8)]
    here = write_evaluation(tmp_path / "new", cases, shift=0.05)
    there = write_evaluation(tmp_path / "old", [*cases, "extra"])
    page = text_of(build_report(here, Beside(compare=there)))
    outline = Outline(page)
    assert outline.of("h2")[0] == "Compared with old"
    assert "new is better than old." in page and "1 case only in old: extra." in page
    assert "Change of Dice" in outline.of("th") and "Better here" in outline.of("h3")
    assert page.count("as it is here") == page.count("as it is there") > 0


def test_names_with_bytes_that_are_no_text_are_shown_with_a_question_mark(tmp_path):
    page = text_of(build_report(write_evaluation(tmp_path / "e", ["a\udcff", "b"])))
    assert "a?" in page


def test_one_epoch_is_said_in_words(tmp_path):
    run = write_run(tmp_path / "run", ["a"], ["b"])
    (run / "log.jsonl").write_text('{"event": "epoch", "epoch": 1, "step": 9, "train_loss": 1.25, "lr": 0.001}\n')
    page = text_of(build_report(run))
    assert "One epoch was logged: training loss 1.25, learning rate 0.001." in page and "<figure" not in page


def test_a_page_that_cannot_be_built_leaves_the_old_one(tmp_path):
    folder = write_evaluation(tmp_path / "evaluation", ["a", "b", "c"])
    before = build_report(folder).read_bytes()
    (folder / "overlays" / "c.png").write_bytes(b"not a picture")
    with pytest.raises(ValueError, match="cannot be read as a picture"):
        build_report(folder)
    assert (folder / "report" / "index.html").read_bytes() == before
    assert [p.name for p in (folder / "report").iterdir()] == ["index.html"]


def test_pages_of_the_viewer_are_linked_where_there_are_some(tmp_path):
    folder = write_evaluation(tmp_path / "an evaluation", CASES)
    assert "Open in 3D" not in text_of(build_report(folder))
    (folder / "predictions").mkdir()
    page = text_of(build_report(folder, links={"case_1": "view/a%20b.html", "case_2": "view/c.html"}))
    assert page.count('href="view/a%20b.html"') == 2 and page.count('href="view/c.html"') == 1  # case_2 is not featured
    assert "decaseg view &#39;an evaluation&#39; --case case_1" in page
