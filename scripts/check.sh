#!/usr/bin/env bash
# Lint, types, import contract, Dockerfile lint, documentation, the light half of the tests on Python 3.12, tests.
# Usage: scripts/check.sh BIN essential|all|rest
set -euo pipefail
bin=$1 which=$2
step() { printf '\n== %s\n' "$1" >&2; shift; "$@"; }
case $which in
  essential) selection="not long" ;;
  all) selection="long or not long" ;;
  rest) selection="long" ;;
  *) echo "check.sh: expected essential, all or rest, got $which" >&2; exit 2 ;;
esac
if [ "$which" != rest ]; then
  step "ruff" "$bin/ruff" check .
  step "ruff format" "$bin/ruff" format --check .
  step "mypy" "$bin/mypy"
  step "import contract" "$bin/lint-imports"
  step "Dockerfiles" "$bin/hadolint" docker/Dockerfile.*
  step "documentation" scripts/docs.sh "$bin/../.bootstrap/bin/uv" "$bin"
  step "environments of Python 3.12" scripts/light.sh "$bin/../.bootstrap/bin/uv"
  if [ -f .venv-light/.ready ]; then
    step "the tests that train nothing, on Python 3.12" .venv-light/bin/pytest -m "not slow and not long" @tests/light.txt
  fi
fi
# A file's tests stay together, since they share what is trained for them; each process takes some 2 GB. One more than
# there are cores: half of the time a test waits for a server.
num_processes=$(($(nproc) < 4 ? $(nproc) + 1 : 4))
step "tests ($which)" "$bin/pytest" --require-triton --require-services --durations=15 -m "$selection" -n "$num_processes" --dist loadfile
