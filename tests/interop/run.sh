#!/usr/bin/env bash
# Other people's tools against ours. Each installs what it needs into
# $BATON_CACHE_DIR; with CI=true a missing tool is a failure.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

echo "== baton reads our files"
tests/interop/baton.sh

echo "== botocore signs as we do"
vectors=$(mktemp)
trap 'rm -f "$vectors"' EXIT
tests/interop/botocore_signatures.py "$vectors" 2000
BATON_SIGNATURE_VECTORS=$vectors cargo test --quiet -p e2e --test signatures -- --ignored

echo "== ministack answers us"
tests/interop/ministack.py cargo test --quiet -p e2e --test ministack -- --ignored

echo "== prometheus_client reads our metrics"
cargo test --quiet -p e2e --test serve -- --ignored the_python_client
