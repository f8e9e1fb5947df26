"""Links to the references of other projects, also where the site is built without a network.

intersphinx downloads the inventory of each project. Where that fails it reads a small one that is
written here from the names that our docstrings use; without it, the failure would be a warning,
and end the build. Other warnings stay errors.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

# Project: its site; the page of an object, from its name; the objects (class unless it says so).
_PROJECTS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "python": (
        "https://docs.python.org/3/",
        "library/{module}.html#{name}",
        ("pathlib.Path",),
    ),
    "numpy": (
        "https://numpy.org/doc/stable/",
        "reference/generated/{name}.html#{name}",
        ("numpy.ndarray",),
    ),
    "xarray": (
        "https://docs.xarray.dev/en/stable/",
        "generated/{name}.html#{name}",
        ("xarray.Dataset", "xarray.DataArray"),
    ),
    "pandas": (
        "https://pandas.pydata.org/docs/",
        "reference/api/{name}.html#{name}",
        ("pandas.DataFrame",),
    ),
    "dask": (
        "https://docs.dask.org/en/stable/",
        "generated/{name}.html#{name}",
        ("dask.array.Array",),
    ),
    "sklearn": (
        "https://scikit-learn.org/stable/",
        "modules/generated/{name}.html#{name}",
        ("sklearn.base.BaseEstimator", "sklearn.cluster.KMeans"),
    ),
    "torch": (
        "https://docs.pytorch.org/docs/stable/",
        "generated/{name}.html#{name}",
        ("torch.nn.Module", "torch.Generator"),
    ),
    "torch_geometric": (
        "https://pytorch-geometric.readthedocs.io/en/latest/",
        "generated/{name}.html#{name}",
        ("torch_geometric.data.Data",),
    ),
    "optuna": (
        "https://optuna.readthedocs.io/en/stable/",
        "reference/generated/{name}.html#{name}",
        ("optuna.study.Study",),
    ),
}


def write_inventory(path: Path, project: str, page: str, names: tuple[str, ...]) -> None:
    """Write an inventory (version 2 of Sphinx's format) of some classes of a project."""
    places = {name: page.format(name=name, module=name.rpartition(".")[0]) for name in names}
    lines = "".join(f"{name} py:class 1 {place} -\n" for name, place in places.items())
    head = f"# Sphinx inventory version 2\n# Project: {project}\n# Version: \n"
    head += "# The remainder of this file is compressed using zlib.\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head.encode() + zlib.compress(lines.encode()))


def add_projects(app: Any, config: Any) -> None:
    """Name every project's site, and the inventory to take where it cannot be reached."""
    folder = Path(app.outdir) / ".inventories"
    for project, (site, page, names) in _PROJECTS.items():
        fallback = folder / f"{project}.inv"
        write_inventory(fallback, project, page, names)
        config.intersphinx_mapping[project] = (site, (None, str(fallback)))
    config.intersphinx_timeout = 5


def setup(app: Any) -> dict[str, Any]:
    """Run before intersphinx checks its settings."""
    app.connect("config-inited", add_projects, priority=100)
    return {"parallel_read_safe": True}
