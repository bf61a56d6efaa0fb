#!/usr/bin/env bash
# Print a Python of this version that is on this machine; status 1 where there is none. Nothing is downloaded.
# Usage: scripts/find_python.sh VERSION
set -euo pipefail
version=$1
shopt -s nullglob
candidates=()
mapfile -t candidates < <(type -aP "python$version" python3 || true)
# Those that pyenv and uv keep, which need not be on PATH.
candidates+=("${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$version"*/bin/"python$version")
candidates+=("${UV_PYTHON_INSTALL_DIR:-${XDG_DATA_HOME:-$HOME/.local/share}/uv/python}"/cpython-"$version"*/bin/"python$version")
is_it='import sys; sys.exit("%d.%d" % sys.version_info[:2] != sys.argv[1] or sys.implementation.name != "cpython")'
for python in "${candidates[@]}"; do
  if "$python" -c "$is_it" "$version" >/dev/null 2>&1; then
    echo "$python"
    exit 0
  fi
done
exit 1
