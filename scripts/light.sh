#!/usr/bin/env bash
# Environments of Python 3.12 beside the one that trains: .venv-light (numpy 2; evaluates, exports) and .venv-serve
# (numpy 1, as nvidia-pytriton's Triton needs it). Where there is no such Python, one line says so.
# Usage: scripts/light.sh UV
set -euo pipefail
uv=$1 version=3.12
if ! python=$(scripts/find_python.sh "$version"); then
  echo "make: no Python $version was found, so nothing is tested on it (looked on PATH, in pyenv and in uv's folder)" >&2
  exit 0
fi
for name in light serve; do
  env=.venv-$name requirements=requirements/$name-py312.txt
  fingerprint="$python $(cat pyproject.toml client/pyproject.toml "$requirements" | sha256sum)"
  if [ "$(cat "$env/.ready" 2>/dev/null)" = "$fingerprint" ]; then continue; fi
  "$uv" venv --quiet --clear --python "$python" "$env"
  VIRTUAL_ENV=$env "$uv" pip sync --quiet --require-hashes "$requirements"
  # As the wheel would: refused where the metadata does not allow this Python.
  VIRTUAL_ENV=$env "$uv" pip install --quiet --no-deps --editable client --editable .
  echo "$fingerprint" >"$env/.ready"
done
