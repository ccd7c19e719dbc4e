import io

from decaseg.reporting.table import print_scores


def document(structure="edema", mean=0.8731):
    value = {"mean": mean, "median": 0.9, "std": 0.1, "ci95": [0.81, 0.92], "n": 12}
    return {"mean_dice": mean, "structures": {structure: {"dice": value, "hd95_mm": value | {"mean": 12.5}}}}


def test_the_table_has_mean_interval_and_number_of_cases():
    text = io.StringIO()
    print_scores(document(), file=text)
    lines = text.getvalue().splitlines()
    dice = next(line for line in lines if " dice " in line)
    assert all(word in dice for word in ("edema", "0.873", "0.810 to 0.920", "12"))
    assert any("hd95_mm" in line and "12.50" in line for line in lines)
    assert "mean Dice 0.873" in lines[-1]
    assert max(map(len, lines)) <= 80


def test_names_are_text_not_markup():
    text = io.StringIO()
    print_scores(document("[bold]core[/]"), file=text)
    assert "[bold]core[/]" in text.getvalue()
