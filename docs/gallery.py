"""Draws docs/images and writes docs/gallery.md from a demo's evaluation, whose cases are generated.

python docs/gallery.py demo/evaluation [--case DEMO_005]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from decaseg.reporting import turning
from decaseg.reporting.animation import draw_scrolling
from decaseg.reporting.look import Look
from decaseg.reporting.overlay import case_caption, known_labels, lay, poster
from decaseg.reporting.planes import make_scene
from decaseg.storage import nifti
from decaseg.volume import Volume

DOCS = Path(__file__).parent
MOST_BYTES = 1_500_000
STILL_WIDTH = 1440  # of posters in the gallery, as WebP; the README's keeps its 1920 pixels

PAGE = """# Gallery

Cases that `decaseg demo` generated, predicted by the network that it trained in {minutes} minutes: nobody's images. All
of it is made by

```
decaseg demo --out demo --minutes {minutes}
python docs/gallery.py demo/evaluation --case {case}
```

`make gallery` does it with the demo's 3 minutes and the case of median Dice.

`decaseg evaluate` writes the same for every case, into `overlays/` ([how to](how-to/evaluate.md)).

## Overlays

Three planes through the structure and slices through all of it, hung as radiologists do: the patient's right is on the
left. Colours say what is right, what is a false positive and what was missed; with several structures, voxels that were
called another structure have a colour of their own, and lines follow the true structures.

![Overlay: purple right, red false positive, blue missed, orange wrong structure](images/demo-overlay.png)

All structures as one, as Intel's model for brain tumours outlined them:

![Overlay of the whole tumour](images/overlay-whole.webp)

`--palette safe`: any two of its colours stay apart for readers without red or green cones.

![The same in green, vermilion, blue and pale yellow](images/overlay-safe.webp)

`--outlines`: nothing covers the image. Coloured lines are the prediction, thin white ones the truth.

![The same as outlines](images/overlay-outlines.webp)

## What moves

Turning, drawn without a graphics card or a display (`<case>_3d.webp` and `.gif`): the brain is glass, what is right is
solid, errors are glass over it. The letters on the floor turn with the patient.

![A turning brain of glass with the tumour: purple right, red false positive, blue missed](images/demo-turning.webp)

Several structures get a second panel in their own colours:

![Two turning brains: right and wrong, and the predicted structures](images/turning-structures.webp)

Scrolling from foot to head (`<case>.webp` and `.gif`):

![Slices scroll past with the overlay](images/scrolling.webp)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("evaluation", type=Path)
    parser.add_argument("--case", help="default: the one with the median Dice")
    wishes = parser.parse_args()
    document = json.loads((wishes.evaluation / "metrics.json").read_text())
    case = wishes.case or median_case(document["cases"])
    names = {int(value): name for value, name in document["shown"]["labels"].items()}
    image, prediction, truth = (
        nifti.read(wishes.evaluation / "predictions" / f"{case}_{kind}.nii.gz") for kind in ("img", "pred", "msk")
    )
    draw_all(image, prediction, truth, names, case_caption(case, document["cases"][case]))
    run = json.loads((wishes.evaluation / "evaluation.json").read_text())["run"]
    recipe = json.loads((wishes.evaluation / run / "recipe.json").read_text())
    (DOCS / "gallery.md").write_text(PAGE.format(case=case, minutes=f"{recipe['minutes']:g}"))
    for path in sorted((DOCS / "images").iterdir()):
        print(f"{path.name:28} {path.stat().st_size / 1e6:.2f} MB")
        assert path.stat().st_size < MOST_BYTES, f"{path}: too large for the repository"


def median_case(cases: dict) -> str:
    dice = {case: np.mean([row["dice"] for row in rows.values()]) for case, rows in cases.items()}
    return sorted(dice, key=lambda case: dice[case])[len(dice) // 2]


def draw_all(image: Volume, prediction: Volume, truth: Volume, names: dict[int, str], caption: str) -> None:
    turning.MAX_BYTES = 1_200_000  # WebP gets coarser until it fits the repository
    images = DOCS / "images"
    images.mkdir(exist_ok=True)
    scene = make_scene(image, prediction, truth, known_labels(names))
    poster(images / "demo-overlay.png", lay(scene, names), caption)
    whole = [volume.with_array((volume.array > 0).astype(np.uint8)) for volume in (prediction, truth)]
    single = {1: "whole tumour"}
    united = make_scene(image, *whole, (1,))
    both, of_one = (2 * np.sum((whole[0].array > 0) & (whole[1].array > 0)), sum(v.array.sum() for v in whole))
    ml = [float(volume.array.sum()) * image.grid.voxel_ml for volume in whole]
    scores = {"whole tumour": {"dice": both / of_one, "volume_ml": ml[0], "volume_truth_ml": ml[1]}}
    title = case_caption(caption.splitlines()[0], scores)
    still(images / "overlay-whole.webp", lambda path: poster(path, lay(united, single), title))
    still(images / "overlay-safe.webp", lambda path: poster(path, lay(scene, names, Look("safe")), caption))
    lines = lay(scene, names, Look(outlines=True))
    still(images / "overlay-outlines.webp", lambda path: poster(path, lines, caption))
    with TemporaryDirectory() as folder:
        turning.draw_turning(Path(folder) / "one", lay(united, single), title, ("webp",))
        turning.draw_turning(Path(folder) / "several", lay(scene, names), caption, ("webp",))
        draw_scrolling(Path(folder) / "scrolling", lay(scene, names), caption, ("webp",))
        (images / "demo-turning.webp").write_bytes((Path(folder) / "one_3d.webp").read_bytes())
        (images / "turning-structures.webp").write_bytes((Path(folder) / "several_3d.webp").read_bytes())
        (images / "scrolling.webp").write_bytes((Path(folder) / "scrolling.webp").read_bytes())


def still(path: Path, draw) -> None:
    """A poster as a smaller WebP."""
    with TemporaryDirectory() as folder:
        draw(Path(folder) / "a.png")
        with Image.open(Path(folder) / "a.png") as opened:
            height = round(opened.height * STILL_WIDTH / opened.width)
            opened.convert("RGB").resize((STILL_WIDTH, height), Image.Resampling.LANCZOS).save(
                path, quality=86, method=6
            )


if __name__ == "__main__":
    main()
