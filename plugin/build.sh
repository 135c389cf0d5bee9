#!/usr/bin/env bash
# Builds a connector crate to a WebAssembly core module, the same bytes from
# any folder. Finds a toolchain by itself: rustup's target where it is there or
# can be added, Debian's compiler with the sources of std otherwise.
#
#   plugin/build.sh MANIFEST_DIR CRATE OUT.wasm
set -euo pipefail

[ $# = 3 ] || { echo "usage: plugin/build.sh MANIFEST_DIR CRATE OUT.wasm" >&2; exit 2; }
manifest=$(cd "$1" && pwd)
crate=$2
out=$3
target=wasm32-unknown-unknown
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=${BATON_BUILD_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/baton-host/build}
cargo_home=${CARGO_HOME:-$HOME/.cargo}

has_std() { ls "$("$1" --print target-libdir --target $target 2>/dev/null)"/libstd-*.rlib >/dev/null 2>&1; }

# The host's build settings must not leak into this one, nor this one's out.
unset RUSTC RUSTC_BOOTSTRAP RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_BUILD_DIR CARGO_TARGET_DIR

debian_ready() { [ -x /usr/bin/rustc ] && [ -x /usr/bin/cargo ] && [ -f "$(/usr/bin/rustc --print sysroot)/lib/rustlib/src/rust/library/Cargo.lock" ]; }
install_debian() {
  command -v apt-get >/dev/null || return 1
  local sudo=
  [ "$(id -u)" = 0 ] || { sudo="sudo -n"; $sudo true 2>/dev/null || return 1; }
  echo "installing Debian's Rust with the sources of std" >&2
  $sudo apt-get update -qq >&2 && $sudo apt-get install -y -qq --no-install-recommends rustc-web cargo-web rust-web-src >&2
}

cd "$here"
case ${BATON_WASM_TOOLCHAIN:-auto} in
  auto)
    if has_std rustc; then use=rustup
    elif command -v rustup >/dev/null && timeout 120 rustup target add $target >&2 && has_std rustc; then use=rustup
    elif debian_ready || { install_debian && debian_ready; }; then use=debian
    else
      echo "no Rust toolchain here can build for $target: run 'rustup target add $target', or on Debian 'apt-get install rustc-web cargo-web rust-web-src'" >&2
      exit 1
    fi ;;
  rustup) use=rustup ;;
  debian) debian_ready || install_debian; use=debian ;;
  *) echo "BATON_WASM_TOOLCHAIN is auto, rustup or debian" >&2; exit 2 ;;
esac

flags=(--locked --target $target --profile component --manifest-path "$manifest/Cargo.toml" -p "$crate" --lib)
remap() { printf -- '--remap-path-prefix=%s=%s' "$1" "$2"; }
encoded() { local IFS=$'\x1f'; printf '%s' "$*"; }

if [ $use = rustup ]; then
  sysroot=$(rustc --print sysroot)
  dir="$build/wasm"
  CARGO_ENCODED_RUSTFLAGS=$(encoded "$(remap "$here" /src)" "$(remap "$cargo_home" /cargo)" "$(remap "$sysroot" /rust)") \
    cargo build --quiet "${flags[@]}" --target-dir "$dir"
else
  sysroot=$(/usr/bin/rustc --print sysroot)
  lld=$(command -v wasm-ld || ls /usr/bin/wasm-ld-* 2>/dev/null | tail -n 1 || true)
  [ -n "$lld" ] || lld=$(rustc --print sysroot)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin/rust-lld
  dir="$build/wasm-debian"
  RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=$lld \
    CARGO_ENCODED_RUSTFLAGS=$(encoded "$(remap "$here" /src)" "$(remap "$cargo_home" /cargo)" "$(remap "$sysroot/lib/rustlib/src/rust" /rust)" "$(remap "$(readlink -f "$sysroot/lib/rustlib/src/rust")" /rust)") \
    /usr/bin/cargo build --quiet "${flags[@]}" -Zbuild-std=std,panic_abort --target-dir "$dir"
fi
mkdir -p "$(dirname "$out")"
cp "$dir/$target/component/${crate//-/_}.wasm" "$out.new"
mv "$out.new" "$out"
