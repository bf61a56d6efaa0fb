#!/usr/bin/env bash
# The tests of tables in warehouses, with an emulator of Snowflake and one of BigQuery: both need other versions of
# libraries than Cascade, so each is a program of an environment of its own, and the tests run in a third that has the
# drivers beside everything else. All three lie in .venv-warehouses; a later call finds them there.
# Usage: scripts/warehouses.sh UV BIN
set -euo pipefail
uv=$1 python=$2/python root=.venv-warehouses
environment() {
  local env=$root/$1
  shift
  local fingerprint
  fingerprint="$("$python" --version) $(cat pyproject.toml client/pyproject.toml "$@" | sha256sum)"
  if [ "$(cat "$env/.ready" 2>/dev/null)" = "$fingerprint" ]; then return; fi
  "$uv" venv --quiet --clear --python "$python" "$env"
  VIRTUAL_ENV=$env "$uv" pip sync --quiet --require-hashes "$@"
  if [ "$env" = "$root/tests" ]; then
    VIRTUAL_ENV=$env "$uv" pip install --quiet --no-deps --no-build-isolation --editable client --editable .
  fi
  echo "$fingerprint" >"$env/.ready"
}
environment fakesnow requirements/fakesnow.txt
environment bqemulator requirements/bqemulator.txt
environment tests requirements/cpu.txt requirements/warehouses.txt
export CASCADE_FAKESNOW=$PWD/$root/fakesnow/bin/fakesnow CASCADE_BQEMULATOR=$PWD/$root/bqemulator/bin/bqemulator
"$root/tests/bin/pytest" --require-services --require-emulators tests/workflows/warehouse tests/workflows/lake
