from __future__ import annotations

import io

import pytest
from rich.text import Text

from decaseg.reporting import score_table
from decaseg.reporting.score_table import print_scores


def statistic(mean):
    return {"mean": mean, "median": 0.9, "std": 0.1, "ci95": [0.81, 0.92], "n": 12}


def document(structure="edema", mean=0.8731, **more):
    rows = {"dice": statistic(mean), "hd95_mm": statistic(12.5), "assd_mm": statistic(1.5)}
    return {"mean_dice": mean, "structures": {structure: rows}, **more}


def printed(found, encoding="utf-8"):
    text = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    print_scores(found, file=text)
    text.flush()
    return text.buffer.getvalue().decode(encoding).splitlines()


def test_the_table_has_a_bar_mean_interval_and_number_of_cases():
    lines = printed(document())
    assert lines[0].split() == ["structure", "Dice", "mean", "95", "%", "interval", "HD95", "n"]  # NSD is not there
    assert lines[1].split() == ["edema", "████████▊", "0.873", "0.810", "to", "0.920", "12.50", "12"]
    assert "mean Dice 0.873" in lines[-1]
    assert any("metrics.json" in line and "assd_mm" in line for line in lines)


@pytest.mark.parametrize(("mean", "bar"), [(0.0, ""), (0.5, "█████"), (1.0, "██████████"), (0.0125, "▏")])
def test_a_bar_is_as_long_as_its_share(mean, bar):
    assert printed(document(mean=mean))[1].split()[1:-6] == ([bar] if bar else [])


def test_all_columns_fit_eighty_without_colour_and_without_block_letters():
    rows = {key: statistic(103.25 if key == "hd95_mm" else 0.8731) for key in
            ("dice", "hd95_mm", "nsd", "sensitivity", "precision", "iou")}  # fmt: skip
    found = {"mean_dice": 0.9, "structures": {"a structure with a rather long name": rows, "b": rows}}
    for encoding in ("utf-8", "ascii"):
        lines = printed(found, encoding)
        assert max(map(len, lines)) <= 80 and not any("\x1b" in line for line in lines)
        numbers = [line for line in lines if "103.25" in line]
        assert len(numbers) == 2 and all(line.rstrip().endswith("0.873 12") for line in numbers)
    assert "#########" in numbers[0]


def test_in_a_terminal_the_bar_is_purple_unless_no_color_is_set(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert any("38;2;178;92;255" in line for line in printed(document()))
    monkeypatch.setenv("NO_COLOR", "1")
    lines = printed(document())
    assert not any("38;" in line for line in lines) and any("█" in line for line in lines)


def test_the_worst_cases_are_named_first_to_be_looked_at():
    dice = {"a": 0.9, "b": 0.2, "c": 0.5, "d": 0.7}
    cases = {case: {"edema": {"dice": value}, "core": {}} for case, value in dice.items()}
    assert "lowest Dice: b 0.200, c 0.500, d 0.700" in printed(document(cases=cases))
    assert not any("lowest" in line for line in printed(document(cases={"a": cases["a"]})))


def test_lesions_and_groups_have_their_own_lines():
    found = document()
    found["structures"]["edema"] |= {key: statistic(2.0) for key in ("lesion_dice", "lesions_found", "lesions_missed")}
    group = {"n": 3, "mean_dice_statistics": statistic(0.5),
             "structures": {"edema": {"dice": statistic(0.4)}, "core": {"dice": statistic(0.6)}}}  # fmt: skip
    found["groups"] = {"column": "[scanner]", "groups": {"[b]A[/b]": group}}
    lines = printed(found)
    heading = next(i for i, line in enumerate(lines) if "lesion by lesion" in line)
    assert "found" in lines[heading] and "missed" in lines[heading] and "2.000" in lines[heading + 1]
    assert any(line.startswith("[scanner]") for line in lines)
    assert any(line.startswith("[b]A[/b]") and "0.500" in line for line in lines)
    assert any(line.startswith("  core") and "0.600" in line for line in lines)


def test_names_are_text_not_markup():
    assert any("[bold]core[/]" in line for line in printed(document("[bold]core[/]")))
    assert Text(score_table.EIGHTHS).cell_len == 9
