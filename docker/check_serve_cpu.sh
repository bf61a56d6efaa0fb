#!/usr/bin/env bash
# Run the install steps of Dockerfile.serve-cpu without Docker, in an empty virtual environment, up to a served slate.
# Usage: docker/check_serve_cpu.sh RUN_OR_REPOSITORY [PYTHON_3.12] [USER_ID]
set -euo pipefail
served=$(realpath "$1") python=${2:-python3.12} user_id=${3:-1}
top=$(realpath "$(dirname "$0")/..")
work=$(mktemp -d)
server=
finish() {
  status=$?
  if [ "$status" != 0 ] && [ -f "$work/log" ]; then tail -n 20 "$work/log" >&2; fi
  if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; fi
  rm -rf "$work"
}
trap finish EXIT
say() { printf '== %s\n' "$*" >&2; }

say "the build context: what the first stage copies"
mkdir "$work/src"
awk '/^FROM/ { stage++ } stage == 1 && /^COPY/ { for (i = 2; i < NF; i++) print $i }' "$top/docker/Dockerfile.serve-cpu" |
  (cd "$top" && xargs -I{} cp -r --parents {} "$work/src")

say "the wheel, then the requirements and the wheel in an empty environment"
"$python" -m venv "$work/build"
"$work/src/docker/build_wheel.sh" "$work/build/bin/python3" "$work/src" "$work/wheels" >"$work/log" 2>&1
"$python" -m venv "$work/venv"
"$top/docker/install_wheel.sh" "$work/venv/bin/python3" "$top/requirements/serve-py312.txt" "$work/wheels" >>"$work/log" 2>&1

say "serve, with nothing of this shell's environment"
cd "$work"
clean=(env -i HOME="$work" PATH="$work/venv/bin:/usr/bin:/bin")
mkfifo ready
"${clean[@]}" cascade serve "$served" --http-port 0 --grpc-port 0 --metrics-port 0 >ready 2>>"$work/log" &
server=$!
read -r -t 120 line <ready || { say "the server did not get ready"; exit 1; }
say "$line"
for protocol in http grpc; do
  url=$(sed -n "s|.*$protocol=\([^ ]*\).*|\1|p" <<<"$line")
  "${clean[@]}" cascade recommend --url "$url" --user-id "$user_id" --json
done
kill "$server"
wait "$server"
server=
say "stopped cleanly"
