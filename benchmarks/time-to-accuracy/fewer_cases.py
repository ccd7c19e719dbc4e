"""A split for `train --split`: the validation cases of a RUN, and N of its training cases, the same ones every time.

python benchmarks/time-to-accuracy/fewer_cases.py RUN N > split.json
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("count", type=int, metavar="N")
    wishes = parser.parse_args()
    split = json.loads((wishes.run / "splits.json").read_text())
    train = sorted(split["train"])
    if not 0 < wishes.count <= len(train):
        parser.error(f"N: the RUN trained on {len(train)} cases; give 1 to {len(train)}")
    random.Random(0).shuffle(train)
    print(json.dumps({"train": sorted(train[: wishes.count]), "val": sorted(split["val"])}))


if __name__ == "__main__":
    main()
