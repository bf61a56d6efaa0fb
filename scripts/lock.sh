#!/usr/bin/env bash
# Resolve the hash-pinned requirements files. Usage: scripts/lock.sh UV
set -euo pipefail
uv=$1
lock() {
  local out=$1
  shift
  "$uv" pip compile pyproject.toml "$@" --output-file "requirements/$out.txt" --universal --fork-strategy fewest \
    --python-version 3.10 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate \
    --no-strip-extras --quiet
}
lock cpu --extra cpu --extra serve --extra peers --extra search --extra dev
lock gpu --extra gpu
lock serve --extra serve
docker/lock.sh "$(realpath "$uv")"
