"""The page of guarantees names tests that are there."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_every_promise_names_a_test_that_exists():
    page = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
    promises = page.split("\n- ")[1:]
    assert len(promises) >= 15
    for promise in promises:
        names = re.findall(r"`([\w/]+\.py)(?:::(test_\w+))?`", promise)
        assert names, promise
        for file, test in names:
            source = (ROOT / "tests" / file).read_text(encoding="utf-8")
            assert re.search(rf"^def {test or 'test_'}", source, re.MULTILINE), f"{file}::{test}"
