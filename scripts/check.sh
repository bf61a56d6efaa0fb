#!/usr/bin/env bash
# Lint, types, import contract, Dockerfile lint, tests. Usage: scripts/check.sh BIN
set -euo pipefail
bin=$1
step() { printf '\n== %s\n' "$1" >&2; shift; "$@"; }
step "ruff" "$bin/ruff" check .
step "ruff format" "$bin/ruff" format --check .
step "mypy" "$bin/mypy"
step "import contract" "$bin/lint-imports"
step "Dockerfiles" "$bin/hadolint" docker/Dockerfile.*
step "tests" "$bin/pytest" --require-triton --durations=15
