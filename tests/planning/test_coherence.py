"""Plans whose numbers do not go together are refused in one line that names the file, before anything is built."""

from __future__ import annotations

import copy
import json

import pytest

from decaseg.planning.plan import Plan
from tests.serving.drawn import write_run


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    return json.loads((write_run(tmp_path_factory.mktemp("drawn") / "run") / "plan.json").read_text())


CHANGES = {
    "no channel": (("preprocessing", "channels"), []),
    "two normalisations": (("preprocessing", "normalisation"), [{"kind": "zscore"}] * 2),
    "a channel beyond the file's": (("preprocessing", "channel_indices"), [1]),
    "a channel before the first": (("preprocessing", "channel_indices"), [-1]),
    "files without channels": (("preprocessing", "file_channels"), 0),
    "no spacing": (("preprocessing", "spacing_mm"), [1.0, 0.0, 1.0]),
    "a spacing that is no number": (("preprocessing", "spacing_mm"), [1.0, float("nan"), 1.0]),
    "an endless spacing": (("preprocessing", "spacing_mm"), [1.0, float("inf"), 1.0]),
    "an empty patch": (("patch",), [0, 16, 16]),
    "a patch of a terabyte": (("patch",), [2048, 2048, 2048]),
    "a batch of none": (("batch_size",), 0),
    "a fourth axis": (("mirror_axes",), [3]),
    "an axis twice": (("mirror_axes",), [0, 0]),
    "nothing to outline": (("target", "structures"), []),
    "nothing to paint": (("target", "paint"), [1]),
    "a label beyond uint8": (("target", "paint"), [1, 256]),
    "a structure's label beyond it": (("target", "structures", 0, "labels"), [-1]),
    "inputs of other channels": (("network", "in_channels"), 4),
    "outputs of another target": (("network", "out_channels"), 2),
    "filters without end": (("network", "filters"), [4, 10**9]),
    "a million members": (("network", "members"), 10**6),
    "a kernel of nothing": (("network", "kernels"), [[3, 3, 3], [0, 3, 3]]),
    "a stride of nothing": (("network", "strides"), [[1, 1, 1], [2, 0, 2]]),
}


def test_the_plan_itself_is_sound(document):
    assert json.loads(json.dumps(Plan.from_json(document).to_json())) == document


@pytest.mark.parametrize("change", CHANGES)
def test_what_cannot_be_is_refused(document, change):
    place, value = CHANGES[change]
    changed = copy.deepcopy(document)
    parent = changed
    for key in place[:-1]:
        parent = parent[key]
    assert place[-1] in parent or isinstance(parent, list)
    parent[place[-1]] = value
    with pytest.raises(ValueError, match=r"^here\.json: is not a plan this version can use \([^\n]*\); train or"):
        Plan.from_json(changed, "here.json")
