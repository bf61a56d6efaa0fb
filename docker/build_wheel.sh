#!/bin/sh
# Build Cascade's wheel. Usage: build_wheel.sh PYTHON SOURCE OUT
set -eu
python=$1 source=$2 out=$3
"$python" -m pip wheel --no-cache-dir --disable-pip-version-check --no-deps --wheel-dir "$out" "$source"
