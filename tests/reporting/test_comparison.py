import io

import numpy as np

from decaseg.metrics import CaseScores, compare
from decaseg.reporting.comparison import conclusion, print_comparison


def document(gain, n=12):
    noise = np.random.default_rng(0).normal(0, 0.01, n)

    def scores(dice):
        return CaseScores({"[b]edema[/b]": {"dice": dice, "hd95_mm": 10 * (1 - dice), "volume_ml": 3.0}})

    first = {f"c{i}": scores(0.8 + gain + (e if gain else 0)) for i, e in enumerate(noise)}
    second = {f"c{i}": scores(0.8) for i in range(n)}
    return {"first": "a[1]", "second": "b"} | compare(first, second).to_json()


def printed(found):
    text = io.StringIO()
    print_comparison(found, file=text)
    return text.getvalue()


def test_the_table_names_the_better_one_a_line_and_fits_the_terminal():
    text = printed(document(0.05))
    lines = text.splitlines()
    assert lines[0] == "first: a[1]"
    dice = next(line for line in lines if " dice " in line)
    assert "[b]edema[/b]" in dice and dice.split()[-1] == "first" and "<0.001" in dice
    assert "volume_ml" not in text
    assert max(len(line) for line in lines if "_mm" in line or " dice " in line) <= 80


def test_words_say_what_can_be_concluded_and_what_not():
    assert conclusion(document(0.05)).startswith("The first is better by 0.05")
    assert conclusion(document(-0.05)).startswith("The second is better by 0.0")
    assert conclusion(document(0.0001)).startswith("No difference is shown, which does not show that they are equal")
    assert conclusion(document(0.05, 5)).startswith("No test can decide: only 5 of 5 cases differ, and it takes 6")
    assert conclusion(document(0.0)).startswith("Both have the same Dice in every one of 12 cases")
    assert "2 name a better one, 2 after Holm's correction" in conclusion(document(0.05))
