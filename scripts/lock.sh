#!/usr/bin/env bash
# Resolve the hash-pinned requirements files. Usage: scripts/lock.sh UV
set -euo pipefail
uv=$1
compile() {
  local out=$1
  shift
  "$uv" pip compile pyproject.toml --output-file "requirements/$out.txt" "$@" \
    --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate --no-strip-extras \
    --no-emit-package cascade-client --quiet
}
lock() { compile "$@" --universal --fork-strategy fewest --python-version 3.10; }
lock312() { compile "$@" --python-version 3.12 --python-platform x86_64-manylinux_2_35 --only-binary :all:; }
lock cpu --extra cpu --extra serve --extra baselines --extra search --extra monitor --extra console --extra dev --extra dev-services
lock gpu --extra gpu
lock serve --extra serve
# numpy 1 in the first, since nvidia-pytriton's Triton needs it; numpy 2 in the second, for all that needs no Triton.
lock312 serve-py312 --extra serve
lock312 light-py312 --extra evaluate --extra console --extra test
# What `make test-warehouses` needs: the drivers beside cpu.txt, and two emulators that fit beside nothing.
lock warehouses --extra snowflake --extra bigquery --constraint requirements/cpu.txt
alone() {
  local out=$1 python=$2
  shift 2
  printf '%s\n' "$@" | "$uv" pip compile - --no-config --output-file "requirements/$out.txt" --python-version "$python" \
    --python-platform x86_64-manylinux_2_35 --only-binary :all: --generate-hashes --no-emit-index-url \
    --no-emit-find-links --no-header --no-annotate --no-strip-extras --quiet
}
alone fakesnow 3.11 "fakesnow[server]==0.11.22" snowflake-connector-python==4.8.1
# Its DuckDB must be the one that the packaged extension is built for.
alone bqemulator 3.11 bqemulator==1.3.0 duckdb==1.5.5 duckdb-extension-spatial==1.5.5 numpy pandas pyarrow
# What builds the documentation, in an environment of its own: the set-up of a run does not wait for it.
alone docs 3.10 mkdocs-material==9.7.7
docker/lock.sh "$(realpath "$uv")"
