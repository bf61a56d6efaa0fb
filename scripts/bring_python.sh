#!/usr/bin/env bash
# See that there is a Python that the pinned packages run on; where there is none, let uv bring one.
# UV_PYTHON_DOWNLOADS=never forbids that. Usage: scripts/bring_python.sh UV RANGE
set -euo pipefail
uv=$1 range=$2 version=3.11
export UV_PYTHON_DOWNLOADS=${UV_PYTHON_DOWNLOADS:-automatic}
if UV_PYTHON_DOWNLOADS=never "$uv" python find --quiet "$range" >/dev/null 2>&1; then exit 0; fi
found="no Python 3.10 or 3.11 was found on this machine (python3 is $(python3 -V 2>/dev/null || echo missing))"
help="install one, for example python3.11 from your distribution (Ubuntu: the deadsnakes archive) or \
'conda create -n py311 python=3.11', put it on PATH and run the same command again"
if [ "$UV_PYTHON_DOWNLOADS" = never ]; then
  echo "make: $found, and UV_PYTHON_DOWNLOADS=never forbids uv to bring one; $help" >&2
  exit 1
fi
echo "make: $found; uv brings Python $version into $("$uv" python dir) (UV_PYTHON_DOWNLOADS=never forbids it)" >&2
if ! why=$("$uv" python install "$version" 2>&1); then
  reason=$(printf '%s\n' "$why" | sed -n 's/^ *error: *//p;s/^ *Caused by: *//p' | tail -n 1)
  echo "make: uv could not bring Python $version (${reason:-$why}); $help" >&2
  exit 1
fi
