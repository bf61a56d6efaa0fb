#!/usr/bin/env bash
# The tests of rules, routes and dashboards with a real Prometheus and its tools. Debian packages them; they are fetched
# into .venv-monitoring without being installed, where PATH has none. Usage: scripts/monitoring.sh BIN
set -euo pipefail
bin=$1 root=$PWD/.venv-monitoring
if ! command -v promtool >/dev/null && [ ! -x "$root/usr/bin/promtool" ]; then
  command -v apt-get >/dev/null || { echo "monitoring.sh: put prometheus, promtool and amtool on PATH (Debian packages them as prometheus and prometheus-alertmanager)" >&2; exit 1; }
  mkdir -p "$root/packages"
  (cd "$root/packages" && apt-get download prometheus prometheus-alertmanager)
  for package in "$root"/packages/*.deb; do dpkg-deb -x "$package" "$root"; done
  rm -r "$root/packages"
fi
PATH=$PATH:$root/usr/bin "$bin/pytest" --require-services --require-triton tests/operations/monitoring
