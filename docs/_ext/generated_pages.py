"""Writes the pages of the reference that follow from the package, before Sphinx reads any.

They are in the sub-folders of ``docs/reference``, which git ignores.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from api_pages import api_pages
from catalogue_page import catalogue_page
from command_pages import command_pages


def reference_pages() -> dict[str, str]:
    """Return every generated page by its file in ``docs/reference``."""
    return {**api_pages(), **command_pages(), "catalogue/index.rst": catalogue_page()}


def write_pages(app: Any, config: Any) -> None:
    """Write what has changed, and remove the page of what is gone."""
    folder = Path(app.srcdir) / "reference"
    pages = reference_pages()
    for file, text in pages.items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    listed = " ".join(pages.values()).split()
    for path in folder.glob("*/*.rst"):
        if path.relative_to(folder).as_posix() not in pages:
            path.unlink()
    for path in folder.glob("api/names/*.rst"):  # autosummary's
        if path.stem not in listed:
            path.unlink()


def setup(app: Any) -> dict[str, Any]:
    """Run before Sphinx looks for pages."""
    app.connect("config-inited", write_pages)
    return {"parallel_read_safe": True}
