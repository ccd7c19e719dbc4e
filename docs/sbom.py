"""Software bill of materials: what `decaseg[EXTRA]` brings into this environment, and the models that ship in it.

    python docs/sbom.py --out sbom.cdx.json                 # make sbom; decaseg[all]
    python docs/sbom.py --extra runtime --out sbom.cdx.json

CycloneDX 1.6 JSON, from what is installed (importlib.metadata), not from what might be. Packages that nothing decaseg
asks for are left out, and so are those of `dev`. The same environment gives the same document but for its time, and
for that too where SOURCE_DATE_EPOCH is set.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import quote

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from decaseg.storage.files import sha256_of, write_json
from decaseg.storage.shipped import Shipped, shipped

ROOT = "decaseg"
CLASSIFIER = "License :: OSI Approved :: "


def closure(extras: tuple[str, ...]) -> dict[str, set[str]]:
    """Canonical name -> names it requires, for everything installed that `decaseg[extras]` leads to."""
    found: dict[str, set[str]] = {}
    asked: dict[str, set[str]] = {ROOT: set(extras)}  # extras wanted of each so far
    waiting = [ROOT]
    while waiting:
        name = waiting.pop()
        needed = {
            canonicalize_name(required.name): required.extras
            for required in map(Requirement, metadata.requires(name) or [])
            if _wanted(required, asked[name]) and _is_installed(required.name)
        }
        found[name] = set(needed) - {name}
        for other, more in needed.items():
            if other not in asked or not set(more) <= asked[other]:
                asked[other] = asked.get(other, set()) | set(more)
                waiting.append(other)
    return found


def _wanted(required: Requirement, extras: set[str]) -> bool:
    if required.marker is None:
        return True
    return any(required.marker.evaluate({"extra": extra}) for extra in ("", *sorted(extras)))


def _is_installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def component(name: str) -> dict[str, Any]:
    """One installed package."""
    about = metadata.metadata(name)
    made: dict[str, Any] = {
        "type": "application" if name == ROOT else "library",
        "bom-ref": reference(name),
        "name": name,
        "version": metadata.version(name),
        "purl": reference(name),
    }
    if licences := _licences(about):
        made["licenses"] = licences
    return made


def _licences(about: Any) -> list[dict[str, Any]]:
    """An SPDX expression where the package gives one, else names as they stand in its classifiers or first line."""
    if about.get("License-Expression"):
        return [{"expression": about["License-Expression"]}]
    said = [line.removeprefix(CLASSIFIER) for line in about.get_all("Classifier") or [] if line.startswith(CLASSIFIER)]
    first = (about.get("License") or "").strip().splitlines()[:1]
    return [{"license": {"name": name[:200]}} for name in said or first if name]


def model(found: Shipped) -> dict[str, Any]:
    """A model in the package: its licence and the SHA-256 of every file of it."""
    files = sorted(path for path in found.root.rglob("*") if path.is_file())
    listed = [
        {"type": "file", "name": path.relative_to(found.root.parent).as_posix(),
         "hashes": [{"alg": "SHA-256", "content": sha256_of(path)}]}
        for path in files
    ]  # fmt: skip
    made: dict[str, Any] = {"type": "machine-learning-model", "bom-ref": f"model:{found.name}", "name": found.name}
    if licence := found.facts().get("licence"):
        made["licenses"] = [{"license": {"name": str(licence)[:200]}}]
    return made | {"components": listed}


def reference(name: str) -> str:
    """A package's URL (purl), which is its name in the document too."""
    return f"pkg:pypi/{name}@{quote(metadata.version(name), safe='')}"


def document(extras: tuple[str, ...]) -> dict[str, Any]:
    """The whole bill."""
    needs: Mapping[str, set[str]] = closure(extras)
    models = [model(found) for found in shipped().values()]
    parts = [component(name) for name in sorted(needs) if name != ROOT] + models
    depends = [{"ref": reference(name), "dependsOn": sorted(map(reference, needs[name]))} for name in sorted(needs)]
    for entry in depends:
        if entry["ref"] == reference(ROOT):
            entry["dependsOn"] = sorted([*entry["dependsOn"], *(made["bom-ref"] for made in models)])
    when = datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", datetime.now(UTC).timestamp())), UTC)
    properties = {"decaseg:extras": ",".join(extras), "decaseg:python": platform.python_version(),
                  "decaseg:platform": f"{platform.system()} {platform.machine()}"}  # fmt: skip
    made = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": component(ROOT),
            "properties": [{"name": name, "value": value} for name, value in properties.items()],
        },
        "components": parts,
        "dependencies": depends,
    }
    serial = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(made, sort_keys=True))
    made["serialNumber"] = f"urn:uuid:{serial}"
    made["metadata"]["timestamp"] = when.isoformat(timespec="seconds").replace("+00:00", "Z")  # type: ignore[index]
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--extra", action="append", help="of decaseg; default: all")
    parser.add_argument("--out", type=Path, default=Path("sbom.cdx.json"))
    args = parser.parse_args()
    made = document(tuple(args.extra or ["all"]))
    write_json(args.out, made)
    print(f"{args.out}: {len(made['components'])} components")


if __name__ == "__main__":
    main()
