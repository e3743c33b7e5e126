"""Reads Prometheus text from standard input with Prometheus' own Python client; prints each sample:
family, type, sample, labels as JSON, value; separated by tabs. Fails on what the client refuses."""

import json
import sys

from prometheus_client.parser import text_string_to_metric_families

for family in text_string_to_metric_families(sys.stdin.read()):
    assert family.documentation, family.name
    for sample in family.samples:
        labels = json.dumps(sample.labels, sort_keys=True)
        print(family.name, family.type, sample.name, labels, repr(sample.value), sep="\t")
