#!/usr/bin/env bash
# The environment in which decaseg is measured against nnU-Net and MONAI, apart from decaseg's own.
#
#     benchmarks/peers/setup.sh [FOLDER]        default: .venv-peers in the repository
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
folder=${1:-$root/.venv-peers}
python=${PYTHON:-python3}

# An index or proxy that pip is configured with is used as it is; constraints.txt pins torch and all that decaseg needs.
test -x "$folder/bin/python" || "$python" -m venv "$folder"
"$folder/bin/python" -m pip install -q -c "$root/constraints.txt" 'torch==2.13.0'
"$folder/bin/python" -m pip install -q -c "$root/constraints.txt" nnunetv2==2.8.1 monai==1.6.1
"$folder/bin/python" -m pip install -q -c "$root/constraints.txt" typer rich safetensors nibabel scipy numpy openvino 'setuptools>=77'
"$folder/bin/python" -m pip install -q --no-deps --no-build-isolation -e "$root"
cd "$folder"  # away from the repository, so that what is imported is what was installed
"$folder/bin/python" - <<'PY'
from importlib.metadata import version

import decaseg.workflows.train, monai, nnunetv2.training.nnUNetTrainer.nnUNetTrainer, torch

print("ready:", ", ".join(f"{name} {version(name)}" for name in ("nnunetv2", "monai", "torch", "decaseg")))
PY
