"""Hooks of the site: links to files of the repository beside ``docs/`` become their names, since the site has no such
pages."""

import re

_BESIDE = re.compile(r"\[([^\]]+)\]\(\.\./([^)]+)\)")


def on_page_markdown(markdown: str, **_) -> str:
    """Called by MkDocs for each page."""
    return _BESIDE.sub(r"\1 (`\2`)", markdown)
