#!/usr/bin/env bash
# The real `baton` command reads our access files: builds it from its Go module
# into $BATON_CACHE_DIR (kept between runs) and compares its answers.
#
# BATON_BIN=PATH uses a command that is already there. Where the Go module
# proxy does not serve the module, the check runs with the stand-in of
# tests/interop/reader (ours, with Go libraries) and says so; with CI=true that
# is a failure unless INTEROP_WITHOUT_BATON=1 allows it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
version=v0.4.3
cache=${BATON_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/baton-host}
mkdir -p "$cache"

missing() {
  echo "interop: $1" >&2
  if [ "${CI:-}" = true ] && [ "${INTEROP_WITHOUT_BATON:-}" != 1 ]; then exit 1; fi
}

run() {
  echo "interop: with $("$BATON_BIN" --version 2>/dev/null || basename "$BATON_BIN")"
  BATON_BIN=$BATON_BIN cargo test --quiet -p e2e --test interop_baton -- --ignored
}

if [ -n "${BATON_BIN:-}" ]; then export BATON_BIN; run; exit; fi
if ! command -v go >/dev/null; then
  missing "go is not installed, so baton $version cannot be built: install Go 1.26 or set BATON_BIN"
  exit 0
fi
export BATON_BIN=$cache/baton-$version
if [ ! -x "$BATON_BIN" ]; then
  out=$(mktemp -d)
  trap 'rm -rf "$out"' EXIT
  if (cd "$out" && GOBIN=$out GOFLAGS=-buildvcs=false go install "github.com/conductorone/baton/cmd/baton@$version"); then
    mv "$out/baton" "$BATON_BIN"
  else
    missing "the Go module proxy does not serve baton $version; reading with the stand-in instead"
    export BATON_BIN=$cache/baton-stand-in
    (cd tests/interop/reader && go build -o "$BATON_BIN" .)
  fi
fi
run
