"""The pictures of the documents are those that their scripts draw."""

import runpy
from pathlib import Path
from xml.etree import ElementTree

FIGURES = Path(__file__).parent.parent / "docs" / "figures"


def test_the_architecture_is_the_one_that_its_script_draws():
    drawn = runpy.run_path(str(FIGURES / "architecture.py"))["architecture"]()
    assert (FIGURES / "architecture.svg").read_text(encoding="utf-8") == drawn
    ElementTree.fromstring(drawn)  # a browser shows nothing of malformed XML
