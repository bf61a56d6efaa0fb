#!/usr/bin/env bash
# Correctness and speed of serving on a GPU, in one call of under eight minutes, on a machine that has Python 3.12,
# NumPy and CuPy and no network. Results: build/gpu_check/gpu.json and gpu.md, written after each part.
# Usage: scripts/gpu_check.sh prepare RUN    before, where Cascade is installed: what the check carries (optional)
#        scripts/gpu_check.sh [OPTIONS]      on the GPU machine; --help lists them
#        scripts/gpu_check.sh faiss prepare        optional: FAISS for GPUs by pip, in pieces build/gpu_check_faiss/N
#        scripts/gpu_check.sh faiss [OPTIONS]      on the GPU machine, with all pieces: FAISS beside our search
#        scripts/gpu_check.sh --device numpy --scale 0.003 --batches 1 32 70    a rehearsal without a GPU
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
if [ "${1:-}" = prepare ]; then
  [ $# = 2 ] || { echo "usage: scripts/gpu_check.sh prepare RUN" >&2; exit 2; }
  mkdir -p build/gpu_check
  exec "$python" -m benchmarks.gpu_check.prepare "$2" build/gpu_check
fi
if [ "${1:-}" = faiss ]; then
  shift
  if [ "${1:-}" = prepare ]; then
    exec "$python" -m benchmarks.gpu_check.pieces build/gpu_check_faiss
  fi
  set -- --faiss "$@"
fi
# One thread of a BLAS: what the host computes is small, and must not fight with what waits for the GPU.
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=1
# Kernels that CuPy compiles in one part are there for the next, also where the home is not writable.
export CUPY_CACHE_DIR=${CUPY_CACHE_DIR:-$PWD/build/gpu_check_kernels}
exec "$python" -m benchmarks.gpu_check "$@"
