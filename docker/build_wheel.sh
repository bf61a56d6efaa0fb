#!/bin/sh
# Build the wheels of Cascade and of its client. Usage: build_wheel.sh PYTHON SOURCE OUT
set -eu
python=$1 source=$2 out=$3
"$python" -m pip wheel --no-cache-dir --disable-pip-version-check --no-deps --wheel-dir "$out" "$source/client" "$source"
