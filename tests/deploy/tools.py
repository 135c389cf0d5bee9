"""Renders what deploy/ holds, with the tools that people use.

kubectl and hadolint come from PyPI wheels; helm is built once from its Go
module into $BATON_CACHE_DIR (three minutes on two cores), unless HELM_BIN names
one.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy/helm/baton-host"
KUSTOMIZE = ROOT / "deploy/kustomize"
HELM = "v3.22.0"
# The oldest that the chart takes, and all later ones that the schemas have.
KUBERNETES = ["1.31", "1.32", "1.33", "1.34", "1.35", "1.36", "1.37"]


class Refused(Exception):
    """A tool says no."""


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        raise Refused(done.stderr.strip() or done.stdout.strip())
    return done.stdout


def in_environment(name):
    return pathlib.Path(sys.prefix) / "bin" / name


def helm():
    """The pinned helm, built if it is not there yet."""
    if os.environ.get("HELM_BIN"):
        return os.environ["HELM_BIN"]
    cache = pathlib.Path(os.environ.get("BATON_CACHE_DIR") or pathlib.Path.home() / ".cache/baton-host")
    program = cache / f"helm-{HELM}"
    if not program.exists():
        if not shutil.which("go"):
            sys.exit("test-deploy needs helm: install Go 1.26, or set HELM_BIN to a helm 3")
        print(f"building helm {HELM}", file=sys.stderr)
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            environment = {**os.environ, "GOBIN": folder, "CGO_ENABLED": "0"}
            subprocess.run(
                ["go", "install", "-trimpath", "-ldflags=-s -w", f"helm.sh/helm/v3/cmd/helm@{HELM}"],
                check=True, env=environment, cwd=folder,
            )
            new = program.with_suffix(".new")
            shutil.copy(pathlib.Path(folder) / "helm", new)
            new.rename(program)
    return program


def documents(text):
    return [document for document in yaml.safe_load_all(text) if document]


def kustomize(folder):
    """What `kubectl apply -k` would send."""
    return documents(run(in_environment("kubectl"), "kustomize", folder))


def overlay(text, files=()):
    """What a kustomization of a user's own gives; `@` stands for deploy/kustomize."""
    # kustomize takes relative folders only.
    with tempfile.TemporaryDirectory(dir=ROOT / "target") as folder:
        folder = pathlib.Path(folder)
        relative = os.path.relpath(KUSTOMIZE, folder)
        (folder / "kustomization.yaml").write_text(text.replace("@", relative))
        for name, content in files:
            (folder / name).write_text(content)
        return kustomize(folder)


def template(values, version=KUBERNETES[-1], release="fleet", chart=CHART):
    """What `helm install` would send. Raises Refused with helm's words."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(values, file)
        file.flush()
        return documents(run(
            helm(), "template", release, chart, "--namespace", "baton-host",
            "--kube-version", version, "--values", file.name,
        ))
