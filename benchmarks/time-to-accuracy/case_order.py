"""Mean Dice by the number in a case's name, fifty at a time, and how much of a case's Dice that number explains.

python benchmarks/time-to-accuracy/case_order.py EVALUATION ...

EVALUATION: folders of `decaseg evaluate`, say one a fold, so that each case is scored by a model that never saw it.
"""

from __future__ import annotations

import argparse
import csv
import re
import statistics
from collections import defaultdict
from pathlib import Path

TOGETHER = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("evaluations", nargs="+", type=Path, metavar="EVALUATION")
    dice: dict[int, list[float]] = defaultdict(list)
    for folder in parser.parse_args().evaluations:
        with (folder / "metrics.csv").open(newline="") as rows:
            for row in csv.DictReader(rows):
                dice[int(re.findall(r"\d+", row["case"])[-1])].append(float(row["dice"]))
    cases = {number: statistics.mean(values) for number, values in dice.items()}
    for start in range(0, max(cases) + 1, TOGETHER):
        found = [mean for number, mean in cases.items() if start <= number < start + TOGETHER]
        if found:
            print(f"{start:4d} to {start + TOGETHER - 1:4d}  {len(found):3d} cases  {statistics.mean(found):.4f}")
    r = statistics.correlation(list(cases), list(cases.values()))
    print(f"{len(cases)} cases, mean Dice {statistics.mean(cases.values()):.4f}, correlation with the number {r:.2f}")


if __name__ == "__main__":
    main()
