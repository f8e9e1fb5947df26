"""How Sphinx builds the site: ``sphinx-build -W --keep-going -b html docs docs/_build``."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version as version_of
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))
os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the tutorials' kernels, too
os.environ.pop("STEMDIST_CATALOGUE", None)  # the catalogue page lists the recipes of the package

project = "stemdist"
author = "stemdist developers"
project_copyright = author
smartquotes = False  # options begin with two hyphens
highlight_language = "none"  # of blocks without a language: commands and their output
release = version = version_of("stemdist")

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx_copybutton",
    "fallback_inventories",
    "generated_pages",
]
source_suffix = {".rst": "restructuredtext", ".md": "myst-nb"}
exclude_patterns = ["_build", "jupyter_execute", "_ext", "_templates", "**/.ipynb_checkpoints"]
templates_path = ["_templates"]
suppress_warnings = ["myst.header"]  # a page that is included begins at its second heading

# Pages in Markdown, and the tutorials among them, which run when the site is built.
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4
nb_execution_mode = "cache"
nb_execution_cache_path = str(HERE / "_build" / ".jupyter_cache")
nb_execution_timeout = 300  # seconds of a cell
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True
nb_output_stderr = "warn"  # a tutorial that warns does not pass

# The reference, from the docstrings.
autosummary_generate = True
autosummary_imported_members = True
autodoc_typehints = "none"  # docstrings have the types, with shapes and units
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_xref_param_type = True
numpydoc_xref_aliases = {
    "Dataset": "xarray.Dataset",
    "DataArray": "xarray.DataArray",
    "Tensor": "torch.Tensor",
    "Module": "torch.nn.Module",
    "Data": "torch_geometric.data.Data",
    "Path": "pathlib.Path",
    # numpydoc would show these as ``python:str`` and link to Python's glossary, which is out of
    # reach where the site is built without a network.
    **{name: name for name in ("str", "int", "float", "bool", "dict", "list", "tuple", "set")},
    **{
        name: f"collections.abc.{name.title()}"
        for name in ("sequence", "iterable", "mapping", "callable")
    },
}
numpydoc_xref_ignore = {"optional", "default", "of", "or", "and", "a", "the", "type"}

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

toc_object_entries_show_parents = "hide"
html_theme = "pydata_sphinx_theme"
html_title = f"stemdist {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_theme_options = {
    "github_url": "https://github.com/stemdist/stemdist",
    "navbar_align": "left",
    "header_links_before_dropdown": 7,
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "show_prev_next": False,
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
    "secondary_sidebar_items": ["page-toc"],
}
