#!/usr/bin/env bash
# Builds the components that attack the host.
#
#   tests/plugins/build.sh OUT_DIR
set -euo pipefail

[ $# = 1 ] || { echo "usage: tests/plugins/build.sh OUT_DIR" >&2; exit 2; }
mkdir -p "$1"
out=$(cd "$1" && pwd)
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

for manifest in "$here"/*/Cargo.toml; do
  crate=$(basename "$(dirname "$manifest")")
  [ "$crate" = guest ] && continue
  "$root/plugin/build.sh" "$here" "$crate" "$out/$crate.core.wasm"
  "$root/target/debug/baton-host" plugin encode "$out/$crate.core.wasm" --output "$out/$crate.wasm"
done
