"""Opens whatever stands for MODEL on the command line: a RUN, a BUNDLE, or a model file inside a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from decaseg.inference.engines import ENGINES, Engine
from decaseg.inference.input_checks import find_input_check
from decaseg.inference.postprocess import PostProcessing
from decaseg.inference.predictor import Predictor
from decaseg.planning.plan import Plan
from decaseg.storage.bundle import MODEL_FILES, BundleDir, model_files
from decaseg.storage.files import read_json, sha256_of
from decaseg.storage.finished import content_hash
from decaseg.storage.rundir import RunDir
from decaseg.storage.shipped import folder_of, known_names


@dataclass(frozen=True)
class Model:
    """A predictor with its plan and where it came from; `warnings` are sentences a user should see."""

    path: Path
    plan: Plan
    predictor: Predictor
    run: RunDir | None
    bundle: dict[str, Any] | None
    warnings: tuple[str, ...]

    def selection(self) -> str:
        """In words, what the validation cases chose."""
        if self.run is not None and self.run.provenance.is_file():
            said = str(read_json(self.run.provenance).get("selection", ""))
        else:
            said = str((self.bundle or {}).get("selection", ""))
        post = self.predictor.postprocessing
        if post is None or self.bundle is not None:  # a bundle's words were written when it was exported
            return said
        chose = f"Post-processing was chosen on {post.cases} validation cases, so scores on them are optimistic"
        return f"{said}. {chose}" if said else chose

    def sha256(self) -> str:
        """Of all that decides what it predicts: the weights and the documents beside them."""
        if self.run is not None:
            files = [self.run.weights, self.run.plan, self.run.provenance]
        else:
            bundle = BundleDir(self.path)
            form = (self.bundle or {}).get("model_format", "openvino")
            files = [bundle.model(form), bundle.weights, bundle.document]
        return content_hash(*(file for file in files if file.is_file()))


def load(
    model: Path | str,
    engine: str | None = None,
    tta: bool = False,
    step: float = 0.5,
    device: str = "auto",
    threads: int | None = None,
) -> Predictor:
    """The predictor of a RUN, a BUNDLE or a model file, for notebooks and programs; see `decaseg predict`.

    ValueError names what is wrong. `predictor(decaseg.read("image.nii.gz")).labels` is a `Volume`.
    """
    return open_model(Path(model), engine, tta, step, device, threads=threads).predictor


def ensemble(first: Model, others: Sequence[Model]) -> Predictor:
    """One predictor that averages the probabilities of all; ValueError where they were not made for the same input."""
    mine = first.predictor
    for other in others:
        theirs = other.predictor
        pairs = {
            "target": (mine.target, theirs.target),
            "windows": (mine.window, theirs.window),
            "mirroring": (mine.mirror_axes, theirs.mirror_axes),
        } | {
            field: (getattr(mine.preprocessing, field), getattr(theirs.preprocessing, field))
            for field in ("channels", "channel_indices", "file_channels", "spacing_mm", "normalisation",
                          "crop_to_nonzero")
        }  # fmt: skip
        if differing := [name.replace("_", " ") for name, (one, two) in pairs.items() if one != two]:
            raise ValueError(
                f"--with {other.path}: differs from {first.path} in {', '.join(differing)}; average only models that "
                "were trained with the same plan, such as folds"
            )
    if not others:
        return mine
    # What was chosen for one network was chosen by its errors, not by those of the average.
    return replace(mine, others=tuple(other.predictor.engine for other in others), postprocessing=None)


def open_model(
    path: Path,
    engine: str | None = None,
    tta: bool = False,
    step: float = 0.5,
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    postprocessing: bool = True,
    input_check: bool = True,
) -> Model:
    """Opens MODEL with `engine` (None: what it was made for). ValueError names what is wrong and the way out.

    The post-processing that was chosen for it is used, unless `postprocessing` is off; so is its check of images,
    unless `input_check` is off.
    """
    if engine is not None and engine not in ENGINES:
        raise ValueError(f"--engine {engine}: choose one of {', '.join(ENGINES)}")
    path = folder_of(path, run=engine == "torch") or path
    if path.suffix in (".xml", ".onnx"):
        if not path.is_file() or path.name not in MODEL_FILES.values():
            raise ValueError(f"{path}: is no model of a bundle; name the BUNDLE or its model.xml or model.onnx")
        path = path.parent
    run, bundle = RunDir(path), BundleDir(path)
    if bundle.is_bundle():
        opened = _open_bundle(bundle, engine, tta, step, threads)
        opened = opened if input_check else _unchecked(opened)
        return _with_postprocessing(opened, bundle.document) if postprocessing else opened
    if run.is_run():
        opened = _open_run(run, engine, tta, step, device, precision, threads)
        opened = opened if input_check else _unchecked(opened)
        return _with_postprocessing(opened, run.postprocessing) if postprocessing else opened
    if not path.exists():
        raise ValueError(no_such_model(path))
    raise ValueError(f"{path}: is neither a RUN (plan.json, recipe.json) nor a BUNDLE (bundle.json)")


def no_such_model(path: Path) -> str:
    """What to say of a MODEL that is not there."""
    return (
        f"{path}: there is no such model; MODEL is a RUN, a BUNDLE, a model.xml inside a bundle, or one of the "
        f"package ({known_names()}; see decaseg models)"
    )


def make_predictor(plan: Plan, engine: Engine, step: float = 0.5, tta: bool = False) -> Predictor:
    """A predictor with the preprocessing, window and target of the plan."""
    return Predictor(engine, plan.preprocessing, plan.target, plan.patch, step, tta, plan.mirror_axes)


def _unchecked(opened: Model) -> Model:
    return replace(opened, predictor=replace(opened.predictor, input_check=None))


def _with_postprocessing(opened: Model, path: Path) -> Model:
    """The model with what postprocessing.json or bundle.json says; a warning where the weights are others by now."""
    if opened.run is None:
        chosen = (opened.bundle or {}).get("postprocessing")
    else:
        chosen = read_json(path) if path.is_file() else None
    if chosen is None:
        return opened
    found = PostProcessing.from_json(chosen, opened.plan.target, str(path))
    if opened.run is not None and chosen.get("weights_sha256") != sha256_of(opened.run.weights):
        stale = f"{path}: was chosen for other weights and is not used; run decaseg postprocess {opened.path} again"
        return replace(opened, warnings=(*opened.warnings, stale))
    predictor = replace(opened.predictor, postprocessing=found if found.does_something else None)
    return replace(opened, predictor=predictor)


def _open_run(
    run: RunDir, engine: str | None, tta: bool, step: float, device: str, precision: str, threads: int | None
) -> Model:
    if engine not in (None, "torch"):
        raise ValueError(
            f"--engine {engine}: {run.root} is a RUN, which torch runs; decaseg export it and use the bundle"
        )
    from decaseg.inference.engines.torch_engine import load_torch

    plan = Plan.from_json(read_json(run.plan), str(run.plan))
    loaded = load_torch(run.weights, plan.network, device, precision, threads)
    check = find_input_check(read_json(run.recipe).get("input_check"), str(run.recipe))
    return Model(run.root, plan, replace(make_predictor(plan, loaded, step, tta), input_check=check), run, None, ())


def _open_bundle(bundle: BundleDir, engine: str | None, tta: bool, step: float, threads: int | None) -> Model:
    document = dict(bundle.read())
    form = document["model_format"]
    if engine not in (None, form):
        raise ValueError(f"--engine {engine}: {bundle.root} holds a model for {form}; export one for {engine}")
    plan = Plan.from_json(document.get("plan", {}), str(bundle.document))
    model = bundle.model(form)
    if not model.is_file():
        raise ValueError(f"{model}: is missing from the bundle; export it again")
    if form == "openvino" and not bundle.weights.is_file():
        raise ValueError(f"{bundle.weights}: is missing from the bundle; export it again")
    _refuse_changed(bundle, document)
    loaded: Engine
    if form == "openvino":
        from decaseg.inference.engines.openvino_engine import OpenVinoEngine

        loaded = OpenVinoEngine(model, _gated_in(document) or document.get("compute_precision", "fp32"), threads)
    else:
        from decaseg.inference.engines.onnx_engine import OnnxEngine

        loaded = OnnxEngine(model, threads)
    check = find_input_check(document.get("input_check"), str(bundle.document))
    predictor = replace(make_predictor(plan, loaded, step, tta), input_check=check)
    return Model(bundle.root, plan, predictor, None, document, _warnings(bundle, document, loaded))


def _refuse_changed(bundle: BundleDir, document: dict[str, Any]) -> None:
    """ValueError where a file of the model is not the one whose sum was recorded; bundles of old have no sums."""
    sums = document.get("sha256")
    if not isinstance(sums, dict):
        return
    for name in model_files(document["model_format"]):
        if sha256_of(bundle.root / name) != sums.get(name):
            raise ValueError(f"{bundle.root / name}: its SHA-256 is not the exported file's; copy the bundle again")


def _gated_in(document: dict[str, Any]) -> str | None:
    """The precision that the parity gate ran the export in: `bf16` of `openvino bf16`."""
    export = str((document.get("parity") or {}).get("export", ""))
    return export.partition(" ")[2] or None


def _warnings(bundle: BundleDir, document: dict[str, Any], engine: Engine) -> tuple[str, ...]:
    """What a user must know of the gate; another precision than the gated one is another model."""
    parity = document.get("parity")
    if not parity:
        return (f"{bundle.root}: was exported without --data, so no one checked that it predicts as its source does",)
    if not parity.get("passed", False):
        return (
            f"{bundle.root}: FAILED its parity gate ({parity.get('reason', 'see bundle.json')}); do not rely on it",
        )
    if (gated := _gated_in(document) or "fp32") != engine.precision:
        return (
            f"{bundle.root}: was gated in {gated}, but this processor computes it in {engine.precision}; no one checked"
            " that it predicts as its source does here: evaluate it, or export it again on this machine",
        )
    return ()
