#!/usr/bin/env bash
# Builds the wheel, installs it into a fresh environment without fairseq and without a compiler, and uses it there from an
# empty folder, so that nothing can come from the checkout. Then the tests of the rooms that need no fairseq.
#
#   scripts/smoke_wheel.sh python3.11 outputs/demo/checkpoint_last.pt
#
# The checkpoint is any Spin checkpoint. WHEEL_VENV names a folder for the environment that is kept; by default it is
# made below a temporary folder and removed.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
python=$(scripts/find_python.sh "${1:-}")
checkpoint=$(realpath "${2:?usage: scripts/smoke_wheel.sh PYTHON CHECKPOINT}")

say() { echo "wheel: $*"; }
stop() { echo "wheel: FAILED: $*" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
venv=${WHEEL_VENV:-$work/venv}
version=$("$python" -c 'import sys; print("%d%d" % sys.version_info[:2])')
constraints=$root/constraints/py$version.txt

say "building it with $python"
"$python" -m venv "$venv"
export PIP_CONSTRAINT=$constraints PIP_DISABLE_PIP_VERSION_CHECK=1 UV_CONSTRAINT=$constraints UV_BUILD_CONSTRAINT=$constraints
"$venv/bin/python" -m pip install -q --no-input uv </dev/null
mapfile -t uv_settings < <("$venv/bin/python" -I scripts/uv_settings.py)
uv() { env UV_PYTHON_DOWNLOADS=never ${uv_settings[@]+"${uv_settings[@]}"} "$venv/bin/uv" "$@" </dev/null; }
rm -rf build  # what an earlier build left there would go into the wheel
uv build -q --wheel --python "$venv/bin/python" --out-dir "$work/dist" .
rm -rf build
wheel=$(ls "$work"/dist/*.whl)
say "$(basename "$wheel") has $("$python" -m zipfile -l "$wheel" | grep -c .) files"

say "installing it, without a compiler"
CC=/bin/false CXX=/bin/false uv pip install -q --python "$venv/bin/python" "$wheel[praat,test]"

mkdir "$work/empty"
cd "$work/empty"
unset PYTHONPATH
"$venv/bin/python" -W ignore "$root/scripts/smoke_wheel.py" "$checkpoint" "$root"

say "tests of the rooms that need no fairseq, beside the installed package"
mkdir -p "$work/scripts" "$work/examples/demo"
cp -r "$root/tests" "$root/pytest.ini" "$work"
cp -r "$root/examples/demo/natural" "$work/examples/demo" # speech of several voices, for the tests of what tells them apart
cp -r "$root/scripts/measuring" "$work/scripts"
cd "$work"
OMP_NUM_THREADS=1 "$venv/bin/python" -m pytest -q -n auto --dist loadfile -p no:cacheprovider -m 'not slow' \
    tests/{checkpoints,encoders,evaluation,extraction,modules,perturbation,preparation,report,speech} </dev/null ||
    stop "tests without fairseq"
say "passed"
