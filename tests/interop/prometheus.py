#!/usr/bin/env python3
"""Reads what /metrics says with the Prometheus project's own parser: on standard input the text, on
standard output every sample as JSON, one a line."""
import json
import sys

import pinned

pinned.use("prometheus_client==0.26.0")

from prometheus_client.parser import text_string_to_metric_families  # noqa: E402

for family in text_string_to_metric_families(sys.stdin.read()):
    assert family.documentation, family.name
    assert family.type in ("counter", "gauge", "histogram"), (family.name, family.type)
    for sample in family.samples:
        print(json.dumps({"name": sample.name, "labels": sample.labels, "value": sample.value}))
