#!/usr/bin/env bash
# wavebatch beside GNU parallel with curl and beside the vendor's Python client, on one sandbox and the same files.
# One command: it installs what it needs from the package registries, builds, and prints the tables of docs/figures.md.
#
#   benches/compare/run.sh                # medians of five
#   benches/compare/run.sh --runs 1       # a first look; see --help for more
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

if ! command -v parallel >/dev/null || ! command -v curl >/dev/null || ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
    sudo=''
    ((EUID == 0)) || sudo=sudo
    $sudo apt-get update -qq
    $sudo apt-get install -y -qq --no-install-recommends parallel curl python3 python3-venv
fi

target=${CARGO_TARGET_DIR:-$PWD/target}
venv=$target/compare-venv
[[ -x $venv/bin/python ]] || python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check "smallestai==${SMALLESTAI_VERSION:-5.14.0}"

if [[ -z ${WAVEBATCH_BIN:-} ]]; then
    cargo build --release --locked
    WAVEBATCH_BIN=$target/release/wavebatch
fi
exec "$venv/bin/python" benches/compare/compare.py --wavebatch "$WAVEBATCH_BIN" --python "$venv/bin/python" "$@"
