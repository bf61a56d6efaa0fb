#!/usr/bin/env bash
# The documentation as a site in build/site, from an environment of its own (.venv-docs): a link that leads nowhere
# and a request to another host end it. Usage: scripts/docs.sh UV BIN
set -euo pipefail
uv=$1 bin=$2 env=.venv-docs requirements=requirements/docs.txt
fingerprint="$(readlink -f "$bin/python") $(sha256sum <"$requirements")"
if [ "$(cat "$env/.ready" 2>/dev/null)" != "$fingerprint" ]; then
  "$uv" venv --quiet --clear --python "$bin/python" "$env"
  VIRTUAL_ENV=$env "$uv" pip sync --quiet --require-hashes "$requirements"
  echo "$fingerprint" >"$env/.ready"
fi
# --strict counts warnings, and --quiet has none. The variable: a notice about MkDocs 2 hides what is said of a page.
if ! said=$(NO_MKDOCS_2_WARNING=1 "$env/bin/mkdocs" build --strict 2>&1); then
  grep -vE '^INFO ' <<<"$said" >&2
  exit 1
fi
echo "documentation: build/site/index.html" >&2
