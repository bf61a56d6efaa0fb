#!/usr/bin/env bash
# Training on two GPUs of one machine: the tests that need a GPU, two processes against one (the same losses and arrays
# to 1e-5, one that is killed ends the other, both resume), and seconds of training with one process and with two.
# For the training image, or an environment of requirements/gpu.txt. Results: build/gpu_train/check.txt, line by line.
# Usage: scripts/gpu_train_check.sh          on a machine with two GPUs, about ten minutes
#        scripts/gpu_train_check.sh --cpu    a rehearsal: two processes on the CPU, a small data set
set -uo pipefail
cd "$(dirname "$0")/.."
bin=${BIN:-$(dirname "$(command -v cascade || echo .venv/bin/cascade)")}
out=build/gpu_train result=build/gpu_train/check.txt config=configs/shop.toml
failed=0 team_s=600
mkdir -p "$out"
: >"$result"
say() { echo "$*" | tee -a "$result"; }
part() {  # part NAME LIMIT_S COMMAND...: says how it ended and how long it took
  local name=$1 limit=$2 started=$SECONDS
  shift 2
  if timeout "$limit" "$@" >"$out/$name.log" 2>&1; then
    say "$name: passed in $((SECONDS - started)) s"
  else
    say "$name: FAILED ($?) after $((SECONDS - started)) s, see $out/$name.log"
    failed=1
  fi
}
if [ "${1:-}" = --cpu ]; then
  config=configs/smoke.toml team_s=1800  # two processes on one core each
  export CUDA_VISIBLE_DEVICES=
  say "a rehearsal on CPUs: no figure here is a GPU's"
else
  nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader | tee -a "$result"
  if [ "$(nvidia-smi --list-gpus | wc -l)" -lt 2 ]; then
    say "this check needs two GPUs"
    exit 1
  fi
  part tests 240 "$bin/pytest" -q -m gpu --require-gpu tests/workflows tests/models
fi
part two-processes "$team_s" "$bin/pytest" -q tests/models/test_team.py
run=$out/run
rm -rf "$run" "$run.two"
part prepare 240 "$bin/cascade" prepare --config "$config" --out "$run"
cp -a "$run" "$run.two"
train() {  # train RUN PROCESSES: as a launcher would, the last one in front
  local rank pids=() status=0
  for ((rank = 0; rank < $2; rank++)); do
    RANK=$rank WORLD_SIZE=$2 LOCAL_RANK=$rank LOCAL_WORLD_SIZE=$2 \
      "$bin/cascade" train-retrieval --config "$config" --out "$1" &
    pids+=($!)
  done
  for rank in "${pids[@]}"; do wait "$rank" || status=$?; done
  return $status
}
export -f train
export bin config
part train-with-one 600 bash -c "train '$run' 1"
part train-with-two 600 bash -c "train '$run.two' 2"
exit $failed
