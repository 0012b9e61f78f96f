"""A folder, or one file, of static pages that a browser opens without a server and without a network.

A page is a template with what can be read at once; long lists stand in *chunks*, which the page's script asks for by
name when they are looked at. In a folder a chunk is a small script (``data-<build>/<name>.js``: pages of the scheme
``file:`` may load scripts, but not JSON); in a single file it is a ``<script type="application/json">``. So a page of
100,000 items opens as fast as one of a hundred.

Whatever comes from the data is text: Jinja2 escapes it, the scripts only ever set ``textContent``, and a content
security policy forbids every address but the folder's own files.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from recbole_mgr.cleaners import for_terminal
from recbole_mgr.files import replacing, write_text

MARKER = "view.yaml"  # says that the folder is ours to write
ASSETS = Path(__file__).with_name("assets")
SCRIPTS = ("state", "items", "users", "tasks", "try", "item", "figures", "page")  # parts of pages.js, in this order


class Page(NamedTuple):
    """A page of the site: file name without suffix, name in the navigation, template and what it shows."""

    name: str
    title: str
    template: str
    context: Mapping[str, Any]


class Site:
    """Pages under construction; nothing that stood in the folder is touched before :meth:`write`.

    Args:
        folder: where the pages go; made if need be.
        label: of the data, shown on every page.
        single_file: one page, ``index.html``, that holds everything.

    Raises:
        ValueError: If the folder holds something else.
    """

    def __init__(self, folder: Path, *, label: str, single_file: bool = False) -> None:
        if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / MARKER).is_file())):
            raise ValueError(f"{folder} exists and was not written by recbole-mgr view; choose another --output")
        self.folder = folder
        self.label = label
        self.single_file = single_file
        self.pages: list[Page] = []
        self._chunks: dict[str, str] = {}
        self._environment = Environment(
            loader=PackageLoader("recbole_mgr.reporting.pages"),
            autoescape=select_autoescape(default=True, default_for_string=True),
            undefined=StrictUndefined,
            finalize=_shown,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {"json": as_json, "number": _number, "percent": _percent}

    def chunk(self, name: str, value: Any) -> None:
        """Keep plain data under a name (letters, digits, ``-``) for the pages' scripts."""
        if not re.fullmatch(r"[\w-]+", name) or name in self._chunks:
            raise ValueError(f"chunk {name!r}: no such name, or given twice")
        self._chunks[name] = as_json(value)

    def page(self, name: str, title: str, template: str, **context: Any) -> None:
        """Add a page; ``title`` stands in the navigation."""
        self.pages.append(Page(name, title, template, context))

    def write(self) -> Path:
        """Write everything.

        Returns:
            The page to open first.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        write_text(self.folder / MARKER, "written_by: recbole-mgr view\n")
        digest = hashlib.sha256("\0".join(f"{name}\0{text}" for name, text in self._chunks.items()).encode())
        data = f"data-{digest.hexdigest()[:12]}"
        if self.single_file:
            self._write_page("index", self.pages, data=None)
        else:
            for name, text in self._chunks.items():
                write_text(self.folder / data / f"{name}.js", f"chunk({json.dumps(name)},{text});\n")
            write_text(self.folder / "pages.css", _style())
            write_text(self.folder / "pages.js", _script())
            write_text(self.folder / "plotly.js", plotly_script())
            for page in self.pages:
                self._write_page(page.name, [page], data=data)
            first = self.pages[0]
            if first.name != "index":
                self._write_page("index", [first], data=data)
        for old in self.folder.glob("data-*"):  # of an earlier view; no page names it any more
            if old.name != data or self.single_file:
                shutil.rmtree(old, ignore_errors=True)
        return self.folder / "index.html"

    def _write_page(self, name: str, pages: list[Page], *, data: str | None) -> None:
        sections = [
            (page, Markup(self._environment.get_template(page.template).render(page.context, label=self.label)))
            for page in pages
        ]
        whole = self._environment.get_template("layout.html")
        inlined = {}
        if data is None:
            inlined = {
                "style": Markup(_style()),
                "script": Markup(_script()),
                "plotly": Markup(_closed(plotly_script())),
                "chunks": {chunk: Markup(text) for chunk, text in self._chunks.items()},
            }
        text = whole.render(
            label=self.label, sections=sections, navigation=self.pages, data=data, single_file=data is None, **inlined
        )
        with replacing(self.folder / f"{name}.html") as part:
            part.write_text(text, encoding="utf-8")


def _style() -> str:
    return (ASSETS / "pages.css").read_text(encoding="utf-8")


def _script() -> str:
    return "\n".join((ASSETS / "scripts" / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)


def as_json(value: Any) -> Markup:
    """Plain data as JSON that may stand in a script of any page."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_plain)
    for character, escape in (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026"), ("\u2028", "\\u2028")):
        text = text.replace(character, escape)
    return Markup(text.replace("\u2029", "\\u2029"))


def plotly_script() -> str:
    """plotly.js, as the Python package brings it."""
    from plotly.offline import get_plotlyjs  # seconds to import, and only the last step needs it

    return get_plotlyjs()


def _shown(value: Any) -> Any:
    """What a template shows: words without characters that steer or turn the writing; Jinja2 escapes it next."""
    return for_terminal(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _closed(script: str) -> str:
    """A script that may stand inside a page: what would close its element is written otherwise."""
    return re.sub(r"</(script)", r"<\\/\1", script, flags=re.IGNORECASE)


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no plain data")


def _number(value: float | int | None, digits: int = 4) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:.{digits}f}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}" if value in (0, 1) else f"{value:.1%}"
