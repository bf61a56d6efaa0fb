#!/bin/sh
# Install hash-pinned requirements as they are, then the two wheels. Usage: install_wheel.sh PYTHON REQUIREMENTS WHEELS
set -eu
python=$1 requirements=$2 wheels=$3
install() { "$python" -m pip install --no-cache-dir --disable-pip-version-check --no-deps "$@"; }
install --require-hashes --only-binary :all: --requirement "$requirements"
install "$wheels"/cascade_client-*.whl "$wheels"/cascade-*.whl
