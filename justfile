# `just` is the one entry: the same recipes for a person, CI and the README.
# ./justw finds or installs it.

set shell := ["bash", "-euo", "pipefail", "-c"]

# Intermediate files live outside the clone, so that a second clone compiles
# only this workspace's own crates.
export CARGO_BUILD_BUILD_DIR := env("BATON_BUILD_DIR", cache_directory() / "baton-host" / "build")
export BATON_CACHE_DIR := env("BATON_CACHE_DIR", cache_directory() / "baton-host")

# What there is
default:
    @just --list --unsorted

# Sync a simulated company's clusters and look at the result
demo: component
    cargo build --quiet -p baton-host -p cloud-sim
    target/debug/baton-host demo --plugin target/components/baton_eks.wasm

# All tests: unit, end to end, lints, formatting
test: lint component test-plugins
    cargo test --workspace --quiet

# Formatting and clippy, warnings are errors
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --quiet -- -D warnings

# Format all code
fmt:
    cargo fmt --all
    cd tests/plugins && cargo fmt --all

# The released program and the component
build: component
    cargo build --release -p baton-host
    @ls -l target/release/baton-host target/components/baton_eks.wasm

# The connector as a component
component: host
    plugin/build.sh . baton-eks target/components/baton_eks.core.wasm
    target/debug/baton-host plugin encode target/components/baton_eks.core.wasm --output target/components/baton_eks.wasm

# The components that attack the host, for the tests
test-plugins: host
    tests/plugins/build.sh target/components

[private]
host:
    cargo build --quiet -p baton-host -p cloud-sim

# Two folders, one digest: builds the component twice from scratch
reproducible: component
    cargo test --quiet -p e2e --test cli -- --ignored reproducible

# Other people's tools against ours: baton, ministack, botocore
interop: component
    tests/interop/run.sh

# Manifests, chart and image: rendered, checked against Kubernetes' schemas
test-deploy: component
    tests/deploy/run.py

# Benchmarks; figures are ratios and counts
bench: component
    cargo bench --workspace --bench costs --bench figures --bench access_file --bench expansion
