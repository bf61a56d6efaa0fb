#!/usr/bin/env bash
# Lint, types, import contract, Dockerfile lint, tests. Usage: scripts/check.sh BIN essential|all|rest
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
fi
step "tests ($which)" "$bin/pytest" --require-triton --durations=15 -m "$selection"
