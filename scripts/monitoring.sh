#!/usr/bin/env bash
# The tests of rules, routes and dashboards with a real Prometheus and its tools, and of the proxy with a real nginx.
# Debian packages them; they are fetched into .venv-monitoring without being installed, where PATH has none.
# Usage: scripts/monitoring.sh BIN
set -euo pipefail
bin=$1 root=$PWD/.venv-monitoring
is_there() { command -v "$1" >/dev/null || [ -x "$root/usr/bin/$1" ] || [ -x "$root/usr/sbin/$1" ]; }
if ! is_there promtool || ! is_there nginx; then
  command -v apt-get >/dev/null || { echo "monitoring.sh: put prometheus, promtool, amtool and nginx on PATH (Debian packages: prometheus, prometheus-alertmanager, nginx)" >&2; exit 1; }
  mkdir -p "$root/packages"
  (cd "$root/packages" && apt-get download prometheus prometheus-alertmanager nginx)
  for package in "$root"/packages/*.deb; do dpkg-deb -x "$package" "$root"; done
  rm -r "$root/packages"
fi
PATH=$PATH:$root/usr/bin:$root/usr/sbin "$bin/pytest" --require-services --require-emulators --require-triton \
  tests/operations/monitoring tests/docker/test_front.py
