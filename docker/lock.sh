#!/usr/bin/env bash
# Resolve the hash-pinned requirements of the images that bring their own Python. Usage: docker/lock.sh UV
set -euo pipefail
uv=$1
cd "$(dirname "$0")"
lock() {
  local name=$1
  shift
  "$uv" pip compile "requirements-$name.in" --output-file "requirements-$name.txt" "$@" --only-binary :all: \
    --python-platform x86_64-manylinux_2_28 --no-config --generate-hashes --no-emit-index-url --no-header --no-annotate --quiet
}
lock train --python-version 3.10 --no-deps
lock triton --python-version 3.12
