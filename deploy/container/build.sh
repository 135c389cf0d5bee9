#!/usr/bin/env bash
# What the image holds, as two folders: OUT_DIR/root with the program for one
# processor and the connector, which belong to root, and OUT_DIR/data with what
# the program may write. The Containerfile runs it; it runs in any clone too.
#
#   deploy/container/build.sh amd64|arm64 OUT_DIR
#
# With BATON_CARGO_PROFILE=dev the program is the one of the tests: quick, to
# try this script.
set -euo pipefail

[ $# = 2 ] || { echo "usage: deploy/container/build.sh amd64|arm64 OUT_DIR" >&2; exit 2; }
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
out=$2
[ -z "$(ls -A "$out" 2>/dev/null)" ] || { echo "$out is there already and not empty" >&2; exit 2; }
profile=${BATON_CARGO_PROFILE:-release}
case $1 in
  amd64) target=x86_64-unknown-linux-gnu cc=x86_64-linux-gnu ;;
  arm64) target=aarch64-unknown-linux-gnu cc=aarch64-linux-gnu ;;
  *) echo "'$1' is neither amd64 nor arm64" >&2; exit 2 ;;
esac
here=$(rustc -vV | sed -n 's/^host: //p')
export CARGO_BUILD_BUILD_DIR=${BATON_BUILD_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/baton-host/build}

# The connector is encoded by the program, so one that runs here is needed.
flags=(--locked --profile "$profile" -p baton-host)
[ "$profile" = release ] || flags+=(-p cloud-sim)
cargo build "${flags[@]}"
folder=target/$([ "$profile" = dev ] && echo debug || echo "$profile")
plugin/build.sh . baton-eks target/components/baton_eks.core.wasm
"$folder/baton-host" plugin encode target/components/baton_eks.core.wasm --output target/components/baton_eks.wasm

program=$folder/baton-host
if [ "$target" != "$here" ]; then
  rustup target add "$target"
  # SQLite, zstd and ring are C and assembly.
  command -v "$cc-gcc" >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends "gcc-$cc" "libc6-dev-$([ "$1" = arm64 ] && echo arm64 || echo amd64)-cross"; }
  upper=$(echo "$target" | tr 'a-z-' 'A-Z_')
  export "CARGO_TARGET_${upper}_LINKER=$cc-gcc" "CC_${target//-/_}=$cc-gcc" "AR_${target//-/_}=$cc-ar"
  cargo build --locked --profile "$profile" -p baton-host --target "$target"
  program=target/$target/${folder#target/}/baton-host
fi

install -D -m 0755 "$program" "$out/root/usr/local/bin/baton-host"
install -D -m 0444 target/components/baton_eks.wasm "$out/root/opt/baton-host/plugins/baton_eks.wasm"
install -D -m 0444 LICENSE "$out/root/usr/share/doc/baton-host/LICENSE"
# Folders that volumes are mounted over.
install -d -m 0755 "$out/root/etc/baton-host" "$out/root/plugins"
install -d -m 0750 "$out/data/var/lib/baton-host" "$out/data/work"
